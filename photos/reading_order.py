"""Boxes in reading order: row by row from the top, each row from the left. For products on shelves and digits of a number."""

import numpy as np

from fusion.boxes import Floats, Ints

LEVEL_SLOPE = 0.1  # chosen: penalty per pixel of horizontal distance, as rows bend and converge
MIN_BESIDE = 0.5  # chosen: share of the lower box's height that must be beside another box of its row
MAX_DISTANCE = 3.0  # chosen: in longer sides of a box; the tilt is measured between boxes at most this far apart
SLOPES = np.tan(np.radians([0, *(sign * angle / 2 for angle in range(1, 35) for sign in (1, -1))]))  # chosen: up to 17 degrees
MIN_STACKED = 0.1  # chosen: share of the narrower box's width; with more in common one box is on top of the other
MIN_LENGTH = 1e-9  # chosen: pixels; avoids division by a height of 0


def reading_order(boxes: Floats) -> list[Ints]:
    """Positions of boxes (N, 4) by rows from the top, each row from the left: a number's digits, the products of shelves.

    After the common tilt is removed, two boxes may be in one row if half of the lower one's height is beside the other. Boxes
    whose bottoms are most level are joined first, near ones before far ones; rows are not joined where a box of one is on top
    of a box of the other. So products of any height on one board are a row, and the upper ones of stacked facings another.

    >>> shelf = np.array([[60, 30, 90, 100], [0, 120, 40, 200], [0, 60, 50, 100], [50, 150, 90, 200]])
    >>> [row.tolist() for row in reading_order(shelf)]
    [[2, 0], [1, 3]]
    >>> tilted = np.array([[40, 18, 56, 42], [0, 8, 16, 32], [20, 13, 36, 37], [80, 28, 96, 52]])
    >>> [row.tolist() for row in reading_order(tilted)]
    [[1, 2, 0, 3]]
    """
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).T
    x = (x0 + x1) / 2
    lower = _tilt(x0, y0, x1, y1) * x  # (N,): how much lower the tilt moves each box
    row_of = _rows(x0, y0 - lower, x1, y1 - lower)
    rows = [np.flatnonzero(row_of == row) for row in np.unique(row_of)]
    rows.sort(key=lambda row: float(np.median((y1 - lower)[row])))
    return [row[np.argsort(x[row], kind="stable")] for row in rows]


def _tilt(x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> float:
    """The slope, of SLOPES, along which the bottoms of N boxes best meet that of a near box on their right."""
    x, high, long = (x0 + x1) / 2, y1 - y0, np.maximum(x1 - x0, y1 - y0)
    near = x0 - x1[:, None] < MAX_DISTANCE * np.minimum(long, long[:, None])  # (N, N)
    a, b = np.nonzero(near & (x > x[:, None]) & (_beside(y0, y1) > 0))  # (P,), ascending a
    if not len(a):
        return 0.0
    off = np.abs((y1[b] - y1[a])[:, None] - SLOPES * (x[b] - x[a])[:, None])  # (P, S)
    fit = np.maximum(MIN_BESIDE - off / np.minimum(high[a], high[b])[:, None], 0)
    best = np.maximum.reduceat(fit, np.flatnonzero(np.diff(a, prepend=-1)))  # (those with any, S)
    return float(SLOPES[best.sum(0).argmax()])


def _rows(x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> Ints:
    """A row's number for each of N boxes of a photo that is not tilted; the numbers are in no order."""
    beside, row = _beside(y0, y1), np.arange(len(x0))
    apart = (beside < MIN_BESIDE) & (_beside(x0, x1) > MIN_STACKED)  # (N, N): rows that must not be joined
    a, b = np.nonzero(np.triu(beside >= MIN_BESIDE, 1))  # (P,)
    off = np.abs(y1[a] - y1[b]) + LEVEL_SLOPE * np.abs((x0 + x1)[a] - (x0 + x1)[b]) / 2
    best = np.argsort(off, kind="stable")
    for i, j in zip(a[best].tolist(), b[best].tolist(), strict=True):
        kept, joined = row[i], row[j]
        if kept != joined and not apart[kept, joined]:
            row[row == joined] = kept
            apart[kept] |= apart[joined]
            apart[:, kept] |= apart[:, joined]
    return row


def _beside(start: Floats, stop: Floats) -> Floats:
    """For all pairs of intervals start..stop (N,): their overlap / the shorter length, (N, N); below 0 where they lie apart."""
    shared = np.minimum(stop, stop[:, None]) - np.maximum(start, start[:, None])
    share: Floats = shared / np.maximum(np.minimum(stop - start, (stop - start)[:, None]), MIN_LENGTH)
    return share
