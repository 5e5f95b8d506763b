"""Numbers read off photos, and the threshold that reads best: what system C does with the detections of digits.

A number is the names of its digits in reading order; only detections above the threshold count. A list of names is in the
order of the labels.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.performance.coco_metrics import coco_scores
from fusion.boxes import Detections, nms, xyxy_to_xywh
from photos.data import Category, Photo
from photos.reading_order import reading_order
from runs.atomic_write import replacing
from runs.record import write_json

NO_NUMBER = "-1"  # taken: what a photo without digits is read as
SAME_DIGIT = 0.5  # chosen: IoU above which two boxes are two readings of one digit
THRESHOLDS = tuple(round(0.45 + 0.05 * k, 2) for k in range(10))  # taken: 0.45 to 0.90


class Row(NamedTuple):
    """What a threshold scores: mAP of the boxes above it, and the share of photos whose number is read exactly."""

    threshold: float
    map: float
    accuracy: float


def above(detections: Detections, threshold: float) -> Detections:
    """Those that score above `threshold`."""
    return detections.take(detections.scores > threshold)


def number(detections: Detections, names: Sequence[str], threshold: float) -> str:
    """The number that a photo's digits above `threshold` make, row after row; of two readings of a digit the better counts.

    >>> boxes = np.array([[20, 3, 30, 19], [0, 0, 10, 16], [21, 3, 30, 19]], np.float32)
    >>> number(Detections(boxes, np.array([0.9, 0.8, 0.6], np.float32), np.array([7, 4, 1])), "0123456789", 0.5)
    '47'
    """
    digits = above(detections, threshold)
    digits = digits.take(nms(digits.boxes, digits.scores, SAME_DIGIT))
    return _joined(digits, names)


def truth_number(photo: Photo, names: Sequence[str]) -> str:
    """The number that the photo's annotations make."""
    return _joined(photo, names)


def _joined(digits: Photo | Detections, names: Sequence[str]) -> str:
    places = [place for row in reading_order(digits.boxes) for place in row]
    return "".join(names[digits.labels[place]] for place in places) or NO_NUMBER


def sequence_accuracy(
    photos: Sequence[Photo], detections: Sequence[Detections], names: Sequence[str], threshold: float
) -> float:
    """The share of photos whose number is read exactly, those without digits included; nan without photos."""
    right = [number(own, names, threshold) == truth_number(photo, names) for photo, own in zip(photos, detections, strict=True)]
    return float(np.mean(right)) if right else float("nan")


def search(
    photos: Sequence[Photo], detections: Sequence[Detections], names: Sequence[str], thresholds: Sequence[float] = THRESHOLDS
) -> list[Row]:
    """What each threshold scores, in the order given. mAP never rises with the threshold; accuracy may."""
    return [
        Row(
            threshold,
            coco_scores(photos, [above(own, threshold) for own in detections], len(names))["map"],
            sequence_accuracy(photos, detections, names, threshold),
        )
        for threshold in thresholds
    ]


def best(rows: Sequence[Row], by: str) -> Row:
    """The best row by "map" or "accuracy"; of equals the lowest threshold, which keeps more detections.

    Raises:
        ValueError: another `by`, or no rows.
    """
    values = {"map": [row.map for row in rows], "accuracy": [row.accuracy for row in rows]}
    if by not in values:
        raise ValueError(f"by: got {by!r}, allowed: {', '.join(values)}")
    if not rows:
        raise ValueError("rows: got none, need at least 1")
    order = np.lexsort(([row.threshold for row in rows], -np.nan_to_num(values[by], nan=-1.0)))
    return rows[order[0]]


def draw(rows_by_model: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Write a picture to `path`: mAP and accuracy against the threshold, a line for each model and a ring where it is best."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for i, (model, rows) in enumerate(rows_by_model.items()):
        for axis, by, column in zip(panels, ("map", "accuracy"), (1, 2), strict=True):
            axis.plot([row.threshold for row in rows], [row[column] for row in rows], f"C{i}.-", label=model)
            top = best(rows, by)
            axis.plot(top.threshold, top[column], f"C{i}o", markersize=9, fillstyle="none")
    for axis, title in zip(panels, ("mAP above the threshold", "numbers read exactly"), strict=True):
        axis.set(title=title, xlabel="threshold")
    if rows_by_model:
        panels[0].legend()
    figure.savefig(path, dpi=100)


def write_predictions(
    folder: Path,
    photos: Sequence[Photo],
    detections: Sequence[Detections],
    categories: Sequence[Category],
    threshold: float,
) -> None:
    """Write what is above `threshold` to FOLDER/pred.json, in COCO's form, and each photo's number to FOLDER/pred.csv.

    Args:
        folder: made unless it exists.
        photos: whose ids both files name.
        detections: on the same photos in the same order.
        categories: of the labels: their ids, and their names for the numbers.
        threshold: scores above it count.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, pairs = [category.name for category in categories], list(zip(photos, detections, strict=True))
    results = [row for photo, own in pairs for row in _results(photo, above(own, threshold), categories)]
    numbers = [(photo.id, number(own, names, threshold)) for photo, own in pairs]
    write_json(folder / "pred.json", results)
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([("image_id", "pred_label"), *numbers])
    with replacing(folder / "pred.csv") as (unfinished,):
        unfinished.write_text(lines.getvalue(), encoding="utf-8")


def _results(photo: Photo, detections: Detections, categories: Sequence[Category]) -> list[dict[str, object]]:
    """One photo's detections as COCO's results, best first."""
    detections = detections.take(np.argsort(-detections.scores, kind="stable"))
    boxes = xyxy_to_xywh(detections.boxes.astype(np.float64)).round(3).tolist()
    scores = detections.scores.astype(str).astype(float).tolist()  # the shortest number that is this float32
    return [
        {"image_id": photo.id, "category_id": categories[label].id, "bbox": box, "score": score}
        for label, box, score in zip(detections.labels.tolist(), boxes, scores, strict=True)
    ]
