"""The annotations of one file as arrays: clipped to their photos, without boxes that have no area, regions to ignore apart."""

from typing import Any, NamedTuple

import numpy as np

from photos.checks import is_ignored, where
from photos.findings import Note, Problem
from photos.formats.source import Source

SLACK = 1.0  # chosen: pixels a box may reach beyond its photo (rounding of label tools); it is clipped without a word
MOST_DROPPED = 0.5  # chosen: where more boxes are dropped than this share, the labels belong to other photos


class BoxTable(NamedTuple):
    """N annotations, photo by photo: photos, labels and ids int64 (N,), boxes float32 (N, 4), ignored bool (N,).

    `photos` are positions in the file's list; a region to ignore has label -1.
    """

    photos: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    ignored: np.ndarray


def edges(bboxes: Any, widths: Any, heights: Any) -> np.ndarray:
    """x y width height (N, 4) -> x0 y0 x1 y1, float32 (N, 4), clipped to photos of `widths` x `heights` (N,) pixels.

    >>> edges([[-1, 2, 5, 5]], [10], [6]).tolist()
    [[0.0, 2.0, 4.0, 6.0]]
    """
    corners = _corners(np.asarray(bboxes, np.float64).reshape(-1, 4))  # (N, 4)
    return np.clip(corners, 0, np.stack([widths, heights] * 2, 1)).astype(np.float32)  # (N, 4)


def _corners(bboxes: np.ndarray) -> np.ndarray:
    return np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], 1)  # (N, 4)


def box_table(source: Source, labels: dict[int, int]) -> tuple[BoxTable, list[Note], list[Problem]]:
    """The annotations of a checked source; `labels`: its category ids -> labels. What was clipped and dropped is noted."""
    records, images = source.lists["annotations"], source.lists["images"]
    position = {image["id"]: k for k, image in enumerate(images)}
    photos = np.array([position[record["image_id"]] for record in records], np.int64)  # (N,)
    sizes = np.array([(image["width"], image["height"]) for image in images], np.int64).reshape(-1, 2)[photos]  # (N, 2)
    bboxes = np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4)  # (N, 4)
    boxes = edges(bboxes, *sizes.T)  # (N, 4)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)  # (N,)
    ignored = np.array([is_ignored(record) for record in records], bool)  # (N,)
    names = [-1 if region else labels[record["category_id"]] for record, region in zip(records, ignored, strict=True)]
    table = BoxTable(photos, boxes, np.array(names, np.int64), np.array([r["id"] for r in records], np.int64), ignored)
    order = np.flatnonzero(kept)[np.argsort(photos[kept], kind="stable")]  # (K,)
    notes = _notes(source, bboxes, sizes, kept)
    return BoxTable(*(column[order] for column in table)), notes, _mostly_dropped(source, kept & ~ignored, ~ignored)


def _notes(source: Source, bboxes: np.ndarray, sizes: np.ndarray, kept: np.ndarray) -> list[Note]:
    records = source.lists["annotations"]
    corners = _corners(bboxes)
    beyond = np.maximum(-corners[:, :2], corners[:, 2:] - sizes).max(1, initial=0.0)  # (N,)
    flat = (bboxes[:, 2:] <= 0).any(1)
    kinds = {
        "boxes without width or height, dropped": flat & ~kept,
        "boxes outside their photos, dropped": ~flat & ~kept,
        f"boxes that reach up to {beyond[kept].max(initial=0):.1f} px out of their photos, clipped": kept & (beyond > SLACK),
    }
    notes = [Note(where("annotations", source, records[k]), what) for what, at in kinds.items() for k in np.flatnonzero(at)]
    regions = [record for record in records if is_ignored(record)]
    what = "regions to ignore (iscrowd, ignore), neither learnt nor scored"
    return notes + [Note(where("annotations", source, record), what, repaired=False) for record in regions]


def _mostly_dropped(source: Source, kept: np.ndarray, products: np.ndarray) -> list[Problem]:
    dropped = int(products.sum() - kept.sum())
    if dropped <= MOST_DROPPED * products.sum():
        return []
    wrong = "most boxes lie outside their photos or have no area; were the labels made for photos of another size?"
    return [Problem(source.name, f"{dropped} of {products.sum()} boxes", wrong)]
