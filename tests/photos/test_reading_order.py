"""Boxes in the order one reads them: rows from the top, each from the left, however the photo was held."""

import numpy as np
import pytest

from photos.reading_order import reading_order


def turned(boxes: list[list[float]] | np.ndarray, degrees: float, upright: bool = False) -> np.ndarray:
    """Boxes about things that are turned clockwise with the photo (or, `upright`, only carried along): float32 (N, 4)."""
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y, wide, high = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    if not upright:
        wide, high = wide * c + high * abs(s), wide * abs(s) + high * c
    x, y = c * x - s * y, s * x + c * y
    return np.stack([x - wide, y - high, x + wide, y + high], 1).astype(np.float32)


def read(boxes: np.ndarray | list[list[float]]) -> list[list[int]]:
    return [row.tolist() for row in reading_order(np.asarray(boxes, np.float32).reshape(-1, 4))]


def test_no_boxes_have_no_rows() -> None:
    assert reading_order(np.zeros((0, 4), np.float32)) == []


# The names of things, row by row, and their boxes.
DIGITS = [[20.0 * i, 0.0, 20.0 * i + 14, 24.0] for i in range(8)]
SHELVES = [
    *([0, 40, 40, 100], [42, 0, 70, 100], [75, 70, 130, 100], [135, 20, 160, 100], [165, 60, 205, 100]),  # 0-4
    *([0, 180, 50, 220], [55, 130, 90, 220], [95, 190, 160, 220], [165, 140, 190, 220]),  # 5-8
    *([5, 245, 30, 320], [35, 280, 90, 320], [100, 250, 120, 320], [125, 290, 190, 320]),  # 9-12
]
SHELF_ROWS = [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
FAN = [[20 * c, 30 * (1 + 0.1 * c) * (r - 2), 20 * c + 18, 30 * (1 + 0.1 * c) * (r - 1.1)] for r in range(5) for c in range(12)]
FAN_ROWS = np.arange(60).reshape(5, 12).tolist()
WALL = [[60 * c, 32 * r, 60 * c + 55, 32 * r + 30] for r in range(3) for c in range(10)]
WALL_ROWS = np.arange(30).reshape(3, 10).tolist()
STACKS = [[0, 0, 40, 48], [0, 52, 40, 100], [45, 2, 80, 100], [85, 1, 125, 49], [85, 51, 125, 100]]


@pytest.mark.parametrize(
    ("boxes", "rows"),
    [
        pytest.param([[5, 5, 9, 9]], [[0]], id="one box"),
        pytest.param([[5, 5, 5, 9], [20, 20, 30, 20]], [[0], [1]], id="boxes without area"),
        pytest.param(turned(DIGITS, 12), [list(range(8))], id="a number tilted by 12 degrees"),
        pytest.param(turned(DIGITS, -12), [list(range(8))], id="by 12 degrees the other way"),
        pytest.param(turned(DIGITS, 15), [list(range(8))], id="by 15 degrees"),
        pytest.param(turned(DIGITS, -15), [list(range(8))], id="by 15 degrees the other way"),
        pytest.param(turned(DIGITS[:2], 12), [[0, 1]], id="two digits tilted"),
        pytest.param(turned(DIGITS, 12)[[5, 2, 7, 0, 1, 6, 4, 3]], [[3, 4, 1, 7, 6, 0, 5, 2]], id="in random order"),
        pytest.param([[0, 0, 9, 9], [10, 0, 19, 9], [0, 11, 9, 20], [10, 11, 19, 20]], [[0, 1], [2, 3]], id="two rows"),
        pytest.param(turned(SHELVES, 5), SHELF_ROWS, id="three shelves of different heights, tilted by 5 degrees"),
        pytest.param(turned(SHELVES, -5, upright=True), SHELF_ROWS, id="three shelves that slope under upright products"),
        pytest.param([*DIGITS[:4], [21, 1, 35, 25]], [[0, 1, 4, 2, 3]], id="overlapping duplicates"),
        pytest.param([[0, 0, 30, 40], [35, 15, 41, 25], [45, 0, 75, 40]], [[0, 1, 2]], id="a small box at mid-height"),
        pytest.param([[0, 0, 30, 40], [35, 32, 41, 40], [45, 0, 75, 40]], [[0, 1, 2]], id="a small box at the foot"),
        pytest.param([[0, 0, 30, 40], [18, 15, 24, 25], [45, 0, 75, 40]], [[0, 1, 2]], id="a small box in a big one"),
        pytest.param(
            [[0, 0, 30, 40], [35, 0, 65, 40], [16, 44, 46, 84], [50, 44, 80, 84]], [[0, 1], [2, 3]], id="columns not aligned"
        ),
        pytest.param(turned(WALL, 15, upright=True), WALL_ROWS, id="tight rows of wide things, tilted by 15 degrees"),
        pytest.param(FAN, FAN_ROWS, id="rows that converge"),
        pytest.param([[0, 0, 40, 10], [100, 12, 140, 22]], [[0], [1]], id="side by side, but one higher than the other"),
        pytest.param([[0, 0, 40, 48], [2, 50, 40, 98]], [[0], [1]], id="one on top of the other"),
        pytest.param(STACKS, [[0, 3], [1, 2, 4]], id="stacks beside one that is as tall"),
        pytest.param(turned(STACKS, 8), [[0, 3], [1, 2, 4]], id="stacks beside one that is as tall, tilted"),
        pytest.param(
            [[0, 0, 40, 40], [0, 45, 40, 85], [45, 0, 85, 85], [90, 0, 130, 40], [90, 45, 130, 85]],
            [[0, 3], [1, 2, 4]],
            id="two rows, and one that is as tall as both stands in the lower",
        ),
        pytest.param([[0, 0, 10, 20], [200, 2, 210, 22], [400, 0, 410, 20]], [[0, 1, 2]], id="far between"),
    ],
)
def test_rows(boxes: np.ndarray | list[list[float]], rows: list[list[int]]) -> None:
    assert read(boxes) == rows


@pytest.mark.parametrize("factor", [0.01, 100.0], ids=["a hundredth", "a hundred times"])
@pytest.mark.parametrize("shift", [0.0, 3000.0], ids=["in the corner", "far from it"])
def test_no_size_and_no_place_matters(factor: float, shift: float) -> None:
    assert read(turned(SHELVES, 5) * factor + shift * factor) == SHELF_ROWS


def a_wall(rng: np.random.Generator, degrees: float, stacked: float) -> tuple[np.ndarray, list[list[int]]]:
    """Shelves of things in random columns, level by their feet or their middles, turned: boxes (N, 4) in disorder, their rows.

    So large a share as `stacked` are two on top of each other, as high as one of the others together.
    """
    by_feet, upright, aligned = rng.random(3) < (1 if stacked else 0.5, 0.5, 0.5)
    vary, aspect, pitch = rng.uniform(0, 0.1 if stacked else 0.45), rng.uniform(0.35, 1.5), rng.uniform(110, 135)
    columns, shelves, rows = int(rng.integers(1, 13)), int(rng.integers(1, 7)), []
    for shelf in range(shelves):
        x, upper, lower = 0.0 if aligned else rng.uniform(0, 100), [], []
        for _ in range(columns if aligned else int(rng.integers(1, columns + 3))):
            wide, high = 100 * aspect * (1 if aligned else rng.uniform(0.8, 1.2)), 100 * (1 - vary * rng.random())
            foot, moved = shelf * pitch + (0 if by_feet else high / 2), np.tile(rng.normal(0, 0.04 * high, 2), 2)
            if rng.random() < stacked:
                upper.append([x, foot - high, x + wide, foot - high / 2 - 1])
                lower.append([x, foot - high / 2 + 1, x + wide, foot])
            else:
                lower.append(np.array([x, foot - high, x + wide, foot]) + moved)
            x += 1.05 * wide
        rows += [row for row in (upper, lower) if row]
    boxes, order = turned(np.concatenate(rows), degrees, upright), rng.permutation(sum(map(len, rows)))
    places = np.split(np.argsort(order), np.cumsum([len(row) for row in rows])[:-1])
    return boxes[order], [place.tolist() for place in places]


@pytest.mark.parametrize("stacked", [0.0, 0.3], ids=["single", "stacked"])
def test_walls_in_disorder_come_back_row_by_row(stacked: float) -> None:
    right = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        boxes, rows = a_wall(rng, rng.uniform(-12, 12), stacked)
        right += read(boxes) == rows
    assert right >= 297


def test_every_box_is_in_one_row_whatever_they_are() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        start = rng.uniform(0, 100, (int(rng.integers(1, 80)), 2))
        boxes = np.concatenate([start, start + rng.uniform(0, 60, start.shape)], 1)
        assert sorted(np.concatenate(reading_order(boxes)).tolist()) == list(range(len(boxes)))
