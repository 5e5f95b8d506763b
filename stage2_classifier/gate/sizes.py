"""Whether the sizes of boxes may change names: packs of 250 g and of 500 g look alike in crops of one size, but not on a shelf.

What is usual for each name, the size of its boxes beside their neighbours' (`fusion.models.Sizes`), is fitted on labelled boxes
that models are trained on. How much it counts is fitted on the evidence that the gate was fitted on, as it is judged, with the
names below the naming floor withheld; no model is run again. It is adopted as the gate is: scenes take turns, each photo is
decided by a gate and under a weight that were fitted without its scene, and the whole 95 % interval of the gain in the score
must be above 0. Else sizes do not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from fusion.boxes import MEASURES, NO_SCALE, log_sizes, nearness, scale_around, uncut
from fusion.models import Sizes
from photos.data import Photo
from photos.intervals import Interval, bootstrap, widened
from photos.score import Match, scores
from stage2_classifier.gate.choose import LEAST, Choice
from stage2_classifier.gate.evidence import Evidence, judged_by_size
from stage2_classifier.gate.naming_floor import gates_of_turns, matched

WEIGHTS = (0.25, 0.5, 1.0)  # chosen: powers of the likelihood that are tried beside 0
RESAMPLES = 200  # chosen: of the bootstrap, which is widened; 1000 of 50 photos with 356 names take a minute
ROUNDS = 6  # chosen: of scale and sizes in turns; later ones change a size by less than a hundredth
PRIOR_BOXES = 10.0  # chosen: boxes of a name at which its own spread counts as much as that of all names
START = (0.05, 0.2)  # chosen: variances within a name and between names before the first round; about those of real shelves
MOST_PAIRS = 50_000_000  # chosen: pairs of boxes of one photo, in all photos that a table is fitted on; they take 200 MB
LEAST_SPREAD = 0.02  # chosen: of a log size: boxes are not drawn more exactly than that


@dataclass(frozen=True)
class SizesChoice:
    """The sizes as they are judged by (weight 0: not at all), the weight on offer, and what it gains.

    `gain` is nested: neither gate nor weight saw the scenes they decide. None where no classifier names boxes, where sizes are
    not known, and with fewer than LEAST scenes. `n_photos` and `spread` as in `FittedSizes`.
    """

    sizes: Sizes = field(default_factory=Sizes)
    offered: float = 0.0
    gain: Interval | None = None
    n_photos: int = 0
    spread: float = 0.0

    @property
    def adopted(self) -> Sizes:
        """As ensemble.json gets them: without a table where they do not count."""
        return self.sizes if self.sizes.weight else Sizes()

    def __str__(self) -> str:
        """As text, for the command."""
        if self.gain is None:
            return "not used: no classifier that names boxes, no names of known size, or too few scenes to measure it"
        gain = f"{self.gain.value:+.4f} [{self.gain.low:+.4f}, {self.gain.high:+.4f}], {self.gain.n_groups} scenes"
        verdict = f"count by {self.sizes.weight}" if self.sizes.weight else "not used: a gain is not shown"
        known = f"the {self.sizes.measure} of a name varies by {self.spread:.0%}, on {self.n_photos} photos"
        return f"{verdict}; nested gain {gain}; {known}"


class LabelledBoxes(NamedTuple):
    """The boxes (N, 4) of one photo that its edge does not cut, their labels (N,), and how near each is to each (N, N)."""

    boxes: np.ndarray
    labels: np.ndarray
    near: np.ndarray


class NameSizes(NamedTuple):
    """What is known of each name: mean size and variance (C,) beside the neighbours, and the variances in and between names."""

    means: np.ndarray
    variances: np.ndarray
    within: float
    between: float


class FittedSizes(NamedTuple):
    """A table of sizes, how many photos it comes from, and the standard deviation of a log size within a name."""

    sizes: Sizes
    n_photos: int
    spread: float


def fit_sizes(photos: Sequence[Photo], n_names: int) -> FittedSizes:
    """The sizes of `n_names` names on labelled `photos`, by the measure that spreads least within a name; the weight is 0.

    One print in two sizes differs as much by either measure; so the one that varies less otherwise tells them apart best.
    Of more photos than MOST_PAIRS allows every second, third or so on is looked at. Without a photo of two boxes: no sizes.
    """
    boxes = [own for photo in evenly(photos) if len((own := labelled_boxes(photo)).labels) > 1]
    fitted = []
    for measure in MEASURES if boxes else ():
        names = sizes_of_names(boxes, measure, n_names)
        spreads = np.sqrt(names.variances).round(4).tolist()
        sizes = Sizes(measure=measure, means=names.means.round(4).tolist(), spreads=spreads)
        fitted.append(FittedSizes(sizes, len(boxes), float(np.sqrt(names.within))))
    return min(fitted, key=lambda own: own.spread, default=FittedSizes(Sizes(), 0, 0.0))


def evenly(photos: Sequence[Photo]) -> Sequence[Photo]:
    """So many of `photos`, spread evenly, that their pairs of boxes are MOST_PAIRS at most, or one photo."""
    pairs = sum(len(photo.boxes) ** 2 for photo in photos)
    return photos[:: max(1, -(-pairs // MOST_PAIRS))]


def labelled_boxes(photo: Photo) -> LabelledBoxes:
    """The boxes of a photo that its edge does not cut."""
    whole = uncut(photo.boxes, photo.width, photo.height)
    boxes = photo.boxes[whole]
    return LabelledBoxes(boxes, photo.labels[whole], nearness(boxes, Sizes.reach))


def sizes_of_names(photos: Sequence[LabelledBoxes], measure: str, n_names: int) -> NameSizes:
    """Sizes of names and scales of photos, each fitted to the other in turns; names of few boxes are drawn to the mean."""
    names = NameSizes(np.zeros(n_names), np.full(n_names, sum(START)), *START)
    labels = np.concatenate([photo.labels for photo in photos])
    for _ in range(ROUNDS):
        names = refitted(names, np.concatenate([beside_neighbours(photo, measure, names) for photo in photos]), labels)
    return names


def beside_neighbours(photo: LabelledBoxes, measure: str, names: NameSizes) -> np.ndarray:
    """The size of each box less the scale around it, (N,); nan where no neighbour tells that."""
    sizes, precisions = log_sizes(photo.boxes, measure), 1 / names.variances[photo.labels]
    scale, variance = scale_around(photo.near, sizes - names.means[photo.labels], precisions)
    return np.where(variance < NO_SCALE, sizes - scale, np.nan)


def refitted(names: NameSizes, relative: np.ndarray, labels: np.ndarray) -> NameSizes:
    """The names' sizes from those of all boxes (N,), by an empirical Bayes estimate of a normal mean for each name."""
    relative, labels = relative[~np.isnan(relative)], labels[~np.isnan(relative)]
    counts = np.bincount(labels, minlength=len(names.means))  # (C,)
    own = np.bincount(labels, relative, len(counts)) / np.maximum(counts, 1)  # (C,)
    seen = counts > 0
    beyond = 4 * np.sqrt(names.within)
    squares = np.clip(relative - own[labels], -beyond, beyond) ** 2  # (N,)
    within = max(float(squares.sum()) / max(1, len(labels) - int(seen.sum())), LEAST_SPREAD**2)
    between = max(float(own[seen].var() - (within / counts[seen]).mean()), LEAST_SPREAD**2) if seen.any() else names.between
    usual = float(own[seen].mean()) if seen.any() else 0.0
    precision = counts / within + 1 / between  # (C,)
    means = (counts * own / within + usual / between) / precision
    variances = (np.bincount(labels, squares, len(counts)) + PRIOR_BOXES * within) / (np.maximum(counts - 1, 0) + PRIOR_BOXES)
    return NameSizes(means - (counts @ means) / max(1, counts.sum()), variances + 1 / precision, within, between)


class Tables(NamedTuple):
    """The sizes to judge each photo by, by its id, of photos it is not among; and those that ship."""

    by_photo: Mapping[int, Sizes]
    shipped: FittedSizes

    def under(self, evidence: Sequence[Evidence], weights: Sequence[float]) -> list[Evidence]:
        """`evidence` judged by size, under a weight for each photo."""
        own = [replace(self.by_photo[e.photo.id], weight=weight) for e, weight in zip(evidence, weights, strict=True)]
        return judged_by_size(evidence, own)


def tables_of(groups: Sequence[tuple[Sequence[Photo], Sequence[Photo]]], shipped: Sequence[Photo], n_names: int) -> Tables:
    """The tables from `groups`, pairs of the photos to fit on and those to judge, and the one that ships from `shipped`."""
    by_photo = {}
    for fitted_on, judged in groups:
        sizes = fit_sizes(fitted_on, n_names).sizes
        by_photo |= {photo.id: sizes for photo in judged}
    return Tables(by_photo, fit_sizes(shipped, n_names))


def choose_sizes(
    evidence: Sequence[Evidence], tables: Tables, choice: Choice, scenes: np.ndarray, rng: np.random.Generator
) -> SizesChoice:
    """How much sizes count under the gate of `choice`, by the rule of this module.

    Args:
        evidence: the photos that `choice` was made on, names below the naming floor withheld.
        tables: the sizes to judge them by.
        choice: the gate as it will decide, and those of the turns, which did not see the photos they decide.
        scenes: (P,), the scene of each photo.
        rng: draws the bootstrap.
    """
    names = choice.gate.policy != "detector" and any(e.probabilities is not None for e in evidence)
    sizes, n_photos, spread = tables.shipped
    if not names or not sizes.means or len(np.unique(scenes)) < LEAST or len(choice.turns) < 2:
        return SizesChoice(sizes, n_photos=n_photos, spread=spread)
    gates, turn = gates_of_turns(evidence, choice)

    def under(weights: Sequence[float]) -> Match:
        return matched(tables.under(evidence, weights), gates, turn)

    matches = {weight: under([weight] * len(evidence)) for weight in (0.0, *WEIGHTS)}
    by_turn = {int(k): best_weight(matches, turn != k) for k in np.unique(turn)}
    nested = under([by_turn[int(k)] for k in turn])
    gain = widened(bootstrap(nested, matches[0.0], scenes, rng, RESAMPLES), nested, matches[0.0], scenes)
    offered = best_weight(matches, np.ones(len(turn), bool))
    return SizesChoice(replace(sizes, weight=offered if gain.low > 0 else 0.0), offered, gain, n_photos, spread)


def best_weight(matches: Mapping[float, Match], photos: np.ndarray) -> float:
    """The weight of the highest score on `photos`, bool (P,); of equals the first."""
    return max(matches, key=lambda weight: scores(matches[weight], photos.astype(np.int64)).score)
