"""95 % intervals of the contest's figures and of how much better one set of predictions scores, over whole scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from photos.score import CLASSIFICATION_SHARE, DETECTION_SHARE, Ints, Match, Ranking, Scores, scores

CONFIDENCE = 0.95
# measured: at 95 % a gain of 0 over 3 scenes is adopted in 3.0 % of 6,000 simulated runs, at 96 % in 2.4 %: the pseudo-values
# of a metric on few photos are not quite normal
FEW_GROUPS_CONFIDENCE = 0.96
MOST_LEFT_OUT = 1000  # chosen: as many scorings as a bootstrap takes; more groups are pooled into so many
NO_SPREAD = 1e-9  # chosen: below a difference of any two scores, above what rounding makes of equal ones
FEW_GROUPS = 8  # derived: of more groups hardly two of 1,000 resamples are equal, of 8 there are 6,435
Figure = TypeVar("Figure")
Part = TypeVar("Part", float, NDArray[np.float64])


@dataclass(frozen=True)
class Interval:
    """A figure on the photos as they are, and its 95 % interval over `n_groups` groups of photos."""

    value: float
    low: float
    high: float
    n_groups: int


@dataclass(frozen=True)
class Intervals:
    """The contest's figures, each with its interval."""

    det_map50: Interval
    cls_map50: Interval
    score: Interval


def _resamples(groups: NDArray[np.integer], n_photos: int, rng: np.random.Generator, n: int) -> Iterator[Ints]:
    """`n` times the photos' weights (P,) in a resample of the groups, as many as there are, with replacement."""
    if len(groups) != n_photos:
        raise ValueError(f"groups: got {len(groups)}, must be one for each of {n_photos} photos")
    names, group = np.unique(groups, return_inverse=True)
    for _ in range(n if len(names) else 0):
        yield np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[group]


def _of_each(resamples: Iterator[Ints], groups: NDArray[np.integer], figure: Callable[[Ints], Figure]) -> list[Figure]:
    """What `figure` makes of each of `resamples` of the groups; of equal ones once: of 3 groups only 10 differ, of 5 126."""
    names, first = np.unique(groups, return_index=True)
    if len(names) > FEW_GROUPS:
        return [figure(weights) for weights in resamples]
    known: dict[bytes, Figure] = {}
    drawn = []
    for weights in resamples:
        key = weights[first].tobytes()
        if key not in known:
            known[key] = figure(weights)
        drawn.append(known[key])
    return drawn


def _interval(value: float, drawn: Sequence[float], groups: NDArray[np.integer]) -> Interval:
    count = len(np.unique(groups))
    if count < 2:
        return Interval(value, -np.inf, np.inf, count)
    low, high = np.quantile(drawn, [tail(count), 1 - tail(count)])
    return Interval(value, float(low), float(high), count)


def tail(count: int) -> float:
    """The share of resamples below an interval over `count` groups, by Student's t, as the spread is estimated from few groups.

    Plain percentiles are too narrow then (Hesterberg 2015, arXiv:1411.5279, expanded percentile): with 6 groups the
    lower end is the 0.24th percentile, not the 2.5th.

    >>> round(tail(6), 4), round(tail(1000), 4), round(tail(1), 4)
    (0.0024, 0.0248, 0.025)
    """
    from scipy.stats import norm as normal
    from scipy.stats import t as student

    plain = (1 - CONFIDENCE) / 2
    return plain if count < 2 else float(normal.cdf(student.ppf(plain, count - 1) * np.sqrt(count / (count - 1))))


def bootstrap(match_a: Match, match_b: Match, groups: NDArray[np.integer], rng: np.random.Generator, n: int = 1000) -> Interval:
    """How much better `a` scores than `b` on the same photos: score(a) - score(b), paired, whole groups resampled.

    It is a part of the rules by which a gain is adopted, `widened`. Alone it holds the true gain about nine times in ten; what
    is told of a gain is `gain_interval`.

    Args:
        match_a: one set of predictions.
        match_b: another, on the same photos in the same order.
        groups: (P,), the scene of each photo; photos of one scene are resampled together. With fewer than 2 the interval is
            unbounded.
        rng: draws the groups.
        n: number of resamples.
    """
    _refuse_other_photos(match_a, match_b)

    def gain(weights: Ints | None) -> float:
        return scores(match_a, weights).score - scores(match_b, weights).score

    return _interval(gain(None), _of_each(_resamples(groups, match_a.n_photos, rng, n), groups, gain), groups)


def widened(drawn: Interval, match_a: Match, match_b: Match, groups: NDArray[np.integer]) -> Interval:
    """A `bootstrap` interval at least as wide as Student's t over the groups: one that holds where there are few of them.

    A bootstrap cannot go below its worst group: where the true gain is 0, the lower end over 3 groups is above 0 whenever all
    three happen to gain, in 1 of 8 cases. The spread of the jackknife's pseudo-values, each group left out once (Efron and
    Tibshirani 1993, chapter 11), with G - 1 degrees of freedom and FEW_GROUPS_CONFIDENCE, keeps to 2.5 % if the groups' gains
    are spread symmetrically; nothing can where a rare group that none of the few is would take all of the gain back.

    Args:
        drawn: what `bootstrap` says of the same arguments.
        groups: (P,), the scene of each photo. With fewer than 2 the interval is unbounded.
    """
    gains = [scores(match_a, weights).score - scores(match_b, weights).score for weights in _each_left_out(groups)]
    half = _half_width(gains, FEW_GROUPS_CONFIDENCE)
    return Interval(drawn.value, min(drawn.low, drawn.value - half), max(drawn.high, drawn.value + half), len(gains))


def gain_interval(match_a: Match, match_b: Match, groups: NDArray[np.integer]) -> Interval:
    """How much better `a` scores than `b` on the same photos, score(a) - score(b), with the interval that is told of it.

    It is Student's t over the jackknife's pseudo-values of the paired gain, as `interval` has it of a score. Percentiles of a
    bootstrap, which were told until 27 November 2026, hold the true gain in 87 to 92 % of simulated runs, not in 95 %
    (`experiments.studies.coverage`).

    Args:
        match_a: one set of predictions.
        match_b: another, on the same photos in the same order.
        groups: (P,), the scene of each photo; photos of one scene are left out together. Of one scene nothing is known:
            [-1, 1]. Where every scene gains the same, as where all is right both times, it is as wide as `least_interval` of
            boxes on which the two do not differ; of rankings that are the same it has no width.
    """
    _refuse_other_photos(match_a, match_b)
    value, left_out = scores(match_a).score - scores(match_b).score, _each_left_out(_pooled(groups))
    half = _half_width([scores(match_a, weights).score - scores(match_b, weights).score for weights in left_out], CONFIDENCE)
    count = len(np.unique(groups))
    if half < NO_SPREAD and not _same_rankings(match_a, match_b):
        half = 1 - _of_both(*(low for low, _ in _least_intervals(Scores(1.0, 1.0), match_a, count)))
    return Interval(value, max(value - half, -1.0), min(value + half, 1.0), count)


def _same_rankings(match_a: Match, match_b: Match) -> bool:
    pairs = (match_a.detection, match_b.detection), (match_a.classification, match_b.classification)
    return all(np.array_equal(getattr(a, own.name), getattr(b, own.name)) for a, b in pairs for own in fields(Ranking))


def _refuse_other_photos(match_a: Match, match_b: Match) -> None:
    if match_a.n_photos != match_b.n_photos:
        raise ValueError(f"matches: got {match_a.n_photos} and {match_b.n_photos} photos, must be the same")


def _pooled(groups: NDArray[np.integer]) -> NDArray[np.integer]:
    """The groups, or MOST_LEFT_OUT pools of them where there are more."""
    names, group = np.unique(groups, return_inverse=True)
    return group % MOST_LEFT_OUT if len(names) > MOST_LEFT_OUT else groups


def _each_left_out(groups: NDArray[np.integer]) -> Iterator[Ints]:
    """The photos' weights (P,), 0 for one group after the other and else 1."""
    names, group = np.unique(groups, return_inverse=True)
    for k in range(len(names)):
        yield np.where(group == k, 0, 1)


def _half_width(without: Sequence[float], confidence: float) -> float:
    """Half of Student's t interval over the jackknife's pseudo-values of a figure; infinite for fewer than 2 groups.

    Args:
        without: (G,), the figure with each group left out.
        confidence: of the interval, in (0, 1).
    """
    from scipy.stats import t as student

    count = len(without)
    if count < 2:
        return np.inf
    spread = (count - 1) * np.std(without, ddof=1)  # of the pseudo-values: G value - (G - 1) without
    return float(student.ppf((1 + confidence) / 2, count - 1) * spread / np.sqrt(count))


def exact_interval(hits: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share of which `hits` of `n` were seen (Clopper and Pearson 1934).

    >>> [round(end, 4) for end in exact_interval(0, 100)]
    [0.0, 0.0362]
    """
    from scipy.stats import beta  # here: it takes a second to load

    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0


def least_interval(share: float, n: float, count: int) -> tuple[float, float]:
    """What `n` boxes of `count` groups leave open of a share, even where all groups agree: that none erred proves little.

    It is `exact_interval`, stretched about the share as Student's t of so few groups is wider than the normal distribution, as
    boxes of a group err together. Of fewer than 2 groups, and of no boxes, nothing is known: [0, 1].

    >>> [round(end, 3) for groups in (3, 5, 25) for end in least_interval(1.0, 45, groups)]
    [0.827, 1.0, 0.889, 1.0, 0.917, 1.0]
    """
    from scipy.stats import norm as normal
    from scipy.stats import t as student

    if count < 2 or n <= 0:
        return 0.0, 1.0
    middle = (1 + CONFIDENCE) / 2
    stretch = float(student.ppf(middle, count - 1) / normal.ppf(middle))
    low, high = exact_interval(min(share * n, n), n)
    return max(share - stretch * (share - low), 0.0), min(share + stretch * (high - share), 1.0)


def _least_intervals(of: Scores, match: Match, count: int) -> list[tuple[float, float]]:
    """`least_interval` of the detection's and of the classification's figure.

    The mean over names has the spread of fewer boxes than there are, as a name of one box counts as much as one of a hundred:
    C^2 / sum(1 / boxes of a name) for C names (Kish 1965, section 11.7).
    """
    boxes, of_names = match.detection.truths.sum(), match.classification.truths.sum(0)
    of_names = of_names[of_names > 0]
    effective = len(of_names) ** 2 / max((1 / of_names).sum(), 1e-12)
    return [least_interval(of.det_map50, boxes, count), least_interval(of.cls_map50, effective, count)]


def _of_both(detection: Part, classification: Part) -> Part:
    return DETECTION_SHARE * detection + CLASSIFICATION_SHARE * classification


def interval(match: Match, groups: NDArray[np.integer]) -> Intervals:
    """The figures of one set of predictions, each with its interval: Student's t over the jackknife's pseudo-values.

    A resample of scenes lacks some of the rare names, whose AP is mostly low, so that it scores more than the photos do. So do
    a bootstrap's percentiles: with 60 scenes of a long tail of names they held what such scenes score on average in 72 % of
    simulated runs, this interval in 96 % (`experiments.studies.coverage`). A gain is told by `gain_interval`.

    Where leaving out a scene changes nothing, as where all is right, the jackknife knows nothing of the boxes that will be
    missed elsewhere. `least_interval` of the boxes stands in for it, in the score for each of its parts that does not vary. Of
    5 scenes of 9 boxes, 2 % of which are missed, 59 % of the intervals held the mean without it and all do with it. What it
    cannot hold is a fault that many boxes of a few scenes share, where the photos have none of these.

    Args:
        match: the predictions.
        groups: (P,), the scene of each photo; photos of one scene are left out together. Of one scene nothing is known: [0, 1].
    """
    if len(groups) != match.n_photos:
        raise ValueError(f"groups: got {len(groups)}, must be one for each of {match.n_photos} photos")
    whole, count = scores(match), len(np.unique(groups))
    without = [scores(match, weights) for weights in _each_left_out(_pooled(groups))]
    names = [own.name for own in fields(Intervals)]
    values = np.array([getattr(whole, name) for name in names])  # (3,)
    halves = np.array([_half_width([getattr(scored, name) for scored in without], CONFIDENCE) for name in names])  # (3,)
    parts = np.abs(np.array(_least_intervals(whole, match, count)) - values[:2, None])  # (2, 2): below and above
    parts = np.where(halves[:2, None] < NO_SPREAD, parts, 0)
    below, above = np.vstack([parts, _of_both(*parts)]).T  # (3,), (3,)
    low, high = np.clip([values - halves - below, values + halves + above], 0, 1)  # (3,), (3,)
    return Intervals(*(Interval(*own, count) for own in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)))
