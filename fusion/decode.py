"""What a detector's graph puts out becomes Detections on its canvas, with the class scores kept as evidence.

One function per family, in a literal dict. Each takes one photo's raw output and returns boxes float32 (A, 4) x0 y0 x1 y1 in
pixels of the canvas, and class scores float32 (A, C) in [0, 1]; a class-agnostic detector has C = 1.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fusion.boxes import Detections

Floats = npt.NDArray[np.float32]
Decoded = tuple[Floats, Floats]


def dense(raw: Floats) -> Decoded:
    """YOLO's anchors or RT-DETR's queries as they are exported here, (4 + C, A): cx cy w h in pixels, sigmoid class scores."""
    return _corners(raw[:4].T), raw[4:].T  # (A, 4), (A, C)


FAMILIES: dict[str, Callable[[Floats], Decoded]] = {"yolo": dense, "rtdetr": dense}


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
