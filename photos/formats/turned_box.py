"""Boxes that a labelling tool turned about their centres: the box along the axes around each is taken.

CVAT writes such a box as it was before it was turned, and the angle among its attributes, in COCO and in Pascal VOC.
"""

from math import cos, isfinite, radians, sin
from typing import Any

from photos.findings import Note
from photos.formats.source import WHERE, Source

TURNED = "turned boxes, of which the box along the axes around each is taken"


def enclose_turned(source: Source) -> None:
    """Replace the boxes of a source that are turned, by `attributes.rotation` in degrees; they are noted."""
    records = source.lists["annotations"]
    for k, record in enumerate(records):
        if angle := _angle(record):
            records[k] = record | {"bbox": around(record["bbox"], angle)}
            where = record.get(WHERE, f"annotation {record.get('id', f'at position {k}')} ({source.name})")
            source.notes.append(Note(str(where), TURNED, repaired=False))


def _angle(record: Any) -> float:
    """The angle of a record in degrees, without half turns, which leave a box as it is.

    0 where it is not turned, is no box of four numbers, or follows from an outline.
    """
    attributes = record.get("attributes") if isinstance(record, dict) else None
    if not isinstance(attributes, dict) or record.get("segmentation"):
        return 0.0
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
        return 0.0
    try:
        angle = float(attributes.get("rotation") or 0)
    except (TypeError, ValueError):
        return 0.0
    return angle % 180 if isfinite(angle) else 0.0


def around(box: list[float], degrees: float) -> list[float]:
    """The box x y width height along the axes around `box`, turned about its centre.

    >>> [round(value, 6) for value in around([100, 50, 100, 20], 90)]
    [140.0, 10.0, 20.0, 100.0]
    """
    x, y, w, h = box
    across, along = abs(sin(radians(degrees))), abs(cos(radians(degrees)))
    width, height = w * along + h * across, w * across + h * along
    return [x + (w - width) / 2, y + (h - height) / 2, width, height]
