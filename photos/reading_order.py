"""Boxes in the order of reading: by rows from the top, each from the left. Products of shelves, digits of a number."""

import numpy as np

from fusion.boxes import Floats, Ints

BEND = 0.1  # chosen: a slope; a box so far away counts as this much less level, for rows bend and converge
HALF = 0.5  # chosen: share of the lower box's height that is beside another in its row
REACH = 3.0  # chosen: a tilt is seen between boxes that are at most so many of their longer sides apart
SLOPES = np.tan(np.radians([0, *(sign * angle / 2 for angle in range(1, 35) for sign in (1, -1))]))  # chosen: up to 17 degrees
STACKED = 0.1  # chosen: share of the narrower box's width from which one is on top of the other
TINY = 1e-9  # chosen: pixels; keeps no height from dividing


def reading_order(boxes: Floats) -> list[Ints]:
    """Positions of boxes (N, 4) by rows from the top, each row from the left: a number's digits, the products of shelves.

    Once the tilt that all share is taken away, two boxes may be of one row if half of the lower one's height is beside the
    other. Those with their bottoms most level join first, near before far; rows never join where one has a box on top of the
    other's. So products of any height on one board are a row, and of stacked facings the upper are a row of their own.

    >>> shelf = np.array([[60, 30, 90, 100], [0, 120, 40, 200], [0, 60, 50, 100], [50, 150, 90, 200]])
    >>> [row.tolist() for row in reading_order(shelf)]
    [[2, 0], [1, 3]]
    >>> tilted = np.array([[40, 18, 56, 42], [0, 8, 16, 32], [20, 13, 36, 37], [80, 28, 96, 52]])
    >>> [row.tolist() for row in reading_order(tilted)]
    [[1, 2, 0, 3]]
    """
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).T
    x = (x0 + x1) / 2
    lower = _tilt(x0, y0, x1, y1) * x  # (N,): by so much the tilt brings each down
    of = _rows(x0, y0 - lower, x1, y1 - lower)
    rows = [np.flatnonzero(of == row) for row in np.unique(of)]
    rows.sort(key=lambda row: float(np.median((y1 - lower)[row])))
    return [row[np.argsort(x[row], kind="stable")] for row in rows]


def _tilt(x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> float:
    """The slope, of SLOPES, along which most of N boxes see the bottom of another near on their right."""
    x, high, long = (x0 + x1) / 2, y1 - y0, np.maximum(x1 - x0, y1 - y0)
    near = x0 - x1[:, None] < REACH * np.minimum(long, long[:, None])  # (N, N)
    a, b = np.nonzero(near & (x > x[:, None]) & (_beside(y0, y1) > 0))  # (P,), ascending a
    if not len(a):
        return 0.0
    off = np.abs((y1[b] - y1[a])[:, None] - SLOPES * (x[b] - x[a])[:, None])  # (P, S)
    fit = np.maximum(HALF - off / np.minimum(high[a], high[b])[:, None], 0)
    best = np.maximum.reduceat(fit, np.flatnonzero(np.diff(a, prepend=-1)))  # (those with any, S)
    return float(SLOPES[best.sum(0).argmax()])


def _rows(x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> Ints:
    """A row's number for each of N boxes of a photo that is not tilted; the numbers are in no order."""
    beside, row = _beside(y0, y1), np.arange(len(x0))
    apart = (beside < HALF) & (_beside(x0, x1) > STACKED)  # (N, N): of two rows' numbers, while they are in use
    a, b = np.nonzero(np.triu(beside >= HALF, 1))  # (P,)
    off = np.abs(y1[a] - y1[b]) + BEND * np.abs((x0 + x1)[a] - (x0 + x1)[b]) / 2
    best = np.argsort(off, kind="stable")
    for i, j in zip(a[best].tolist(), b[best].tolist(), strict=True):
        one, other = row[i], row[j]
        if one != other and not apart[one, other]:
            row[row == other] = one
            apart[one] |= apart[other]
            apart[:, one] |= apart[:, other]
    return row


def _beside(start: Floats, stop: Floats) -> Floats:
    """The share of the shorter of two stretches that is beside the other, of all pairs: (N, N); below 0 where apart."""
    shared = np.minimum(stop, stop[:, None]) - np.maximum(start, start[:, None])
    share: Floats = shared / np.maximum(np.minimum(stop - start, (stop - start)[:, None]), TINY)
    return share
