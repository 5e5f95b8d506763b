"""COCO's own figures of predictions, by faster-coco-eval: AP over ten IoUs, by size, and recall."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from fusion.boxes import Detections, area, xyxy_to_xywh
from photos.data import Photo

SIZES = ("", "_small", "_medium", "_large")  # taken: COCO's, in its order; bounds at 32 x 32 and 96 x 96 pixels
IOU_50, IOU_75 = 0, 5  # taken: positions among COCO's ten IoUs, 0.5 to 0.95


def coco_scores(
    photos: Sequence[Photo], detections: Sequence[Detections], n_categories: int, max_det: int | None = None
) -> dict[str, float]:
    """COCO's figures: map, map50, map75, map_small, map_medium, map_large and recall, each in [0, 1]; nan without any truth.

    Args:
        photos: with their truth.
        detections: on the same photos in the same order.
        n_categories: C; labels are in 0..C-1.
        max_det: count only so many of a photo's and category's, the best; None counts all, and so does not stop at 100.

    Raises:
        ValueError: another number of photos, or a label out of range.
    """
    if len(photos) != len(detections):
        raise ValueError(f"detections: got {len(detections)} photos, must be {len(photos)} as in the truth")
    judge = COCOeval_faster(_side(photos, n_categories), _side(detections, n_categories), "bbox")
    judge.params.imgIds, judge.params.catIds = list(range(len(photos))), list(range(n_categories))
    judge.params.maxDets = [max([1, *map(len, detections)]) if max_det is None else max_det]
    judge.evaluate()
    judge.accumulate()
    precision, recall = judge.eval["precision"][..., -1], judge.eval["recall"][..., 0, -1]  # (10, 101, C, 4), (10, C)
    scores = {f"map{size}": _mean(precision[..., i]) for i, size in enumerate(SIZES)}
    fifty, seventy_five = (_mean(precision[at, ..., 0]) for at in (IOU_50, IOU_75))
    return {"map": scores.pop("map"), "map50": fifty, "map75": seventy_five, **scores, "recall": _mean(recall)}


def _side(photos: Sequence[Photo] | Sequence[Detections], n_categories: int) -> COCO:
    """Truth or predictions as COCO has them; an image's id is its position, a category's its index."""
    side = COCO()
    side.dataset = {
        "images": [{"id": i} for i in range(len(photos))],
        "categories": [{"id": c, "name": str(c)} for c in range(n_categories)],
        "annotations": [record for i, photo in enumerate(photos) for record in _records(i, photo, n_categories)],
    }
    for k, record in enumerate(side.dataset["annotations"]):
        record["id"] = k + 1  # an id of 0 counts as no match
    side.createIndex()
    return side


def _records(image_id: int, photo: Photo | Detections, n_categories: int) -> list[dict[str, Any]]:
    """One photo's annotations or detections as COCO has them, without ids."""
    labels = photo.labels.tolist()
    if not all(0 <= label < n_categories for label in labels):
        raise ValueError(f"labels of photo {image_id}: got {min(labels)}..{max(labels)}, must be in 0..{n_categories - 1}")
    scores = photo.scores.tolist() if isinstance(photo, Detections) else [1.0] * len(labels)
    boxes, areas = xyxy_to_xywh(photo.boxes.astype(np.float64)).tolist(), area(photo.boxes).tolist()
    records = [
        {"image_id": image_id, "category_id": label, "bbox": box, "area": size, "score": score, "iscrowd": 0}
        for label, box, size, score in zip(labels, boxes, areas, scores, strict=True)
    ]
    return records if isinstance(photo, Detections) else records + _crowds(image_id, photo, n_categories)


def _crowds(image_id: int, photo: Photo, n_categories: int) -> list[dict[str, Any]]:
    """The regions to ignore, as crowds of every category."""
    boxes = xyxy_to_xywh(photo.ignored.astype(np.float64)).tolist()
    return [
        {"image_id": image_id, "category_id": category, "bbox": box, "area": box[2] * box[3], "score": 1.0, "iscrowd": 1}
        for box in boxes
        for category in range(n_categories)
    ]


def _mean(values: np.ndarray) -> float:
    """The mean of the values that COCO could measure, which are 0 or more; nan without any."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")
