"""Boxes and the record that carries them: parallel arrays, checked once when they are put together.

A box is x0 y0 x1 y1 in pixels of the original photo, and names edges: the first pixel of a photo is the box 0 0 1 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Namer = Callable[[Ints], Floats | None]
NMS_BLOCK = 1000  # chosen: boxes that nms compares at a time
EDGE = 0.004  # chosen: share of the photo's long side; a box that ends this near to the photo's edge may have been cut by it
FAR = 0.01  # chosen: how much a neighbour counts that is as far away as can be, beside one that is right here
NO_SCALE = 1e6  # chosen: the variance of a scale that nothing tells; any size is then as likely as any other
MEASURES = ("height", "side")  # of a box, for `log_sizes`
NAMING_STEP, SURE_NAMES = 8, 0.7  # chosen: boxes, and a probability; with 0.8 products of another shop have no name (LOG.md)
TOLERANCE = 1e-3  # derived: share of a box's side; far above the rounding of float32


def _check(name: str, array: Any, dtype: type, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless `array` is a numpy array of this dtype and shape (None: any length)."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name}: got {got}, must be an array of {np.dtype(dtype)}")
    if array.ndim != len(shape) or any(length not in (None, got) for got, length in zip(array.shape, shape, strict=True)):
        raise ValueError(f"{name}: got shape {array.shape}, must be {shape} (None: any length)")


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes found on one photo with their scores, labels and evidence: parallel arrays of length N.

    Args:
        boxes: float32 (N, 4), x0 y0 x1 y1 in pixels of the original photo.
        scores: float32 (N,), in [0, 1].
        labels: int64 (N,), indices into a list of categories.
        evidence: float32 (N, C), a score for each category; None from a source that knows no categories.

    Raises:
        ValueError: an array of another dtype or shape.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    evidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, np.float32, (None, 4))
        _check("scores", self.scores, np.float32, (len(self.boxes),))
        _check("labels", self.labels, np.int64, (len(self.boxes),))
        if self.evidence is not None:
            _check("evidence", self.evidence, np.float32, (len(self.boxes), None))

    @classmethod
    def empty(cls, n_classes: int | None = None) -> Detections:
        """No detections; the evidence is (0, n_classes) unless `n_classes` is None.

        >>> len(Detections.empty())
        0
        """
        evidence = None if n_classes is None else np.zeros((0, n_classes), np.float32)
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), evidence)

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Detections:
        """The detections at `index`: int64 (K,) positions in the order wanted, or bool (N,)."""
        evidence = None if self.evidence is None else self.evidence[index]
        return Detections(self.boxes[index], self.scores[index], self.labels[index], evidence)


def join(parts: Sequence[Detections]) -> Detections:
    """Concatenate Detections of one photo, in order. At least one; either all have evidence of one width, or none."""
    evidence = [part.evidence for part in parts if part.evidence is not None]
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(evidence) if evidence else None,
    )


def usable(detections: Detections, least: int = 0) -> Detections:
    """`detections`, at least `least` of them. Raises ValueError for fewer, and for numbers that are not finite."""
    if len(detections) < least or not (np.isfinite(detections.boxes).all() and np.isfinite(detections.scores).all()):
        raise ValueError(f"got {len(detections)} boxes and scores, must be at least {least} and finite")
    return detections


def area(boxes: Floats) -> NDArray[np.float64]:
    """Areas of (N, 4) boxes in square pixels, float64 (N,); 0 where a side is not positive.

    >>> area(np.array([[0.0, 0.0, 2.0, 3.0], [5.0, 0.0, 2.0, 3.0]])).tolist()
    [6.0, 0.0]
    """
    sides = np.maximum(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0.0)  # (N, 2)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float64)


def iou(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Intersection over union of each of `a` (N, 4) with each of `b` (M, 4): float64 (N, M) in [0, 1].

    A box without area overlaps nothing, itself included.

    >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0], [2.0, 0.0, 3.0, 1.0]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    p, q = np.ascontiguousarray(a.T, np.float64), np.ascontiguousarray(b.T, np.float64)  # (4, N), (4, M)
    width = np.minimum.outer(p[2], q[2]) - np.maximum.outer(p[0], q[0])  # (N, M)
    height = np.minimum.outer(p[3], q[3]) - np.maximum.outer(p[1], q[1])  # (N, M)
    shared: NDArray[np.float64] = np.maximum(width, 0.0, out=width) * np.maximum(height, 0.0, out=height)
    union = np.add.outer(area(a), area(b)) - shared
    np.divide(shared, union, out=shared, where=shared > 0)
    return shared


def close_pairs(boxes: Floats, min_iou: float, reach: float = 0.0) -> tuple[Ints, Ints]:
    """Candidate pairs of overlapping boxes, found by a sweep in strips: no pair with an IoU above `min_iou` is missing.

    Args:
        boxes: (N, 4), x0 y0 x1 y1.
        min_iou: in [0, 1]; most pairs whose IoU is below it are left out, not all.
        reach: >= 0; each box is first enlarged by `reach` times its width on the left and right, and likewise in height.

    Returns:
        Positions int64 (P,) and (P,), the lower one first; the pairs in no particular order.
    """
    x0, y0, x1, y1 = boxes.T.astype(np.float64)
    width, height = (x1 - x0) * (1 + 2 * reach), (y1 - y0) * (1 + 2 * reach)
    x0, y0 = x0 - reach * (x1 - x0), y0 - reach * (y1 - y0)
    # IoU > t needs an overlap of more than the share t of both boxes along each axis, so one box must begin before the last
    # share t of the other: `right` and `bottom` are where that begins
    right, bottom = x0 + width * (1 - min_iou + TOLERANCE), y0 + height * (1 - min_iou + TOLERANCE)
    tallest, widest = (max(float((end - start).max(initial=0.0)), 1e-9) for end, start in ((bottom, y0), (right, x0)))
    strip = np.floor((y0 - y0.min(initial=0.0)) / tallest)  # (N,): boxes of a pair lie in one strip or in neighbouring ones
    pitch = float((right - x0.min(initial=0.0)).max(initial=0.0)) + 2 * widest
    key = strip * pitch + x0 - x0.min(initial=0.0)
    order = key.argsort(kind="stable")
    keys, own, last = key[order], np.arange(1, len(key) + 1), (key + right - x0)[order]
    ranges = [(own, keys.searchsorted(last, "right"))]
    ranges += [(keys.searchsorted(keys + pitch - widest), keys.searchsorted(last + pitch, "right"))]
    pairs = [expand_ranges(start, stop) for start, stop in ranges]
    i, j = (order[np.concatenate(part)] for part in zip(*pairs, strict=True))
    near = (y0[i] <= bottom[j]) & (y0[j] <= bottom[i]) & (x0[i] <= right[j])
    i, j = i[near], j[near]
    return np.minimum(i, j), np.maximum(i, j)


def expand_ranges(start: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """List the members of N ranges start..stop: for each member the index of its range, and the member itself, both (P,).

    >>> [part.tolist() for part in expand_ranges(np.array([3, 0]), np.array([5, 1]))]
    [[0, 0, 1], [3, 4, 0]]
    """
    counts = np.maximum(stop - start, 0)  # (N,)
    range_index = np.repeat(np.arange(len(counts)), counts)  # (P,)
    return range_index, np.arange(len(range_index)) + np.repeat(start - counts.cumsum() + counts, counts)


def intersections(a: Floats, b: Floats) -> Floats:
    """Areas (P,) that boxes a[k] and b[k] share; both (P, 4), or one of them (1, 4)."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])  # (P, 2)
    np.maximum(sides, 0, out=sides)
    shared: Floats = sides[:, 0] * sides[:, 1]
    return shared


def uncut(boxes: Floats, width: float, height: float) -> NDArray[np.bool_]:
    """Which boxes (N, 4) do not touch an edge of the photo, which may have cut them: bool (N,).

    >>> uncut(np.array([[0.0, 9.0, 30.0, 90.0], [9.0, 9.0, 30.0, 90.0]]), 200, 100).tolist()
    [False, True]
    """
    edge = EDGE * max(width, height)
    return np.asarray((boxes[:, :2] > edge).all(1) & (boxes[:, 2:] < np.array([width, height]) - edge).all(1))


def log_sizes(boxes: Floats, measure: str) -> NDArray[np.float64]:
    """The size (N,) of each box (N, 4), by one of MEASURES; of a box below a pixel that of one pixel."""
    side = boxes[:, 3] - boxes[:, 1] if measure == "height" else np.sqrt(area(boxes))
    return np.log(np.maximum(side, 1.0), dtype=np.float64)


def nearness(boxes: Floats, reach: float) -> Floats:
    """How much each box counts as a neighbour of each: (N, N) in [0, 1 + FAR], 0 for itself and for others on its pack.

    A Gaussian of the distance, whose standard deviation is `reach` sides of a usual box; at least FAR.
    """
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]  # (N, 2)
    usual = max(float(np.median(np.sqrt(area(boxes)))) if len(boxes) else 0.0, 1.0)
    x, y = (middles[:, k, None] - middles[:, k] for k in (0, 1))  # (N, N)
    near = np.exp((x * x + y * y) * (-0.5 / (reach * usual) ** 2)) + FAR
    near[(np.abs(x) <= sides[:, :1] / 2) & (np.abs(y) <= sides[:, 1:] / 2)] = 0.0
    return near


def scale_around(near: Floats, offsets: Floats, precisions: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the neighbours' `offsets` (N,) around each box and its variance, (N,) and (N,).

    `near` as `nearness` gives it, `precisions` (N,) are 1 / variance of each offset, 0 for boxes that tell nothing. Where no
    neighbour tells anything the mean is 0 and the variance NO_SCALE.
    """
    weights = near * precisions  # (N, N)
    total = weights.sum(1)
    known = np.maximum(total, 1 / NO_SCALE)
    return weights @ offsets / known, np.where(total > 1 / NO_SCALE, (near * weights).sum(1) / known**2, NO_SCALE)


def nms(boxes: Floats, scores: Floats, iou: float, limit: int | None = None) -> Ints:
    """Keep a box unless a kept box of higher score overlaps it by more than `iou`; of equal scores the first counts as higher.

    Args:
        boxes: (N, 4), x0 y0 x1 y1.
        scores: (N,).
        iou: in [0, 1].
        limit: keep at most this many, the best; None keeps all.

    Returns:
        int64 (K,), positions of the kept boxes by descending score; those of torchvision.ops.nms, ties and rounding included.
    """
    order, kept, boxes = np.argsort(-scores, kind="stable"), np.zeros(0, np.int64), np.asarray(boxes)
    for start in range(0, len(order), NMS_BLOCK):  # a photo full of overlapping boxes then takes little memory
        candidates = np.concatenate([kept, order[start : start + NMS_BLOCK]])
        kept = candidates[_unsuppressed(boxes[candidates], iou)]
        if limit is not None and len(kept) >= limit:  # boxes of lower score cannot suppress these
            return np.asarray(kept[:limit], np.int64)
    return kept


def _unsuppressed(boxes: Floats, iou: float) -> NDArray[np.bool_]:
    """Which of the boxes (N, 4), the best first, `nms` keeps."""
    better, worse = close_pairs(boxes, iou)  # (P,), (P,)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    shared = intersections(boxes[better], boxes[worse])  # (P,)
    with np.errstate(invalid="ignore", divide="ignore"):  # boxes without area: 0 / 0 suppresses nothing
        # `iou` as an array: a float32 overlap is then compared in float64
        over = shared / (areas[better] + areas[worse] - shared) > np.array([iou])
    alive = np.ones(len(boxes), bool)
    better, worse = better[over], worse[over]
    order = np.argsort(better, kind="stable")
    for i, j in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if alive[i]:
            alive[j] = False
    return alive


def clip(boxes: Floats, width: float, height: float) -> NDArray[np.float32]:
    """Boxes (N, 4) cut to the photo, float32; a box that lies wholly outside has no area left.

    >>> clip(np.array([[-5.0, 2.0, 30.0, 8.0]]), 20, 10).tolist()
    [[0.0, 2.0, 20.0, 8.0]]
    """
    return np.minimum(np.maximum(boxes, 0.0), np.array([width, height, width, height])).astype(np.float32)


def xyxy_to_xywh(boxes: Floats) -> Floats:
    """x0 y0 x1 y1 -> x0 y0 width height, the corner-and-size form of COCO's JSON; (..., 4), the dtype kept."""
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def xywh_to_xyxy(boxes: Floats) -> Floats:
    """x0 y0 width height -> x0 y0 x1 y1; (..., 4), the dtype kept.

    >>> xywh_to_xyxy(np.array([1.0, 2.0, 3.0, 4.0])).tolist()
    [1.0, 2.0, 4.0, 6.0]
    """
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def sureness(scores: Floats) -> float:
    """How sure a photo's boxes are: the mean of their scores (N,), each weighed by itself; 0 without any."""
    return float((scores.astype(np.float64) ** 2).sum() / max(scores.sum(), 1e-9))


def name_best(scores: Floats, name: Namer, floor: float, lowest: float, share: float = 1.0) -> Floats | None:
    """The answers of `name`, (K, C), for the best of N boxes, by their positions (K,); others have rows of NaN, (N, C).

    At most the `share` best of the boxes with `scores` (N,) >= `lowest` are named: first those >= `floor`, then NAMING_STEP
    at a time, until the names of a step have a mean probability below SURE_NAMES.
    """
    order, answers = np.argsort(-scores, kind="stable"), None
    most = int(np.ceil(share * (scores >= np.float32(lowest)).sum()))
    first = min(int((scores >= np.float32(floor)).sum()), most)
    for begin, end in zip([0, *range(first, most, NAMING_STEP)], [*range(first, most, NAMING_STEP), most], strict=True):
        if (named := name(rows := np.sort(order[begin:end]))) is None:
            break
        answers = np.full((len(scores), named.shape[1]), np.nan, np.float32) if answers is None else answers
        answers[rows] = named
        if end > first and not named.max(1).mean() >= SURE_NAMES:  # NaN is not sure
            break
    return answers
