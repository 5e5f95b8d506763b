"""Which boxes the classifiers name: a floor on the merged score, below which a name is not worth its crop.

Every faint box costs a crop, and most of them are no product. Below the floor a box keeps the detectors' evidence, or ranks
with every name alike where there is none. The floor is fitted on the evidence that the gate was fitted on: names are withheld
below each candidate and the very `decide` that is judged is replayed, so no model is run again. It is the highest candidate at
which, as at all lower ones, the score falls by no more than a budget. Boxes down to a MARGIN-th of it are named as well where
the classifiers are sure of the best of them (`fusion.boxes.name_best`), and where a photo's boxes are less sure than those of
most photos that the floor was fitted on (`fusion.pipeline.naming_floors`): there may be products.

Each photo is decided by a gate, and in the nested measurement under a floor, that was fitted without its scene. Of BUDGETS the
greatest is taken under which the nested loss is at most ALLOWED; where none is, or where its interval reaches beyond SHOWN,
every box is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion.boxes import join, sureness
from fusion.ensemble import Ensemble
from fusion.gate import MIN_FIRST_SCORE, Gate
from photos.intervals import Interval, bootstrap, widened
from photos.score import Match, match, scores
from stage2_classifier.gate.calibrate import n_categories, predictions
from stage2_classifier.gate.choose import Choice, with_further
from stage2_classifier.gate.evidence import Evidence, withheld
from stage2_classifier.gate.ranks import scores_by_rank

ALLOWED = 0.0005  # taken: issue 20
SHOWN = 0.002  # taken: stage2_classifier.gate.calibrate.WITHIN; a loss over few scenes may be larger
BUDGETS = (ALLOWED, ALLOWED / 2, ALLOWED / 5, 0.0)  # chosen: how far the score may fall on the photos that a floor is fitted on
# Candidates leave these shares of all boxes unnamed, or none, or all.
SHARES = np.concatenate([[0.1, 0.2, 0.3], np.arange(0.35, 0.8, 0.025), [0.8, 0.9]])  # chosen: finer where products begin
# chosen: in a shop that training has not seen a detector is less sure of its products, and what is below the floor has no name.
# On photos of another video (snacks) leaving boxes below the floor unnamed cost 0.024 of the score, below a fifth of it 0.005.
MARGIN = 5.0
TYPICAL = 0.25  # chosen: of the photos that a floor is fitted on so many are less sure than what is taken for typical
NO_NAMES = 1.01  # derived: a floor above every score
TOLERANCE = 1e-9  # chosen: rounding of a score


@dataclass(frozen=True)
class NamingChoice:
    """The floor, the share of boxes left unnamed, what that costs, and how far below the floor boxes are named on which photos.

    `loss` is how much lower the score is than with all boxes named, with its 95 % interval, on photos whose scenes neither the
    gate nor the floor was fitted on. None without a classifier, and with fewer than two turns to fit in.
    """

    floor: float = 0.0
    unnamed: float = 0.0
    loss: Interval | None = None
    margin: float = 1.0
    typical: float = 0.0

    def __str__(self) -> str:
        """As text, for the command."""
        if self.loss is None:
            why = "no classifier, or too few scenes to measure it"
            return f"every box is named: {why}" if self.floor == 0 else f"{self.boxes}; not measured: {why}"
        value, low, high = (0.0 - loss for loss in (self.loss.value, self.loss.high, self.loss.low))  # 0.0, never -0.0
        change = f"{value:+.4f} [{low:+.4f}, {high:+.4f}], {self.loss.n_groups} scenes"
        if self.floor == 0:
            return f"every box is named: that fewer do is not shown; under fitted floors the score would change by {change}"
        return f"{self.boxes}, which saves {self.unnamed:.0%} of the crops; the score changes by {change}"

    @property
    def boxes(self) -> str:
        """Which boxes are named, as text."""
        if self.floor > 1:
            return "no box is named"
        further = f", and down to {self.floor / self.margin:.4f} while names are sure" if self.margin > 1 else ""
        return f"boxes of objectness {self.floor:.4f} and more are named{further}"

    def withheld(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """The evidence with the names that are not asked for withheld."""
        return withheld(evidence, [self.floor] * len(evidence), self.margin, self.typical)

    def put_into(self, ensemble: Ensemble) -> Ensemble:
        """`ensemble` with the floor, its margin, and what is typical."""
        return replace(ensemble, naming_floor=self.floor, naming_margin=self.margin, naming_typical=self.typical)


@dataclass(frozen=True, eq=False)
class Replays:
    """The decisions under each of K candidate floors, ascending from 0, matched to the truth of all photos.

    `turn` (P,) is the turn of each photo; `gates` are of each photo, fitted on the other turns.
    """

    evidence: Sequence[Evidence]
    gates: Sequence[Gate]
    turn: np.ndarray
    floors: np.ndarray
    matches: Sequence[Match]

    def under(self, floors: Sequence[float], margin: float = 1.0, typical: float = 0.0) -> Match:
        """The decisions with a floor for each photo, and one margin below it."""
        return matched(withheld(self.evidence, floors, margin, typical), self.gates, self.turn)

    def losses(self, photos: np.ndarray) -> np.ndarray:
        """How much lower the score of `photos`, bool (P,), is under each candidate than under the first, (K,)."""
        own = np.array([scores(match, photos.astype(np.int64)).score for match in self.matches])
        return own[0] - own


def fit_naming_floor(
    evidence: Sequence[Evidence],
    choice: Choice,
    scenes: np.ndarray,
    rng: np.random.Generator,
    given: float | None = None,
) -> NamingChoice:
    """The floor for the gate of `choice`, and what it costs.

    Args:
        evidence: photos that no model was trained on, all boxes named; those that `choice` was made on.
        choice: the gate as it will decide, and those of the turns, which did not see the photos they decide.
        scenes: (P,), the scene of each photo.
        rng: draws the bootstrap.
        given: the floor that the user wants in place of the fitted one.
    """
    if len(choice.turns) < 2 or all(e.probabilities is None or not len(e.merged) for e in evidence):
        return NamingChoice() if given is None else NamingChoice(given, unnamed_share(evidence, given))
    replays = replayed(evidence, choice, candidates(evidence) if given is None else np.array([0.0]))
    floor, nested = (given, replays.under([given] * len(evidence))) if given is not None else within_allowed(replays)
    loss = widened(bootstrap(replays.matches[0], nested, scenes, rng), replays.matches[0], nested, scenes)
    floor = 0.0 if given is None and loss.high > SHOWN else floor
    if given is not None or not 0 < floor <= 1:
        return NamingChoice(floor, unnamed_share(evidence, floor), loss)
    typical = typical_sureness(evidence)
    return NamingChoice(floor, unnamed_share(evidence, floor, MARGIN, typical), loss, MARGIN, typical)


def within_allowed(replays: Replays) -> tuple[float, Match]:
    """The floor that all photos choose, and the decisions on each photo under the one that the other turns choose, with MARGIN.

    The budget is the greatest under which these lose at most ALLOWED without it. Where none is, the floor is 0, and the
    decisions are those under the smallest budget.
    """
    losses = {k: replays.losses(replays.turn != k) for k in np.unique(replays.turn)}
    everything = replays.losses(np.ones(len(replays.turn), bool))
    for budget in BUDGETS:
        floors = [float(replays.floors[highest_within(losses[k], budget)]) for k in replays.turn]
        nested = replays.under(floors)
        if scores(replays.matches[0]).score - scores(nested).score <= ALLOWED + TOLERANCE:
            nested = replays.under(floors, MARGIN, typical_sureness(replays.evidence))
            return float(replays.floors[highest_within(everything, budget)]), nested
    return 0.0, nested


def replayed(evidence: Sequence[Evidence], choice: Choice, floors: np.ndarray) -> Replays:
    """The decisions on every photo, by the gate of its turn with further names, under each of `floors`."""
    gates, turn = gates_of_turns(evidence, choice)
    matches = [matched(withheld(evidence, [floor] * len(evidence)), gates, turn) for floor in floors]
    return Replays(evidence, gates, turn, floors, matches)


def gates_of_turns(evidence: Sequence[Evidence], choice: Choice) -> tuple[list[Gate], np.ndarray]:
    """The gate of each photo, with further names, which did not see it, and the photo's turn (P,)."""
    of_photo = {photo: (k, turn.gate) for k, turn in enumerate(choice.turns) for photo in turn.photos}
    gates = [with_further(of_photo[e.photo.id][1]) for e in evidence]
    return gates, np.array([of_photo[e.photo.id][0] for e in evidence])


def matched(evidence: Sequence[Evidence], gates: Sequence[Gate], turn: np.ndarray) -> Match:
    """The decisions on all photos as one ranking, in which the first names of each turn are ranked on their own.

    Further names come after, as they are: how many there are depends on the floor, and must not move the first ones.
    """
    listed, truths = predictions(evidence, gates), [e.truth for e in evidence]
    first = scores_by_rank([own.take(own.scores >= MIN_FIRST_SCORE) for own in listed], truths, turn)
    both = [join([a, own.take(own.scores < MIN_FIRST_SCORE)]) for a, own in zip(first, listed, strict=True)]
    return match(truths, both, n_categories(evidence))


def candidates(evidence: Sequence[Evidence]) -> np.ndarray:
    """Floors (K,), ascending: 0, those that leave SHARES of all boxes unnamed, and NO_NAMES."""
    objectness = np.concatenate([e.merged.scores for e in evidence]).astype(np.float64)  # (N,)
    return np.unique(np.concatenate([[0.0], np.quantile(objectness, SHARES), [NO_NAMES]]))


def highest_within(losses: np.ndarray, budget: float) -> int:
    """The last of K candidates before the first that loses more than `budget`.

    >>> highest_within(np.array([0.0, 0.1, 0.3, 0.0]), 0.2)
    1
    """
    return int(np.argmax(np.append(losses > budget + TOLERANCE, True))) - 1


def typical_sureness(evidence: Sequence[Evidence]) -> float:
    """What TYPICAL of the photos with boxes are below, of how sure their boxes are; 0 without any."""
    each = [sureness(e.merged.scores) for e in evidence if len(e.merged)]
    return float(np.quantile(each, TYPICAL)) if each else 0.0


def unnamed_share(evidence: Sequence[Evidence], floor: float, margin: float = 1.0, typical: float = 0.0) -> float:
    """The share of all boxes that are not named under `floor`, `margin` and `typical`."""
    boxes = sum(len(e.merged) for e in evidence)
    named = sum(n_named(e) for e in withheld(evidence, [floor] * len(evidence), margin, typical))
    return 1 - named / boxes if boxes else 0.0


def n_named(e: Evidence) -> int:
    """How many of a photo's boxes the classifiers have named."""
    return 0 if e.probabilities is None else int(np.isfinite(e.probabilities).all(1).sum())
