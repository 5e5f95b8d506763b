"""The contest's metric: 0.7 x detection mAP@0.5 (names left out) + 0.3 x classification mAP@0.5.

Predictions are matched to the truth once for each photo. The result, which predictions are hits and in what order, is enough
to score any multiset of the photos, so a bootstrap (`photos.intervals`) needs no further matching. AP is COCO's: 101
recalls, a precision envelope, areas of all sizes; without COCO's cap of 100 predictions a photo unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fusion.boxes import Detections, intersections, iou
from photos.data import Photo, no_boxes

DETECTION_SHARE = 0.7  # taken: the contest's scoring page
CLASSIFICATION_SHARE = 0.3  # taken: likewise
MIN_IOU = 0.5  # taken: likewise
RECALLS = np.linspace(0.0, 1.0, 101)  # taken: COCO's recall thresholds

Ints = NDArray[np.int64]


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
        max_dets: count only this many predictions of a photo (by category: of each category on a photo), the best, as COCO
            does with 100; None counts all.

    Raises:
        ValueError: another number of photos, or a label out of range.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"predictions: got {len(predictions)} photos, must be {len(truths)} as in the truth")
    _check_labels("truth", truths, n_categories)
    _check_labels("prediction", predictions, n_categories)
    one_label_truths = [truth.nameless() for truth in truths]
    one_label = [Detections(photo.boxes, photo.scores, np.zeros_like(photo.labels)) for photo in predictions]
    labelled = [Detections(photo.boxes, photo.scores, photo.labels) for photo in predictions]  # without evidence
    return Match(_rank(one_label_truths, one_label, 1, max_dets), _rank(truths, labelled, n_categories, max_dets))


def _check_labels(what: str, photos: Sequence[Truth] | Sequence[Detections], n_categories: int) -> None:
    for k, photo in enumerate(photos):
        if len(photo.labels) and not 0 <= photo.labels.min() <= photo.labels.max() < n_categories:
            got = f"{photo.labels.min()}..{photo.labels.max()}"
            raise ValueError(f"labels of {what} {k}: got {got}, must be in 0..{n_categories - 1}")


def _rank(truths: Sequence[Truth], predictions: Sequence[Detections], n_categories: int, max_dets: int | None) -> Ranking:
    """Sort by category and score; of equal scores an earlier photo's comes first, and on one photo the one listed first."""
    best_first = [photo.take(np.argsort(-photo.scores, kind="stable")) for photo in predictions]
    best_first = best_first if max_dets is None else [_cap(photo, max_dets) for photo in best_first]
    hits = [greedy_hits(truth, photo) for truth, photo in zip(truths, best_first, strict=True)]
    count_at = [counted(truth, photo, hit) for truth, photo, hit in zip(truths, best_first, hits, strict=True)]
    best_first = [photo.take(kept) for photo, kept in zip(best_first, count_at, strict=True)]
    hits = [hit[kept] for hit, kept in zip(hits, count_at, strict=True)]
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


def _join(parts: Sequence[NDArray], dtype: type) -> NDArray:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _cap(predictions: Detections, max_dets: int) -> Detections:
    """The first `max_dets` of each label, in the order given."""
    order = np.argsort(predictions.labels, kind="stable")
    labels = predictions.labels[order]
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(labels, labels)
    return predictions.take(rank < max_dets)


def greedy_hits(truth: Truth, predictions: Detections) -> NDArray[np.bool_]:
    """Which predictions (N,), best first, are hits by COCO's greedy matching.

    Each takes the free true box of its label that it overlaps most, by MIN_IOU or more; of equal overlaps the one listed last.
    """
    overlap = iou(predictions.boxes, truth.boxes) * (predictions.labels[:, None] == truth.labels[None, :])  # (N, M)
    hits = np.zeros(len(predictions), bool)
    for k in np.flatnonzero((overlap >= MIN_IOU).any(axis=1)):
        best = overlap.shape[1] - 1 - overlap[k, ::-1].argmax()
        if overlap[k, best] >= MIN_IOU:
            hits[k] = True
            overlap[:, best] = 0.0
    return hits


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
    """The contest's figures on the photos, each taken `photo_weights` (int64 (P,)) times; None: once.

    A category without true boxes on photos of weight > 0 does not count.
    """
    return Scores(
        _mean(average_precisions(match.detection, photo_weights)),
        _mean(average_precisions(match.classification, photo_weights)),
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def evaluate(
    truths: Sequence[Truth], predictions: Sequence[Detections], n_categories: int, max_dets: int | None = None
) -> Scores:
    """The contest's figures of predictions; see `match` for the arguments and errors."""
    return scores(match(truths, predictions, n_categories, max_dets))
