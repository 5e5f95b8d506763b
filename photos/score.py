"""The contest's metric: 0.7 x detection mAP@0.5 (names left out) + 0.3 x classification mAP@0.5.

Predictions are matched to the truth once for each photo. The result, which predictions are hits and in what order, is enough
to score any multiset of the photos, so a bootstrap (`photos.intervals`) needs no further matching. AP is COCO's: 101
recalls, a precision envelope, areas of all sizes; without COCO's cap of 100 predictions a photo unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fusion.boxes import Detections, intersections, iou
from photos.data import Photo, no_boxes

DETECTION_SHARE = 0.7  # taken: the contest's scoring page
CLASSIFICATION_SHARE = 0.3  # taken: likewise
MIN_IOU = 0.5  # taken: likewise
RECALLS = np.linspace(0.0, 1.0, 101)  # taken: COCO's recall thresholds

Ints = NDArray[np.int64]
Pairs = tuple[Ints, Ints]


@dataclass(frozen=True, eq=False)
class Truth:
    """The true boxes and labels of one photo: boxes float32 (M, 4), x0 y0 x1 y1 in pixels, and labels int64 (M,).

    `ignored` float32 (K, 4) are regions in which a prediction that is no hit counts as nothing, whatever its label.
    """

    boxes: NDArray[np.float32]
    labels: Ints
    ignored: NDArray[np.float32] = field(default_factory=no_boxes)

    @classmethod
    def of(cls, photo: Photo) -> Truth:
        """The annotations of a photo."""
        return cls(photo.boxes, photo.labels, photo.ignored)

    def nameless(self) -> Truth:
        """The same boxes, all of one label, 0."""
        return Truth(self.boxes, np.zeros_like(self.labels), self.ignored)


@dataclass(frozen=True, eq=False)
class Ranking:
    """N predictions of P photos in C categories, by category and, within one, by descending score.

    Args:
        photos: int64 (N,), the photo of each prediction.
        categories: int64 (N,), ascending.
        begins: int64 (N,), position of the first prediction of the same category.
        hits: bool (N,), whether it matched a true box that no better prediction had matched.
        truths: int64 (P, C), the number of true boxes.
    """

    photos: Ints
    categories: Ints
    begins: Ints
    hits: NDArray[np.bool_]
    truths: Ints


@dataclass(frozen=True, eq=False)
class Match:
    """The matched predictions, as scoring needs them: a ranking without regard to category, and one by category."""

    detection: Ranking
    classification: Ranking

    @property
    def n_photos(self) -> int:
        return len(self.detection.truths)


@dataclass(frozen=True)
class Scores:
    """The two parts of the contest's score, each in [0, 1]; 0 where there are no true boxes."""

    det_map50: float
    cls_map50: float

    @property
    def score(self) -> float:
        """The contest's score, in [0, 1].

        >>> round(Scores(det_map50=1.0, cls_map50=0.5).score, 3)
        0.85
        """
        return DETECTION_SHARE * self.det_map50 + CLASSIFICATION_SHARE * self.cls_map50


def match(truths: Sequence[Truth], predictions: Sequence[Detections], n_categories: int, max_dets: int | None = None) -> Match:
    """Match predictions to the truth.

    Args:
        truths: one for each photo.
        predictions: the same photos in the same order.
        n_categories: C; labels are in 0..C-1.
        max_dets: count only this many predictions of a photo, or of each category on it, the best, as COCO does with 100.

    Raises:
        ValueError: another number of photos, or a label out of range.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"predictions: got {len(predictions)} photos, must be {len(truths)} as in the truth")
    _check_labels("truth", truths, n_categories)
    _check_labels("prediction", predictions, n_categories)
    best_first = [_best_first(photo) for photo in predictions]
    pairs = [_overlapping(truth, photo) for truth, photo in zip(truths, best_first, strict=True)]
    one_label_truths = [truth.nameless() for truth in truths]
    one_label = [Detections(photo.boxes, photo.scores, np.zeros_like(photo.labels)) for photo in best_first]
    return Match(
        _rank(one_label_truths, one_label, pairs, 1, max_dets), _rank(truths, best_first, pairs, n_categories, max_dets)
    )


def _best_first(predictions: Detections) -> Detections:
    """By descending score, of equal scores as listed; without evidence."""
    order = np.argsort(-predictions.scores, kind="stable")
    return Detections(predictions.boxes[order], predictions.scores[order], predictions.labels[order])


def _check_labels(what: str, photos: Sequence[Truth] | Sequence[Detections], n_categories: int) -> None:
    for k, photo in enumerate(photos):
        if len(photo.labels) and not 0 <= photo.labels.min() <= photo.labels.max() < n_categories:
            got = f"{photo.labels.min()}..{photo.labels.max()}"
            raise ValueError(f"labels of {what} {k}: got {got}, must be in 0..{n_categories - 1}")


def _rank(
    truths: Sequence[Truth], best_first: Sequence[Detections], pairs: Sequence[Pairs], n_categories: int, max_dets: int | None
) -> Ranking:
    """Sort by category and score; of equal scores an earlier photo's comes first, and on one photo the one listed first."""
    rows = zip(truths, best_first, pairs, strict=True)
    hits = [_greedy_hits(truth.labels, photo.labels, overlapping) for truth, photo, overlapping in rows]
    if max_dets is not None:  # what is beyond the cap comes after what is not, and so takes no true box from it
        within = [_within_cap(photo, max_dets) for photo in best_first]
        best_first, hits = _kept(best_first, hits, within)
    if any(len(truth.ignored) for truth in truths):
        count_at = [counted(truth, photo, hit) for truth, photo, hit in zip(truths, best_first, hits, strict=True)]
        best_first, hits = _kept(best_first, hits, count_at)
    photos = np.repeat(np.arange(len(truths)), [len(photo) for photo in best_first])  # (N,)
    labels = _join([photo.labels for photo in best_first], np.int64)  # (N,)
    order = np.lexsort((-_join([photo.scores for photo in best_first], np.float32), labels))  # (N,), stable
    counts = [np.bincount(truth.labels, minlength=n_categories) for truth in truths]
    return Ranking(
        photos[order],
        categories := labels[order],
        np.searchsorted(categories, categories),
        _join(hits, np.bool_)[order],
        np.array(counts, np.int64).reshape(len(truths), n_categories),
    )


def _kept(
    photos: Sequence[Detections], hits: Sequence[NDArray[np.bool_]], keep: Sequence[NDArray[np.bool_]]
) -> tuple[list[Detections], list[NDArray[np.bool_]]]:
    """The detections of each photo, and whether they are hits, at which `keep` (N,) is true."""
    kept = [photo.take(own) for photo, own in zip(photos, keep, strict=True)]
    return kept, [hit[own] for hit, own in zip(hits, keep, strict=True)]


def _join(parts: Sequence[NDArray], dtype: type) -> NDArray:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _within_cap(predictions: Detections, max_dets: int) -> NDArray[np.bool_]:
    """Which (N,) are among the first `max_dets` of their label, in the order given."""
    order = np.argsort(predictions.labels, kind="stable")
    labels = predictions.labels[order]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(labels, labels)
    return rank < max_dets


def greedy_hits(truth: Truth, predictions: Detections) -> NDArray[np.bool_]:
    """Which predictions (N,), best first, are hits by COCO's greedy matching.

    Each takes the free true box of its label that it overlaps most, by MIN_IOU or more; of equal overlaps the one listed last.
    """
    return _greedy_hits(truth.labels, predictions.labels, _overlapping(truth, predictions))


def _overlapping(truth: Truth, predictions: Detections) -> Pairs:
    """Pairs (K,) and (K,) of a prediction and a true box that overlap by MIN_IOU or more, labels aside.

    They come as they are to be tried: by prediction; of one by overlap; of equal overlaps first the true box listed last.
    """
    overlap = iou(predictions.boxes, truth.boxes)  # (N, M)
    rows, columns = np.nonzero(overlap >= MIN_IOU)
    order = np.lexsort((-columns, -overlap[rows, columns], rows))
    return rows[order], columns[order]


def _greedy_hits(true_labels: Ints, labels: Ints, pairs: Pairs) -> NDArray[np.bool_]:
    """`greedy_hits` of the pairs that `_overlapping` gives, of which those of equal labels count."""
    rows, columns = pairs
    same = labels[rows] == true_labels[columns]
    hits, free = [False] * len(labels), [True] * len(true_labels)  # lists: single elements of arrays are slow
    for k, true_box in zip(rows[same].tolist(), columns[same].tolist(), strict=True):
        if free[true_box] and not hits[k]:
            hits[k], free[true_box] = True, False
    return np.array(hits, bool)


def counted(truth: Truth, predictions: Detections, hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which predictions (N,) count: all but those that are no hits and lie in an ignored region by MIN_IOU of their own area.

    COCO's rule for crowds, but for any label: the products in a region to ignore may be of any name.
    """
    if len(truth.ignored) == 0:
        return np.ones(len(predictions), bool)
    return hits | ~in_regions(predictions.boxes, truth.ignored)


def in_regions(boxes: NDArray[np.float32], regions: NDArray[np.float32], share: float = MIN_IOU) -> NDArray[np.bool_]:
    """Which `boxes` (N, 4) lie in one of `regions` (K, 4) by `share` of their own area or more: bool (N,).

    >>> in_regions(np.array([[0, 0, 2, 2], [3, 0, 7, 2]], np.float32), np.array([[0, 0, 4, 9]], np.float32)).tolist()
    [True, False]
    """
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1, dtype=np.float64), 1e-12)  # (N,)
    inside = np.zeros(len(boxes), bool)
    for region in regions:
        inside |= intersections(boxes, region[None]) >= share * areas
    return inside


def average_precisions(ranking: Ranking, photo_weights: Ints | None = None) -> NDArray[np.float64]:
    """COCO's AP of each category, float64 (C,), in [0, 1]; nan for a category without true boxes.

    At a recall threshold t COCO takes the precision envelope at the first prediction whose recall reaches t. So each prediction
    counts for as many thresholds as it is the first to reach, and an AP is one sum over a category's predictions.

    Args:
        ranking: the predictions in order.
        photo_weights: int64 (P,), how many times each photo counts; None: once.
    """
    photo_weights = np.ones(len(ranking.truths), np.int64) if photo_weights is None else photo_weights
    truths = photo_weights @ ranking.truths  # (C,)
    count = photo_weights[ranking.photos]  # (N,)
    hits = _running_sum(count * ranking.hits, ranking.begins)
    listed = _running_sum(count, ranking.begins)
    recall = hits / np.maximum(truths, 1)[ranking.categories]
    reached = np.searchsorted(RECALLS, recall, side="right")
    begin = ranking.begins == np.arange(len(count))
    newly = reached - np.where(begin, 0, np.roll(reached, 1))
    envelope = _best_from_here(hits / np.maximum(listed, 1), ranking.categories)
    total = np.bincount(ranking.categories, envelope * newly, minlength=len(truths))  # (C,)
    return np.where(truths > 0, total / len(RECALLS), np.nan)


def _running_sum(values: Ints, begins: Ints) -> Ints:
    """Cumulative sums of (N,) values, starting over where a category begins."""
    total = np.cumsum(values)
    return total - (total - values)[begins]


def _best_from_here(values: NDArray[np.float64], categories: Ints) -> NDArray[np.float64]:
    """The greatest of (N,) values, in [0, 1], from each to the end of its category.

    Values are shifted so that those of a category lie above all later ones: then one running maximum from the end is enough. It
    costs 1e-13 of precision.
    """
    lift = -2.0 * categories
    return np.maximum.accumulate((values + lift)[::-1])[::-1] - lift


def scores(match: Match, photo_weights: Ints | None = None) -> Scores:
    """The contest's figures on the photos, each taken `photo_weights` (int64 (P,)) times; None: once. Categories without true
    boxes on photos of weight > 0 do not count.
    """
    return Scores(
        _mean(average_precisions(match.detection, photo_weights)),
        _mean(average_precisions(match.classification, photo_weights)),
    )


def without_names(match: Match, names: Sequence[int]) -> Match:
    """`match` with some names, of 0..C-1, left out of the mean over names; their boxes are still to be found."""
    truths = match.classification.truths  # (P, C)
    kept = np.where(np.isin(np.arange(truths.shape[1]), names), 0, truths)
    return replace(match, classification=replace(match.classification, truths=kept))


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def evaluate(
    truths: Sequence[Truth], predictions: Sequence[Detections], n_categories: int, max_dets: int | None = None
) -> Scores:
    """The contest's figures of predictions; see `match` for the arguments and errors."""
    return scores(match(truths, predictions, n_categories, max_dets))
