"""What a detector's graph puts out becomes Detections on its canvas, with the class scores kept as evidence.

One function per family, in a literal dict. Each takes one photo's raw output and returns boxes float32 (A, 4) x0 y0 x1 y1 in
pixels of the canvas, and class scores float32 (A, C) in [0, 1]; a class-agnostic detector has C = 1. `stitch` puts together
what several canvases show of one photo.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fusion.boxes import Detections, Floats, Ints, close_pairs, intersections, join

Decoded = tuple[Floats, Floats]
EDGE = 0.015  # chosen: share of a tile's side; a box that ends so near to its border may have been cut there
SAME = 0.7  # chosen: IoU from which a part is what a tile would see of a whole
TINY = 1e-9  # chosen: square pixels; keeps an empty area from dividing


def dense(raw: Floats) -> Decoded:
    """YOLO's anchors or RT-DETR's queries as they are exported here, (4 + C, A): cx cy w h in pixels, sigmoid class scores."""
    return _corners(raw[:4].T), raw[4:].T  # (A, 4), (A, C)


def corners(raw: Floats) -> Decoded:
    """Proposals of a Faster R-CNN or anchors of a RetinaNet as exported here, (4 + C, A): x0 y0 x1 y1, class scores."""
    return raw[:4].T, raw[4:].T  # (A, 4), (A, C)


FAMILIES: dict[str, Callable[[Floats], Decoded]] = {"yolo": dense, "rtdetr": dense, "rcnn": corners, "retinanet": corners}


def decode(family: str, raw: Floats, conf: float, agnostic: bool) -> Detections:
    """One photo's raw output -> Detections on the canvas, those with their best class score above `conf`.
    A box that is not a number is left out.

    `scores` are the best class's, `labels` its index (0 for a class-agnostic detector, which carries no evidence).
    Raises ValueError for an unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"family: got {family!r}, allowed: {', '.join(FAMILIES)}")
    boxes, classes = FAMILIES[family](raw)
    best = classes.max(1, initial=0.0)  # (A,)
    keep = (best > conf) & np.isfinite(boxes).all(1)
    boxes, classes = boxes[keep], classes[keep].astype(np.float32)
    labels = np.zeros(len(boxes), np.int64) if agnostic else classes.argmax(1).astype(np.int64)
    return Detections(
        boxes.astype(np.float32), np.minimum(best[keep], 1).astype(np.float32), labels, None if agnostic else classes
    )


def _corners(boxes_cxcywh: Floats) -> Floats:
    """cx cy w h -> x0 y0 x1 y1, both (A, 4)."""
    centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], 1)


def stitch(parts: Sequence[Detections], seen: Floats, width: float, height: float) -> Detections:
    """What tiles of one photo found, as the photo would have it: a box that a tile's border cuts is joined to its other parts.

    Best first, a cut box takes the best box of another tile that touches it, if their union is what all these tiles would have
    seen so: cut to what a tile sees, it is the part (IoU above SAME); and so on. The best score stays, with its label and
    evidence. Tiles that do not overlap cannot tell one box from two that meet at their border.

    Args:
        parts: for each of T tiles, in pixels of the photo.
        seen: (T, 4), what each tile sees of it.
        width: of the photo, pixels.
        height: of the photo, pixels.
    """
    found = join(list(parts))
    tile = np.repeat(np.arange(len(parts)), [len(part) for part in parts])  # (N,)
    view = np.asarray(seen, np.float64)[tile]  # (N, 4)
    boxes, free, cut = found.boxes.copy(), np.ones(len(found), bool), _cut(found.boxes, view, width, height)
    near = _touching(boxes, tile, EDGE * (view[:, 2:] - view[:, :2]), cut)
    for i in np.flatnonzero(cut)[np.argsort(-found.scores[cut], kind="stable")]:
        whole, members = boxes[i], [i]
        while cut[i] and free[i]:
            others = np.unique(np.concatenate([near(member) for member in members]))
            others = others[free[others] & ~np.isin(tile[others], tile[members])]
            union = np.concatenate([np.minimum(boxes[others, :2], whole[:2]), np.maximum(boxes[others, 2:], whole[2:])], 1)
            alike = _seen_so(union, found.boxes[others], view[others])  # (K,)
            for member in members:
                alike = np.minimum(alike, _seen_so(union, found.boxes[[member]], view[[member]]))
            if not (alike > SAME).any():
                break
            best = np.argmax(found.scores[others] * alike * (alike > SAME))
            whole, members = union[best], [*members, others[best]]
        if len(members) > 1:
            free[members] = False
            kept = members[int(np.argmax(found.scores[members]))]
            boxes[kept], free[kept], cut[kept] = whole, True, False
    return Detections(boxes, found.scores, found.labels, found.evidence).take(free)


def _cut(boxes: Floats, seen: Floats, width: float, height: float) -> NDArray[np.bool_]:
    """Which boxes (N, 4) end where their tile, `seen` (N, 4), does and the photo does not: (N,)."""
    room = EDGE * (seen[:, 2:] - seen[:, :2])  # (N, 2)
    low = (boxes[:, :2] - seen[:, :2] < room) & (seen[:, :2] > room)
    high = (seen[:, 2:] - boxes[:, 2:] < room) & (seen[:, 2:] < np.array([width, height]) - room)
    return np.asarray((low | high).any(1))


def _touching(boxes: Floats, tile: Ints, room: Floats, cut: NDArray[np.bool_]) -> Callable[[int], Ints]:
    """Which boxes of other tiles touch a box, `room` (N, 2) between them at most; of pairs where a border cuts at least one."""
    a, b = close_pairs(np.concatenate([boxes[:, :2] - room, boxes[:, 2:] + room], 1), 0.0)
    useful = (tile[a] != tile[b]) & (cut[a] | cut[b])
    one, other = np.concatenate([a[useful], b[useful]]), np.concatenate([b[useful], a[useful]])
    order = one.argsort(kind="stable")
    one, other = one[order], other[order]
    return lambda i: other[slice(*one.searchsorted([i, i + 1]))]


def _seen_so(whole: Floats, part: Floats, seen: Floats) -> Floats:
    """How far tiles that see `seen` would have shown `whole` (K, 4) as `part`, both (K, 4) or (1, 4): IoU (K,)."""
    shown = np.concatenate([np.maximum(whole[:, :2], seen[:, :2]), np.minimum(whole[:, 2:], seen[:, 2:])], 1)  # (K, 4)
    sides = np.maximum(shown[:, 2:] - shown[:, :2], 0)
    own = part[:, 2:] - part[:, :2]
    shared = intersections(shown, part)
    like: Floats = shared / np.maximum(sides[:, 0] * sides[:, 1] + own[:, 0] * own[:, 1] - shared, TINY)
    return like
