"""Where to cut: the final scores below which a prediction is better not shown, fitted on photos that no model was trained on.

A box shown is right where it is a hit under its first name: IoU of 0.5 or more with a product of that name which no better
box has hit (`photos.score`). Further names score below every floor and are left out. Three floors are fitted:

- "f1": the greatest F1 of precision (hits over boxes shown) and recall (hits over products);
- "precision 0.9", "precision 0.95": the lowest floor at which a one-sided lower bound of the precision, over new scenes, is
  that high. The observed precision alone does not hold on other photos: of all floors that look good on a few scenes the lowest
  is the luckiest one. A floor that cannot be shown is absent; of few boxes one that is given may be lucky.

The gate was fitted on the same photos, so each photo is decided by a gate of the same policy that was fitted without its scene.
Such gates have scales of their own; `scores_of_same_rank` brings the scores of each turn to the scale of the final gate. With
fewer than LEAST scenes the first floor alone is fitted, photo by photo.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fusion.boxes import Detections
from fusion.gate import MIN_FIRST_SCORE, Gate, decide
from photos.intervals import NO_SPREAD, Interval, exact_interval, least_interval
from photos.score import Truth, counted, greedy_hits
from stage2_classifier.gate.calibrate import fit_policy
from stage2_classifier.gate.choose import LEAST, OUTER, by_turns, turns
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.ranks import scores_of_same_rank

BEST_F1 = "f1"
PRECISIONS = (0.9, 0.95)  # taken: issue 18
BOUND = 0.9  # measured: the one-sided confidence of the lower bound, see `experiments.studies.floors`


@dataclass(frozen=True, eq=False)
class RankedBoxes:
    """The boxes of all photos under their first names, best first, and the products there are.

    Args:
        scores: (N,), descending.
        hits: bool (N,).
        scenes: int64 (N,), the scene 0..G-1 of each box.
        products: int64 (G,), the true boxes of each scene.
    """

    scores: np.ndarray
    hits: np.ndarray
    scenes: np.ndarray
    products: np.ndarray


@dataclass(frozen=True)
class OperatingPoint:
    """A floor on the final score, what it is best for, and what is shown at it: precision, recall, F1 with 95 % intervals."""

    purpose: str
    min_score: float
    precision: Interval
    recall: Interval
    f1: Interval
    boxes: int

    def __str__(self) -> str:
        """As text, for the command."""
        parts = (f"{name} {own.value:.3f} [{own.low:.3f}, {own.high:.3f}]"
                 for name, own in (("precision", self.precision), ("recall", self.recall), ("F1", self.f1)))  # fmt: skip
        return f"{self.purpose}: scores of {self.min_score:.4f} and more: {', '.join(parts)}; {self.boxes} boxes"


@dataclass(frozen=True)
class OperatingPoints:
    """The floors that could be fitted, and for each of the others why not."""

    points: tuple[OperatingPoint, ...]
    missing: dict[str, str]

    @property
    def min_scores(self) -> dict[str, float]:
        """The floors by what they are best for, as ensemble.json has them."""
        return {point.purpose: point.min_score for point in self.points}


def fit_operating_points(
    evidence: Sequence[Evidence],
    gate: Gate,
    scenes: np.ndarray,
    rng: np.random.Generator,
    judged: Sequence[Evidence] | None = None,
) -> OperatingPoints:
    """The floors for `gate`, which was fitted on `evidence`.

    Args:
        evidence: photos that no model was trained on, all boxes named.
        gate: as it will decide.
        scenes: (P,), the scene of each photo.
        rng: deals the turns.
        judged: `evidence` as it is judged, by a naming floor and by sizes; None: as it is.
    """
    count = len(np.unique(scenes))
    groups = scenes if count >= LEAST else np.arange(len(evidence))
    if len(np.unique(groups)) < LEAST:
        return nothing_fitted(f"{len(evidence)} photos, need {LEAST} to fit on some and measure on others")
    fitted = cut(ranked_boxes(evidence, cross_fitted_decisions(evidence, gate, groups, rng, judged), groups))
    if count >= LEAST:
        return fitted
    why = f"{count} scene{'s' * (count != 1)}, need {LEAST} to show that it holds on others"
    points = tuple(point for point in fitted.points if point.purpose == BEST_F1)
    return OperatingPoints(points, fitted.missing | dict.fromkeys(map(purpose_of, PRECISIONS), why))


def nothing_fitted(why: str) -> OperatingPoints:
    """No floors at all."""
    return OperatingPoints((), dict.fromkeys([BEST_F1, *map(purpose_of, PRECISIONS)], why))


def cross_fitted_decisions(
    evidence: Sequence[Evidence],
    gate: Gate,
    scenes: np.ndarray,
    rng: np.random.Generator,
    judged: Sequence[Evidence] | None = None,
) -> list[Detections]:
    """Each photo as a gate of the same policy decides that was fitted without its scene, on the scale of `gate`."""
    turn = turns(scenes, OUTER, rng)
    gates = by_turns(lambda others, _: fit_policy(gate.policy, others), evidence, scenes, turn)
    judged = evidence if judged is None else judged
    return scores_of_same_rank(first_names(judged, gates), first_names(judged, [gate] * len(judged)), turn)


def first_names(evidence: Sequence[Evidence], gates: Sequence[Gate]) -> list[Detections]:
    """The decision on every photo, each under its own gate, without further names."""
    return [decide(e.merged, e.probabilities, replace(gate, further=0)) for e, gate in zip(evidence, gates, strict=True)]


def ranked_boxes(evidence: Sequence[Evidence], decisions: Sequence[Detections], scenes: np.ndarray) -> RankedBoxes:
    """The `decisions` of all photos in one ranking; where no model names, a box on any product is a hit.

    Boxes in regions to ignore are left out (`photos.score.counted`).
    """
    named = have_names(evidence)
    names, scene = np.unique(scenes, return_inverse=True)  # (G,), (P,)
    counted_boxes = [counted_hits(e.truth, own, named) for e, own in zip(evidence, decisions, strict=True)]
    scores = np.concatenate([np.zeros(0, np.float32), *(own.scores for own, _ in counted_boxes)])  # (N,)
    order = np.argsort(-scores, kind="stable")
    return RankedBoxes(
        scores[order],
        np.concatenate([np.zeros(0, bool), *(hits for _, hits in counted_boxes)])[order],
        np.repeat(scene, [len(own) for own, _ in counted_boxes])[order],
        np.bincount(scene, [len(e.truth.boxes) for e in evidence], len(names)).astype(np.int64),
    )


def have_names(evidence: Sequence[Evidence]) -> bool:
    """Whether any model says names; else every box has the first label, which means nothing."""
    return any(e.merged.evidence is not None or e.probabilities is not None for e in evidence)


def counted_hits(truth: Truth, decision: Detections, named: bool = True) -> tuple[Detections, np.ndarray]:
    """The boxes (N,) of a photo that count, best first, and which of them are hits; under any name unless `named`."""
    if not named:
        truth, decision = truth.nameless(), replace(decision, labels=np.zeros_like(decision.labels))
    hits = greedy_hits(truth, decision)
    counts = counted(truth, decision, hits)
    return decision.take(counts), hits[counts]


# -- floors ----------------------------------------------------------------------------------------------------------------


def purpose_of(precision: float) -> str:
    """The key of a precision's floor in ensemble.json.

    >>> purpose_of(0.9)
    'precision 0.9'
    """
    return f"precision {precision:g}"


def cut(ranked: RankedBoxes) -> OperatingPoints:
    """The floors on a ranking of held-out boxes."""
    if not ranked.hits.any():
        return nothing_fitted(f"none of {len(ranked.hits)} boxes is right")
    counts = np.cumsum(ranked.hits)  # (N,)
    shown = np.arange(1, len(counts) + 1)
    last = np.append(ranked.scores[1:] < ranked.scores[:-1], True)  # (N,): equal scores are shown together or not at all
    f1 = np.where(last, 2 * counts / (shown + ranked.products.sum()), -1)
    points, missing = [point_at(ranked, BEST_F1, int(f1.argmax()))], {}
    lower = np.where(last, precision_bounds(ranked, BOUND), -1)  # (N,)
    for precision in PRECISIONS:
        if (lower >= precision).any():
            points.append(point_at(ranked, purpose_of(precision), int(np.flatnonzero(lower >= precision)[-1])))
        else:
            i = int(lower.argmax())
            missing[purpose_of(precision)] = (
                f"not shown: at best {counts[i]} of {shown[i]} boxes are right, which on {len(ranked.products)} scenes makes "
                f"{max(0, lower[i]):.3f} or more for new ones at {BOUND:.0%} confidence"
            )
    return OperatingPoints(tuple(points), missing)


def point_at(ranked: RankedBoxes, purpose: str, last: int) -> OperatingPoint:
    """What is shown where boxes 0..`last` are; the floor lies half way to the next lower score, above all further names."""
    below = ranked.scores[last + 1] if last + 1 < len(ranked.scores) else 0.0
    min_score = max(float(ranked.scores[last] / 2 + below / 2), MIN_FIRST_SCORE)
    count = len(ranked.products)
    shown = np.bincount(ranked.scenes[: last + 1], minlength=count)  # (G,)
    hits = np.bincount(ranked.scenes[: last + 1], ranked.hits[: last + 1], count)  # (G,)
    return OperatingPoint(
        purpose,
        min_score,
        ratio_interval(hits, shown),
        ratio_interval(hits, ranked.products),
        ratio_interval(hits, (shown + ranked.products) / 2),
        last + 1,
    )


def precision_bounds(ranked: RankedBoxes, confidence: float) -> np.ndarray:
    """The one-sided lower bound (N,) of the precision on new scenes where the first 1, 2, ... N boxes are shown.

    The smaller of two: Student's t over the scenes (the ratio of hits and boxes, linearised; Cochran 1977, section 6.3), as
    boxes of a scene err together, and the exact binomial bound (Clopper and Pearson 1934) over the boxes, as no error seen does
    not mean that there is none. The sums over scenes are updated box by box, so that the cost is that of sorting.
    """
    from scipy.stats import beta
    from scipy.stats import t as student

    count = len(ranked.products)
    n, hits = np.arange(1, len(ranked.hits) + 1), np.cumsum(ranked.hits)
    exact = np.where(hits > 0, beta.ppf(1 - confidence, np.maximum(hits, 1), n - hits + 1), 0.0)
    if count < 2:
        return np.zeros(len(n))
    own, y = counts_before(ranked), ranked.hits.astype(np.int64)
    shown2 = np.cumsum(2 * own.shown + 1)  # (N,): the sum over scenes of the squared number of boxes shown
    hits2 = np.cumsum(y * (2 * own.hits + 1))
    product = np.cumsum(own.hits + y * (own.shown + 1))
    precision = hits / n
    squares = np.maximum(hits2 - 2 * precision * product + precision**2 * shown2, 0)
    spread = np.sqrt(squares * count / (count - 1)) / n
    return np.minimum(precision - student.ppf(confidence, count - 1) * spread, exact)


@dataclass(frozen=True, eq=False)
class CountsBefore:
    """For each of N ranked boxes how many better ones its own scene has, int64 (N,), and how many hits among them."""

    shown: np.ndarray
    hits: np.ndarray


def counts_before(ranked: RankedBoxes) -> CountsBefore:
    """See `CountsBefore`."""
    order = np.argsort(ranked.scenes, kind="stable")  # by scene, within one by rank
    begins = np.searchsorted(ranked.scenes[order], ranked.scenes[order])  # (N,)
    hits = np.cumsum(ranked.hits[order]) - ranked.hits[order]
    shown_before, hits_before = np.zeros((2, len(order)), np.int64)
    shown_before[order] = np.arange(len(order)) - begins
    hits_before[order] = hits - hits[begins]
    return CountsBefore(shown_before, hits_before)


def ratio_interval(parts: np.ndarray, wholes: np.ndarray) -> Interval:
    """sum(parts) / sum(wholes) boxes of G scenes, (G,) each, with its 95 % interval within [0, 1].

    The wider of Student's t over the scenes and Clopper and Pearson's interval over the boxes; where the scenes agree, as where
    all boxes are right, `photos.intervals.least_interval`. The scenes alone would leave nothing open then: over 8 simulated
    scenes of 30 boxes they held the precision that a floor for 0.95 reaches on new scenes in 19 % of runs, this in 91 %.

    >>> ratio_interval(np.array([9, 8, 10, 9]), np.array([10, 10, 10, 10]))
    Interval(value=0.9, low=0.76..., high=1.0, n_groups=4)
    """
    from scipy.stats import t as student

    count, total = len(wholes), wholes.sum()
    if total == 0 or count < 2:
        return Interval(float(parts.sum() / max(1, total)), 0.0, 1.0, count)
    ratio = parts.sum() / total
    spread = np.sqrt(((parts - ratio * wholes) ** 2).sum() * count / (count - 1)) / total
    half = student.ppf(0.975, count - 1) * spread
    exact = exact_interval(float(parts.sum()), float(total))
    low, high = exact if half > NO_SPREAD else least_interval(float(ratio), float(total), count)
    return Interval(float(ratio), float(max(0, min(low, ratio - half))), float(min(1, max(high, ratio + half))), count)
