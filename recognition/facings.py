"""What stands where on a shelf: rows and places, each product's share, and gaps. Pure numpy.

A facing is one box. Rows are those of `photos.reading_order`, so the upper ones of stacked facings are a row of their own.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fusion.boxes import Floats, Ints
from photos.reading_order import reading_order

MIN_BESIDE = 0.5  # chosen: share of a gap's height that a box beside it must cover to fill it


class Share(NamedTuple):
    """One product on one photo: its facings, in how many rows, and its share of all facings by count and by width."""

    label: int
    facings: int
    rows: int
    by_count: float
    by_width: float


class Gap(NamedTuple):
    """Free space in a row, `box` float (4,) in pixels: after the facing at `after`, and how many like the narrower one fit."""

    row: int
    after: int
    box: Floats
    fitting: int


def places(boxes: Floats) -> Ints:
    """Row and place in the row (N, 2) of boxes (N, 4), both from 1: rows from the top, places from the left.

    >>> places(np.array([[60, 30, 90, 100], [0, 120, 40, 200], [0, 60, 50, 100]])).tolist()
    [[1, 2], [2, 1], [1, 1]]
    """
    numbers = np.zeros((len(boxes), 2), np.int64)
    for row, members in enumerate(reading_order(boxes), 1):
        numbers[members] = np.stack([np.full(len(members), row), np.arange(1, len(members) + 1)], 1)
    return numbers


def shares(boxes: Floats, labels: Ints, rows: Ints) -> list[Share]:
    """The share of each product among boxes (N, 4) with labels (N,) in rows (N,); the greatest by count first."""
    widths = (boxes[:, 2] - boxes[:, 0]).astype(np.float64)
    found = []
    for label in np.unique(labels).tolist():
        own = labels == label
        count, width = int(own.sum()), float(widths[own].sum() / widths.sum())
        found.append(Share(label, count, len(np.unique(rows[own])), count / len(labels), width))
    return sorted(found, key=lambda share: -share.facings)


def gaps(boxes: Floats, numbers: Ints) -> list[Gap]:
    """The gaps between neighbours of a row that are wider than the narrower of the two; `numbers` (N, 2) as from `places`.

    Space that a box of another row fills, as a product that is twice as high does, is no gap. What lies beyond the ends of a
    row is not known.
    """
    found = []
    order = np.lexsort((numbers[:, 1], numbers[:, 0]))
    for left, right in pairwise(order.tolist()):
        if numbers[left, 0] != numbers[right, 0]:
            continue
        pair = boxes[[left, right]].astype(np.float64)
        narrower = float((pair[:, 2] - pair[:, 0]).min())
        x0, x1 = _widest_free(boxes, np.array([pair[0, 2], pair[:, 1].min(), pair[1, 0], pair[:, 3].max()]))
        if x1 - x0 > narrower > 0:
            box = np.array([x0, pair[:, 1].min(), x1, pair[:, 3].max()])
            found.append(Gap(int(numbers[left, 0]), int(numbers[left, 1]), box, int((x1 - x0) // narrower)))
    return found


def _widest_free(boxes: Floats, space: Floats) -> tuple[float, float]:
    """The widest part, x0 x1, of `space` (4,) in which no box (N, 4) covers MIN_BESIDE of its height."""
    x0, y0, x1, y1 = space.tolist()
    beside = np.minimum(boxes[:, 3], y1) - np.maximum(boxes[:, 1], y0) >= MIN_BESIDE * (y1 - y0)
    inside = beside & (boxes[:, 2] > x0) & (boxes[:, 0] < x1)
    best, start = (x0, x0), x0
    for left, right in [*sorted(boxes[inside][:, [0, 2]].tolist()), [x1, x1]]:
        if left - start > best[1] - best[0]:
            best = (start, left)
        start = max(start, right)
    return best
