"""Many boxes become one: nms, soft nms and weighted boxes fusion; what the members said of a box's category goes along.

Finding does not look at categories: two boxes of one product are one, whatever each is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fusion.boxes import TOUCH, Detections, Floats, Ints, area, close_pairs, intersections, nms, spread
from fusion.boxes import iou as pairwise_iou

Fused = tuple[NDArray[np.float32], NDArray[np.float32]]


def soft_nms(boxes: Floats, scores: Floats, sigma: float, min_score: float) -> tuple[Ints, NDArray[np.float32]]:
    """Take the best box, let the others fade by how much they overlap it, and so on: score *= exp(-iou^2 / sigma).

    Source: Bodla et al., Soft-NMS, ICCV 2017, the Gaussian form.

    Args:
        boxes: (N, 4), x0 y0 x1 y1.
        scores: (N,), in [0, 1].
        sigma: > 0; the smaller, the nearer to plain nms.
        min_score: a box whose score is not above this is dropped.

    Returns:
        int64 (K,), positions by descending faded score, and those scores, float32 (K,).
    """
    if not sigma > 0:
        raise ValueError(f"sigma of soft nms: got {sigma}, must be > 0")
    every, areas = boxes.astype(np.float64), area(boxes)  # (N, 4), (N,)
    faded, keep, kept = scores.astype(np.float64), [], []
    while len(faded) and faded[best := int(np.argmax(faded))] > min_score:
        keep.append(best)
        kept.append(faded[best])
        inside = intersections(every[[best]], every)
        overlap = inside / np.maximum(areas[best] + areas - inside, 1e-12)
        faded *= np.exp(-(overlap**2) / sigma)
        faded[best] = -np.inf
    return np.array(keep, np.int64), np.array(kept, np.float32)


def _pool(
    boxes: Sequence[Floats], scores: Sequence[Floats], labels: Sequence[Ints], weights: NDArray[np.float64], skip: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """All models' usable boxes (N, 4), score times weight (N,) and labels (N,), in the order of the models."""
    every = np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float64)  # (N, 4)
    plain = np.concatenate([np.zeros(0), *scores]).astype(np.float64)  # (N,)
    names = np.concatenate([np.zeros(0, np.int64), *labels]).astype(np.int64)  # (N,)
    weighted = plain * np.repeat(weights, [len(part) for part in scores])
    usable = (plain >= skip) & (weighted > 0) & (area(every) > 0)
    return every[usable], weighted[usable], names[usable]


def _fuse(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], names: Ints, iou: float
) -> tuple[NDArray[np.float64], Floats, Ints, Ints]:
    """Cluster the boxes of each name in their order: each joins the fused box it overlaps most, if by more than `iou`.

    A cluster's box is the mean of its boxes, each weighted by its score; sums grow by one box at a time, rounded to float32
    where ensemble-boxes rounds. Boxes that cannot meet in one fused box (see `_meetings`) are handled together, a wave at a
    time: all whose earlier neighbours have found their clusters. So the result is that of one box after the other.

    Args:
        boxes: (N, 4), scores (N,), names (N,), in the order of treatment within each name.

    Returns:
        (K, 4) fused boxes, (K,) mean scores, int64 (K,) sizes, int64 (K,) the position of each cluster's first box, ascending.
    """
    earlier, later = _meetings(boxes, names, iou)  # (P,), (P,), ordered by `later`
    home = np.arange(len(boxes))  # the first box of each box's cluster
    fused, areas, totals, sizes = boxes.copy(), area(boxes), scores.copy(), np.ones(len(boxes), np.int64)
    weighted, own = boxes * scores[:, None], areas.copy()
    sums = weighted.astype(np.float32)
    for wave in _waves(earlier, later, len(boxes)):
        box, cluster = later[wave], home[earlier[wave]]  # (E,), (E,)
        inside = intersections(boxes[box], fused[cluster])
        overlap = inside / (areas[cluster] + own[box] - inside)
        best = np.lexsort((cluster, -overlap, box))  # of a box's clusters the first of those it overlaps most
        best = best[np.append(True, box[best[1:]] != box[best[:-1]])]
        best = best[overlap[best] > iou]
        box, cluster = box[best], cluster[best]
        home[box] = cluster
        sums[cluster] += weighted[box]
        totals[cluster] += scores[box]
        sizes[cluster] += 1
        fused[cluster] = means = (sums[cluster] / totals[cluster].astype(np.float32)[:, None]).astype(np.float64)
        areas[cluster] = (means[:, 2] - means[:, 0]) * (means[:, 3] - means[:, 1])
    first = np.flatnonzero(home == np.arange(len(boxes)))
    n, total = sizes[first], totals[first]
    return fused[first], np.where(n > 1, (total / n).astype(np.float32), total), n, first


def _meetings(boxes: NDArray[np.float64], names: Ints, iou: float) -> tuple[Ints, Ints]:
    """Pairs of boxes (N, 4) of one name that could overlap one fused box by more than `iou`, ordered by the later of the two.

    A box that joins a fused box overlaps it afterwards by no less, since each edge has moved towards its own. So whoever meets
    that fused box next does so at a Jaccard distance below 1 - iou from it, as did the one that joined last, and the distance
    is a metric: the two overlap by more than 2 iou - 1. Where that is negative they may lie apart, but along each side
    both cover more than the part iou of the fused box: the gap is below 1 - 2 iou of it, and it is no longer than theirs / iou.
    """
    least = 2 * iou - 1
    reach = 0.0 if least >= 0 else 1 / max(iou, 1e-6) - 2
    _, group = np.unique(names, return_inverse=True)
    extent = boxes.max(initial=1.0) - boxes.min(initial=0.0)
    apart = boxes.copy()
    apart[:, ::2] += (group * extent * (2 * reach + 2))[:, None]  # names side by side, where they cannot meet
    earlier, later = close_pairs(apart, max(least, 0.0), reach)
    inside = intersections(boxes[earlier], boxes[later])
    own = area(boxes)
    near = inside >= (least - TOUCH) * (own[earlier] + own[later] - inside)
    near &= names[earlier] == names[later]
    by_later = np.argsort(later[near], kind="stable")
    return earlier[near][by_later], later[near][by_later]


def _waves(earlier: Ints, later: Ints, n: int) -> Iterator[Ints]:
    """Positions of pairs of `n` boxes, ordered by `later`, in waves: the earlier box of each has found its cluster before.

    >>> [wave.tolist() for wave in _waves(np.array([0, 0, 1]), np.array([1, 2, 2]), 3)]
    [[0], [1, 2]]
    """
    by_earlier = np.argsort(earlier, kind="stable")
    into, out = later.searchsorted(np.arange(n + 1)), earlier[by_earlier].searchsorted(np.arange(n + 1))
    waiting = np.diff(into)  # (n,) earlier neighbours that have no cluster yet
    front = np.flatnonzero(waiting == 0)
    while len(reached := later[by_earlier[spread(out[front], out[front + 1])[1]]]):
        waiting -= np.bincount(reached, minlength=n)
        front = np.flatnonzero(np.bincount(reached[waiting[reached] == 0], minlength=n))
        yield spread(into[front], into[front + 1])[1]


def weighted_boxes_fusion(
    boxes: Sequence[Floats],
    scores: Sequence[Floats],
    labels: Sequence[Ints],
    weights: Sequence[float],
    iou: float,
    skip: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], Ints]:
    """Replace boxes that overlap by their mean, and lower the score of what few models saw.

    Source: Solovyev et al., Weighted boxes fusion, 2021. The score is the mean of a cluster's weighted scores times
    min(models, cluster size) / sum of weights; ensemble-boxes does the same with conf_type="avg".

    Args:
        boxes: for each model (N_i, 4), x0 y0 x1 y1 in any unit.
        scores: for each model (N_i,), in [0, 1].
        labels: for each model int64 (N_i,); boxes of different labels never fuse.
        weights: for each model, >= 0; a model of weight 0 is as if it were not there.
        iou: in [0, 1]; a box joins a cluster above this.
        skip: a score below this is left out, as is a score of 0 and a box without area.

    Returns:
        float32 (K, 4), float32 (K,), int64 (K,), by descending score. With uneven weights a score can exceed 1.
    """
    every, weighted, names = _pool(boxes, scores, labels, weight := _weights(weights, len(boxes)), skip)
    order = _by_name(weighted, names)
    fused, means, sizes, first = _fuse(every[order], weighted[order], names[order], iou)
    seen = means * np.minimum(np.count_nonzero(weight), sizes) / weight.sum()
    best = seen.argsort()[::-1]
    return fused[best].astype(np.float32), seen[best].astype(np.float32), names[order][first[best]]


def _by_name(scores: NDArray[np.float64], names: Ints) -> Ints:
    """Positions (N,), name by name as they first occur, each name's by descending score; equals as in ensemble-boxes."""
    _, seen, group = np.unique(names, return_index=True, return_inverse=True)
    grouped = np.argsort(seen[group], kind="stable")
    ends = np.flatnonzero(np.diff(seen[group][grouped])) + 1
    return np.concatenate([grouped[:0], *(part[scores[part].argsort()[::-1]] for part in np.split(grouped, ends))])


def _weights(weights: Sequence[float], n: int) -> NDArray[np.float64]:
    array = np.asarray(weights, np.float64)
    if array.shape != (n,) or not (array >= 0).all():
        raise ValueError(f"weights: got {list(weights)}, must be one number >= 0 for each of {n} members")
    return array


def evidence(fused_boxes: Floats, members: Sequence[Detections], weights: Sequence[float], iou: float) -> NDArray[np.float32]:
    """What the class-aware members say of each box: the mean of their class vectors there.

    Args:
        fused_boxes: (N, 4), x0 y0 x1 y1, pixels.
        members: a member without evidence, or of weight 0, says nothing.
        weights: for each member, >= 0.
        iou: in [0, 1]; a member's box speaks for a fused box that it overlaps by this or more.

    Returns:
        float32 (N, C), the mean weighted by member weight x score x overlap; rows of 0 where nobody speaks, and C = 0 when
        no member has anything to say.

    Raises:
        ValueError: weights that do not fit the members, or members that count categories differently.
    """
    pairs = zip(members, _weights(weights, len(members)), strict=True)
    spoken = [(member, member.evidence, weight) for member, weight in pairs if member.evidence is not None and weight > 0]
    widths = {vectors.shape[1] for _, vectors, _ in spoken} or {0}
    if len(widths) > 1:
        raise ValueError(f"evidence: got members with {sorted(widths)} categories, must be the same number")
    total = np.zeros((len(fused_boxes), widths.pop()), np.float32)  # (N, C)
    mass = np.zeros((len(fused_boxes), 1), np.float32)  # (N, 1)
    for member, vectors, weight in spoken:
        overlap = pairwise_iou(fused_boxes, member.boxes)  # (N, M)
        share = (np.where(overlap >= max(iou, 1e-12), overlap, 0) * member.scores * weight).astype(np.float32)
        total += share @ vectors
        mass += share.sum(axis=1, keepdims=True)
    return np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)


def _by_nms(members: Sequence[Detections], weights: NDArray[np.float64], iou: float, sigma: float) -> Fused:
    boxes, scores = _concatenate(members, weights)
    keep = nms(boxes, scores, iou)
    return boxes[keep], scores[keep]


def _by_soft_nms(members: Sequence[Detections], weights: NDArray[np.float64], iou: float, sigma: float) -> Fused:
    boxes, scores = _concatenate(members, weights)
    keep, faded = soft_nms(boxes, scores, sigma, min_score=0.0)
    return boxes[keep], faded


def _by_wbf(members: Sequence[Detections], weights: NDArray[np.float64], iou: float, sigma: float) -> Fused:
    one_name = [np.zeros(len(member), np.int64) for member in members]
    boxes, scores, _ = weighted_boxes_fusion(
        [member.boxes for member in members], [member.scores for member in members], one_name, weights.tolist(), iou
    )
    return boxes, np.minimum(scores, np.float32(1))


def _concatenate(members: Sequence[Detections], weights: NDArray[np.float64]) -> Fused:
    """All boxes and their scores, a member's scores lowered by its weight next to the greatest."""
    boxes = np.concatenate([member.boxes for member in members])
    scores = np.concatenate([member.scores * (w / weights.max()) for member, w in zip(members, weights, strict=True)])
    return boxes, scores.astype(np.float32)


Method = Callable[[Sequence[Detections], NDArray[np.float64], float, float], Fused]
METHODS: dict[str, Method] = {"nms": _by_nms, "soft_nms": _by_soft_nms, "wbf": _by_wbf}


def merge(
    members: Sequence[Detections],
    weights: Sequence[float],
    evidence_weights: Sequence[float],
    method: str,
    iou: float,
    sigma: float,
    max_det: int,
    evidence_iou: float,
) -> Detections:
    """One photo's detections by several models and views, as one.

    Args:
        members: what each model found in each view.
        weights: for each member, >= 0; a member of weight 0 forms no box, but may give evidence.
        evidence_weights: for each member, >= 0.
        method: nms, soft_nms or wbf.
        iou: in [0, 1], of nms and wbf.
        sigma: > 0, of soft_nms.
        max_det: at most so many boxes, the best.
        evidence_iou: in [0, 1]; see `evidence`.

    Returns:
        Detections by descending score. Evidence is None if no member of evidence weight > 0 has any; the label is the
        evidence's best, and 0 without it.

    Raises:
        ValueError: an unknown method, weights that do not fit, members that count categories differently.
    """
    if method not in METHODS:
        raise ValueError(f"merge method: got {method!r}, must be one of {', '.join(METHODS)}")
    weight, spoken = _weights(weights, len(members)), _weights(evidence_weights, len(members))
    forming = [member for member, w in zip(members, weight, strict=True) if w > 0] or [Detections.empty()]
    fused, scores = METHODS[method](forming, weight[weight > 0] if weight.any() else np.ones(1), iou, sigma)
    fused, scores = fused[:max_det], scores[:max_det]
    if all(member.evidence is None or w == 0 for member, w in zip(members, spoken, strict=True)):
        return Detections(fused, scores, np.zeros(len(fused), np.int64))
    vectors = evidence(fused, members, evidence_weights, evidence_iou)  # (N, C)
    return Detections(fused, scores, vectors.argmax(axis=1).astype(np.int64), vectors)
