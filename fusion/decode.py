"""One detector on a photo: the raw output of its graph -> Detections, with the class scores kept as evidence.

One function per family, in a literal dict. Each takes one photo's raw output and returns boxes float32 (A, 4) x0 y0 x1 y1 in
pixels of the canvas, and class scores float32 (A, C) in [0, 1]; a class-agnostic detector has C = 1. `stitch` joins the
detections of several tiles of one photo, and `of_view` makes of all canvases of a view what the detector says of the photo.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.boxes import Detections, Floats, Ints, clip, close_pairs, intersections, join, nms
from fusion.ensemble import Member
from fusion.models import Model
from fusion.reading import Canvases
from fusion.views import View, make_views

Decoded = tuple[Floats, Floats]
Image = NDArray[np.uint8]
BORDER_SHARE = 0.015  # chosen: share of a tile's side; a box that ends this near to the tile's border may have been cut by it
SAME_IOU = 0.7  # chosen: IoU above which a partial box is taken for the visible part of a whole box
MAX_COORDINATE = 1e6  # chosen: pixels of the canvas; a box that reaches further is a number gone wrong
MIN_SIDE = 0.01  # chosen: pixels; a narrower or lower box is dropped, as its side would be written as 0
MIN_AREA = 1e-9  # chosen: square pixels; avoids division by an area of 0


def dense(raw: Floats) -> Decoded:
    """YOLO's anchors or RT-DETR's queries as they are exported here, (4 + C, A): cx cy w h in pixels, sigmoid class scores."""
    return _corners(raw[:4].T), raw[4:].T  # (A, 4), (A, C)


def corners(raw: Floats) -> Decoded:
    """Proposals of a Faster R-CNN or anchors of a RetinaNet as exported here, (4 + C, A): x0 y0 x1 y1, class scores."""
    return raw[:4].T, raw[4:].T  # (A, 4), (A, C)


FAMILIES: dict[str, Callable[[Floats], Decoded]] = {"yolo": dense, "rtdetr": dense, "rcnn": corners, "retinanet": corners}


def decode(family: str, raw: Floats, conf: float, agnostic: bool) -> Detections:
    """One photo's raw output -> Detections on the canvas, those with their best class score above `conf`.

    A box with a coordinate that is not finite, or beyond MAX_COORDINATE, is left out; a class score that is not finite counts
    as 0. `scores` are the best class's, `labels` its index (0 for a class-agnostic detector, which carries no evidence).
    Raises ValueError for an unknown family or an output of another shape.
    """
    if family not in FAMILIES:
        raise ValueError(f"family: got {family!r}, allowed: {', '.join(FAMILIES)}")
    if raw.ndim != 2 or len(raw) < 5:
        raise ValueError(f"raw output of {family}: got shape {raw.shape}, must be (4 + C, A) with at least 1 class")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf
        boxes, classes = FAMILIES[family](raw)
    best = classes.max(1, initial=0.0)  # (A,), not finite where a class score is NaN or inf
    if not np.isfinite(best).all():
        classes = np.where(np.isfinite(classes), classes, 0)
        best = classes.max(1, initial=0.0)
    keep = (best > conf) & (np.abs(boxes) < MAX_COORDINATE).all(1)
    boxes, classes = boxes[keep], np.clip(classes[keep], 0, 1).astype(np.float32)
    labels = np.zeros(len(boxes), np.int64) if agnostic else classes.argmax(1).astype(np.int64)
    return Detections(
        boxes.astype(np.float32), np.minimum(best[keep], 1).astype(np.float32), labels, None if agnostic else classes
    )


def on_photo(model: Model, member: Member, view: View, raw: Floats) -> tuple[Detections, bool]:
    """A canvas's raw output (4 + C, A) as detections in pixels of the photo, before NMS and clipping.

    And whether the graph may have kept back boxes above the member's `conf`. Raises ValueError for an output of another shape.
    """
    categories = model.sidecar.categories
    if categories is not None and raw.shape[:1] != (4 + len(categories),):
        raise ValueError(f"{model.path}: got an output of shape {raw.shape}, must be ({4 + len(categories)}, A)")
    full = raw.shape[1] == model.sidecar.best and bool(raw[4:, -1].max() > member.conf)
    canvas = decode(model.sidecar.family, raw, member.conf, categories is None)
    return Detections(view.to_image(canvas.boxes), canvas.scores, canvas.labels, canvas.evidence), full


def of_view(
    model: Model, member: Member, views: Sequence[View], canvases: Sequence[Callable[[], tuple[Detections, bool]]],
    width: int, height: int,
) -> Detections:  # fmt: skip
    """The detections of one entry of a member's views on a photo of `width` x `height` pixels, from `on_photo` of its canvases.

    Of several, tiles: NMS in each, then boxes that a border cut are stitched, then NMS over all. Boxes are clipped to the photo
    only after NMS, as in ultralytics: clipping would raise the overlap of boxes that reach beyond it.
    """
    each, full = [list(of_all) for of_all in zip(*(canvas() for canvas in canvases), strict=True)]
    if len(views) > 1:
        each = [tile.take(nms(tile.boxes, tile.scores, member.nms_iou, member.max_det)) for tile in each]
        each = [Detections(clip(tile.boxes, width, height), tile.scores, tile.labels, tile.evidence) for tile in each]
        regions = np.concatenate([clip(view.to_image(view.canvas_box), width, height) for view in views])  # (T, 4)
        detections = stitch(each, regions, width, height)
    else:
        detections = each[0]
    best = detections.take(nms(detections.boxes, detections.scores, member.nms_iou, member.max_det))
    model.full_answers += sum(full) if len(best) < member.max_det else 0  # no box is missing otherwise
    boxes = clip(best.boxes, width, height)
    large_enough = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(1)
    return Detections(boxes, best.scores, best.labels, best.evidence).take(large_enough)


def run_detector(model: Model, member: Member, image: Image) -> list[Detections]:
    """The detections of one detector on a photo, in its pixels: one Detections for each entry of `member.views`."""
    return [run_detector_view(model, member, spec, image) for spec in member.views]


def run_detector_view(model: Model, member: Member, spec: dict[str, Any], photo: Image | Canvases) -> Detections:
    """The detections of one detector in one entry of its views, in pixels of the photo."""
    return begin_detector_view(model, member, spec, photo, partial)()


def begin_detector_view(
    model: Model, member: Member, spec: dict[str, Any], photo: Image | Canvases, aside: Callable[..., Callable[[], Any]]
) -> Callable[[], Detections]:
    """Run the model on each canvas of a view; `aside` decodes all but the last, and the call returned gives the detections."""
    canvases = photo if isinstance(photo, Canvases) else Canvases(photo)
    height, width = canvases.image.shape[:2]
    views = make_views(spec, width, height, model.sidecar.shrinking)
    each: list[Callable[[], tuple[Detections, bool]]] = []
    for view in views:
        work = partial(on_photo, model, member, view, model(canvases.on(view)[None])[0])
        each.append(work if view is views[-1] else aside(work))  # the last one's with what follows: a thread wakes once
    return partial(of_view, model, member, views, each, width, height)


def _corners(boxes_cxcywh: Floats) -> Floats:
    """cx cy w h -> x0 y0 x1 y1, both (A, 4)."""
    centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], 1)


def stitch(parts: Sequence[Detections], regions: Floats, width: float, height: float) -> Detections:
    """Detections of the tiles of one photo, put together: a box that a tile's border cut is joined to its other parts.

    Cut boxes are treated by descending score. A cut box is joined to the best box of another tile that touches it, provided
    their union explains both: the union, clipped to a tile's region, has an IoU above SAME_IOU with the box that tile found.
    The joined box may be joined again. It keeps the highest score, with the label and evidence that go with it. Tiles that do
    not overlap cannot tell one box from two that meet at their border.

    Args:
        parts: the detections of each of T tiles, in pixels of the photo.
        regions: (T, 4), the region of the photo that each tile shows.
        width: of the photo, pixels.
        height: of the photo, pixels.
    """
    detections = join(list(parts))
    tile = np.repeat(np.arange(len(parts)), [len(part) for part in parts])  # (N,)
    view = np.asarray(regions, np.float64)[tile]  # (N, 4)
    boxes, free, cut = detections.boxes.copy(), np.ones(len(detections), bool), _is_cut(detections.boxes, view, width, height)
    neighbours = _touching_across_tiles(boxes, tile, BORDER_SHARE * (view[:, 2:] - view[:, :2]), cut)
    for i in np.flatnonzero(cut)[np.argsort(-detections.scores[cut], kind="stable")]:
        whole, members = boxes[i], [i]
        while cut[i] and free[i]:
            others = np.unique(np.concatenate([neighbours(member) for member in members]))
            others = others[free[others] & ~np.isin(tile[others], tile[members])]
            union = np.concatenate([np.minimum(boxes[others, :2], whole[:2]), np.maximum(boxes[others, 2:], whole[2:])], 1)
            agreement = _visible_iou(union, detections.boxes[others], view[others])  # (K,)
            for member in members:
                agreement = np.minimum(agreement, _visible_iou(union, detections.boxes[[member]], view[[member]]))
            if not (agreement > SAME_IOU).any():
                break
            best = np.argmax(detections.scores[others] * agreement * (agreement > SAME_IOU))
            whole, members = union[best], [*members, others[best]]
        if len(members) > 1:
            free[members] = False
            kept = members[int(np.argmax(detections.scores[members]))]
            boxes[kept], free[kept], cut[kept] = whole, True, False
    return Detections(boxes, detections.scores, detections.labels, detections.evidence).take(free)


def _is_cut(boxes: Floats, regions: Floats, width: float, height: float) -> NDArray[np.bool_]:
    """Which boxes (N, 4) end at a border of their tile's region (N, 4) that is not the border of the photo: (N,)."""
    margin = BORDER_SHARE * (regions[:, 2:] - regions[:, :2])  # (N, 2)
    low = (boxes[:, :2] - regions[:, :2] < margin) & (regions[:, :2] > margin)
    high = (regions[:, 2:] - boxes[:, 2:] < margin) & (regions[:, 2:] < np.array([width, height]) - margin)
    return np.asarray((low | high).any(1))


def _touching_across_tiles(boxes: Floats, tile: Ints, margin: Floats, cut: NDArray[np.bool_]) -> Callable[[int], Ints]:
    """A function from a box's index to the boxes of other tiles that touch it once each is enlarged by its `margin` (N, 2).

    Only pairs of which a tile's border cut at least one are listed.
    """
    a, b = close_pairs(np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1), 0.0)
    useful = (tile[a] != tile[b]) & (cut[a] | cut[b])
    box, neighbour = np.concatenate([a[useful], b[useful]]), np.concatenate([b[useful], a[useful]])
    order = box.argsort(kind="stable")
    box, neighbour = box[order], neighbour[order]
    return lambda i: neighbour[slice(*box.searchsorted([i, i + 1]))]


def _visible_iou(whole: Floats, part: Floats, regions: Floats) -> Floats:
    """IoU (K,) of `part` with `whole` (K, 4) clipped to a tile's region; `part` and `regions` are (K, 4) or (1, 4)."""
    visible = np.concatenate([np.maximum(whole[:, :2], regions[:, :2]), np.minimum(whole[:, 2:], regions[:, 2:])], 1)  # (K, 4)
    sides = np.maximum(visible[:, 2:] - visible[:, :2], 0)
    own = part[:, 2:] - part[:, :2]
    shared = intersections(visible, part)
    overlap: Floats = shared / np.maximum(sides[:, 0] * sides[:, 1] + own[:, 0] * own[:, 1] - shared, MIN_AREA)
    return overlap
