"""Merge the overlapping boxes of several models and views: NMS, soft-NMS, weighted boxes fusion; class evidence is kept.

Boxes are merged without regard to category: two boxes of one product become one, whatever label each has. How equal scores
are ordered is listed in `docs/design.md`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fusion.boxes import TOLERANCE, Detections, Floats, Ints, area, close_pairs, expand_ranges, intersections, nms
from fusion.boxes import iou as pairwise_iou

Fused = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Merge:
    """How overlapping boxes are merged, a part of ensemble.json.

    `method` is nms, soft_nms, wbf, or soft_wbf: wbf after soft_nms in each view. `iou`, in [0, 1], is the threshold of nms and
    wbf; `sigma`, > 0, is that of soft_nms. A box of a member gives class evidence to a merged box that it overlaps by
    `evidence_iou`, in [0, 1], or more. At most `max_det` boxes of a photo are kept, those of highest score.
    """

    method: str = "wbf"
    iou: float = 0.55
    sigma: float = 0.5
    max_det: int = 300
    evidence_iou: float = 0.5


def soft_nms(boxes: Floats, scores: Floats, sigma: float, min_score: float) -> tuple[Ints, NDArray[np.float32]]:
    """Take the box of highest score, lower the scores of the others by how much they overlap it, and repeat.

    A score is multiplied by exp(-iou^2 / sigma). Source: Bodla et al., Soft-NMS, ICCV 2017, the Gaussian form.

    Args:
        boxes: (N, 4), x0 y0 x1 y1; their scores (N,), in [0, 1].
        sigma: > 0; the smaller, the closer to plain NMS.
        min_score: a box is dropped once its score is not above this.

    Returns:
        int64 (K,), positions by descending lowered score, and those scores, float32 (K,).
    """
    if not sigma > 0:
        raise ValueError(f"sigma of soft nms: got {sigma}, must be > 0")
    boxes, areas = boxes.astype(np.float64), area(boxes)  # (N, 4), (N,)
    lowered, kept, kept_scores = scores.astype(np.float64), [], []
    while len(lowered) and lowered[best := int(np.argmax(lowered))] > min_score:
        kept.append(best)
        kept_scores.append(lowered[best])
        shared = intersections(boxes[[best]], boxes)
        overlap = shared / np.maximum(areas[best] + areas - shared, 1e-12)
        lowered *= np.exp(-(overlap**2) / sigma)
        lowered[best] = -np.inf
    return np.array(kept, np.int64), np.array(kept_scores, np.float32)


def _pool(
    boxes: Sequence[Floats], scores: Sequence[Floats], labels: Sequence[Ints], weights: NDArray[np.float64], skip: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], Ints]:
    """The usable boxes (N, 4) of all models, their score times weight (N,) and labels (N,), in the order of the models."""
    pooled = np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float64)  # (N, 4)
    unweighted = np.concatenate([np.zeros(0), *scores]).astype(np.float64)  # (N,)
    pooled_labels = np.concatenate([np.zeros(0, np.int64), *labels]).astype(np.int64)  # (N,)
    weighted = unweighted * np.repeat(weights, [len(part) for part in scores])
    usable = (unweighted >= skip) & (weighted > 0) & (area(pooled) > 0)
    return pooled[usable], weighted[usable], pooled_labels[usable]


def _fuse(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], labels: Ints, iou: float
) -> tuple[NDArray[np.float64], Floats, Ints, Ints]:
    """Cluster the boxes of each label in their order: each joins the fused box it overlaps most, if by more than `iou`.

    A cluster's box is the mean of its boxes, each weighted by its score; sums grow by one box at a time, rounded to float32
    where ensemble-boxes rounds. Of equal overlaps the cluster whose first box comes first is joined.

    Boxes are treated in waves (`_waves`): a wave holds the boxes whose earlier possible partners (`_possible_pairs`) all have
    their clusters. The boxes of one wave do not affect each other, so the result is that of treating one box after the other.

    Args:
        boxes: (N, 4), scores (N,), labels (N,), in the order of treatment within each label.

    Returns:
        (K, 4) fused boxes, (K,) mean scores, int64 (K,) sizes, int64 (K,) the position of each cluster's first box, ascending.
    """
    earlier, later = _possible_pairs(boxes, labels, iou)  # (P,), (P,), ordered by `later`
    cluster_of = np.arange(len(boxes))  # (N,): a cluster is named by the position of its first box
    fused, areas, totals, sizes = boxes.copy(), area(boxes), scores.copy(), np.ones(len(boxes), np.int64)
    weighted, own = boxes * scores[:, None], areas.copy()
    sums = weighted.astype(np.float32)
    for wave in _waves(earlier, later, len(boxes)):
        box, cluster = later[wave], cluster_of[earlier[wave]]  # (E,), (E,)
        shared = intersections(boxes[box], fused[cluster])
        overlap = shared / (areas[cluster] + own[box] - shared)
        best = np.lexsort((cluster, -overlap, box))  # ties: the cluster with the lowest number
        best = best[np.append(True, box[best[1:]] != box[best[:-1]])]
        best = best[overlap[best] > iou]
        box, cluster = box[best], cluster[best]
        cluster_of[box] = cluster
        sums[cluster] += weighted[box]
        totals[cluster] += scores[box]
        sizes[cluster] += 1
        fused[cluster] = means = (sums[cluster] / totals[cluster].astype(np.float32)[:, None]).astype(np.float64)
        areas[cluster] = (means[:, 2] - means[:, 0]) * (means[:, 3] - means[:, 1])
    first = np.flatnonzero(cluster_of == np.arange(len(boxes)))
    n, total = sizes[first], totals[first]
    return fused[first], np.where(n > 1, (total / n).astype(np.float32), total), n, first


def _possible_pairs(boxes: NDArray[np.float64], labels: Ints, iou: float) -> tuple[Ints, Ints]:
    """Pairs of boxes (N, 4) of one label that could both overlap one fused box by more than `iou`, ordered by the later one.

    Once a box has joined, each edge of the fused box has moved towards the edge of that box, so the two overlap no less than
    before: the last box that joined has a Jaccard distance below 1 - iou from the fused box. So has the next box that joins.
    The Jaccard distance is a metric, so those two boxes overlap by more than 2 iou - 1. Where that is negative they may lie
    apart. But along each axis both cover more than the share iou of the fused box's side, so the gap between them is less than
    the share 1 - 2 iou of it, and it is at most 1 / iou times as long as the side of either box.
    """
    min_iou = 2 * iou - 1
    reach = 0.0 if min_iou >= 0 else 1 / max(iou, 1e-6) - 2
    _, group = np.unique(labels, return_inverse=True)
    extent = boxes.max(initial=1.0) - boxes.min(initial=0.0)
    apart = boxes.copy()
    apart[:, ::2] += (group * extent * (2 * reach + 2))[:, None]  # labels are shifted apart, so that their boxes cannot overlap
    earlier, later = close_pairs(apart, max(min_iou, 0.0), reach)
    shared = intersections(boxes[earlier], boxes[later])
    own = area(boxes)
    near = shared >= (min_iou - TOLERANCE) * (own[earlier] + own[later] - shared)
    near &= labels[earlier] == labels[later]
    by_later = np.argsort(later[near], kind="stable")
    return earlier[near][by_later], later[near][by_later]


def _waves(earlier: Ints, later: Ints, n: int) -> Iterator[Ints]:
    """Positions of pairs of `n` boxes, ordered by `later`, in waves: the earlier box of each pair has its cluster by then.

    >>> [wave.tolist() for wave in _waves(np.array([0, 0, 1]), np.array([1, 2, 2]), 3)]
    [[0], [1, 2]]
    """
    by_earlier = np.argsort(earlier, kind="stable")
    into, out = later.searchsorted(np.arange(n + 1)), earlier[by_earlier].searchsorted(np.arange(n + 1))
    waiting = np.diff(into)  # (n,): how many earlier partners have no cluster yet
    front = np.flatnonzero(waiting == 0)
    while len(reached := later[by_earlier[expand_ranges(out[front], out[front + 1])[1]]]):
        waiting -= np.bincount(reached, minlength=n)
        front = np.flatnonzero(np.bincount(reached[waiting[reached] == 0], minlength=n))
        yield expand_ranges(into[front], into[front + 1])[1]


def weighted_boxes_fusion(
    boxes: Sequence[Floats],
    scores: Sequence[Floats],
    labels: Sequence[Ints],
    weights: Sequence[float],
    iou: float,
    skip: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], Ints]:
    """Replace overlapping boxes by their weighted mean, and lower the score of boxes that few of the models found.

    Source: Solovyev et al., Weighted boxes fusion, 2021. The score is the mean of a cluster's weighted scores times
    min(models, cluster size) / sum of weights; ensemble-boxes does the same with conf_type="avg".

    Args:
        boxes: for each model (N_i, 4), x0 y0 x1 y1 in any unit; its scores (N_i,), in [0, 1].
        labels: for each model int64 (N_i,); boxes of different labels never fuse.
        weights: for each model, >= 0; a model of weight 0 is left out.
        iou: in [0, 1]; a box joins a cluster above this. `skip`: boxes of a lower score are left out.

    Returns:
        float32 (K, 4), float32 (K,), int64 (K,), by descending score. With uneven weights a score can exceed 1.
    """
    pooled, weighted, pooled_labels = _pool(boxes, scores, labels, weight := _weights(weights, len(boxes)), skip)
    order = _order_by_label(weighted, pooled_labels)
    fused, means, sizes, first = _fuse(pooled[order], weighted[order], pooled_labels[order], iou)
    fused_scores = means * np.minimum(np.count_nonzero(weight), sizes) / weight.sum()
    best = fused_scores.argsort()[::-1]
    return fused[best].astype(np.float32), fused_scores[best].astype(np.float32), pooled_labels[order][first[best]]


def _order_by_label(scores: NDArray[np.float64], labels: Ints) -> Ints:
    """Positions (N,), label by label in the order of first occurrence; within a label by descending score.

    Equal scores come in the order of numpy's `argsort()[::-1]`, as in ensemble-boxes. That sort is not stable: their order is
    the same on every run, but may differ between processors and versions of numpy.
    """
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    grouped = np.argsort(first[group], kind="stable")
    ends = np.flatnonzero(np.diff(first[group][grouped])) + 1
    return np.concatenate([grouped[:0], *(part[scores[part].argsort()[::-1]] for part in np.split(grouped, ends))])


def _weights(weights: Sequence[float], n: int) -> NDArray[np.float64]:
    array = np.asarray(weights, np.float64)
    if array.shape != (n,) or not (array >= 0).all():
        raise ValueError(f"weights: got {list(weights)}, must be one number >= 0 for each of {n} members")
    return array


def evidence(fused_boxes: Floats, members: Sequence[Detections], weights: Sequence[float], iou: float) -> NDArray[np.float32]:
    """Class evidence of each fused box: the weighted mean of the class vectors of the members' boxes that overlap it.

    Args:
        fused_boxes: (N, 4), x0 y0 x1 y1, pixels.
        members: one without evidence, or of weight 0, contributes nothing.
        weights: for each member, >= 0.
        iou: in [0, 1]; a member's box contributes to a fused box that it overlaps by this or more.

    Returns:
        float32 (N, C), the mean weighted by member weight x score x overlap; rows of 0 where no box contributes, and C = 0 when
        no member has evidence.

    Raises:
        ValueError: weights that do not fit the members, or members that count categories differently.
    """
    pairs = zip(members, _weights(weights, len(members)), strict=True)
    aware = [(member, member.evidence, weight) for member, weight in pairs if member.evidence is not None and weight > 0]
    widths = {vectors.shape[1] for _, vectors, _ in aware} or {0}
    if len(widths) > 1:
        raise ValueError(f"evidence: got members with {sorted(widths)} categories, must be the same number")
    total = np.zeros((len(fused_boxes), widths.pop()), np.float32)  # (N, C)
    mass = np.zeros((len(fused_boxes), 1), np.float32)  # (N, 1)
    for member, vectors, weight in aware:
        overlap = pairwise_iou(fused_boxes, member.boxes)  # (N, M)
        share = (np.where(overlap >= max(iou, 1e-12), overlap, 0) * member.scores * weight).astype(np.float32)
        total += share @ vectors
        mass += share.sum(axis=1, keepdims=True)
    return np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)


def _by_nms(members: Sequence[Detections], weights: NDArray[np.float64], settings: Merge) -> Fused:
    boxes, scores = _concatenate(members, weights)
    keep = nms(boxes, scores, settings.iou)
    return boxes[keep], scores[keep]


def _by_soft_nms(members: Sequence[Detections], weights: NDArray[np.float64], settings: Merge) -> Fused:
    boxes, scores = _concatenate(members, weights)
    keep, lowered = soft_nms(boxes, scores, settings.sigma, min_score=0.0)
    return boxes[keep], lowered


def _by_wbf(members: Sequence[Detections], weights: NDArray[np.float64], settings: Merge) -> Fused:
    one_label = [np.zeros(len(member), np.int64) for member in members]
    boxes, scores = [member.boxes for member in members], [member.scores for member in members]
    fused, fused_scores, _ = weighted_boxes_fusion(boxes, scores, one_label, weights.tolist(), settings.iou)
    return fused, np.minimum(fused_scores, np.float32(1))


def _by_soft_wbf(members: Sequence[Detections], weights: NDArray[np.float64], settings: Merge) -> Fused:
    kept = [soft_nms(member.boxes, member.scores, settings.sigma, min_score=0.0) for member in members]
    softened = [replace(m.take(keep), scores=lowered) for m, (keep, lowered) in zip(members, kept, strict=True)]
    return _by_wbf(softened, weights, settings)


def _concatenate(members: Sequence[Detections], weights: NDArray[np.float64]) -> Fused:
    """All boxes and their scores, each member's scores times its weight / the greatest weight."""
    boxes = np.concatenate([member.boxes for member in members])
    scores = np.concatenate([member.scores * (weight / weights.max()) for member, weight in zip(members, weights, strict=True)])
    return boxes, scores.astype(np.float32)


Method = Callable[[Sequence[Detections], NDArray[np.float64], Merge], Fused]
METHODS: dict[str, Method] = {"nms": _by_nms, "soft_nms": _by_soft_nms, "wbf": _by_wbf, "soft_wbf": _by_soft_wbf}


def merge(
    members: Sequence[Detections],
    weights: Sequence[float],
    evidence_weights: Sequence[float],
    settings: Merge,
) -> Detections:
    """Merge the detections of one photo by several models and views.

    Args:
        members: the detections of each model in each view.
        weights: for each member, >= 0; a member of weight 0 forms no box, but may give evidence.
        evidence_weights: for each member, >= 0.

    Returns:
        Detections by descending score. Evidence is None if no member of evidence weight > 0 has any. The label is the
        category of greatest evidence, the first of equals; 0 without evidence.

    Raises:
        ValueError: an unknown method, weights that do not fit, members that count categories differently.
    """
    if settings.method not in METHODS:
        raise ValueError(f"merge method: got {settings.method!r}, must be one of {', '.join(METHODS)}")
    weight, evidence_weight = _weights(weights, len(members)), _weights(evidence_weights, len(members))
    forming = [member for member, w in zip(members, weight, strict=True) if w > 0] or [Detections.empty()]
    fused, scores = METHODS[settings.method](forming, weight[weight > 0] if weight.any() else np.ones(1), settings)
    fused, scores = fused[: settings.max_det], scores[: settings.max_det]
    if all(member.evidence is None or w == 0 for member, w in zip(members, evidence_weight, strict=True)):
        return Detections(fused, scores, np.zeros(len(fused), np.int64))
    vectors = evidence(fused, members, evidence_weights, settings.evidence_iou)  # (N, C)
    return Detections(fused, scores, vectors.argmax(axis=1).astype(np.int64), vectors)
