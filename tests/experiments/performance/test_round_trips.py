"""The command that measures round trips: boxes that move are seen, and whatever else becomes another is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.performance import large_set, round_trips
from photos.data import Category, DataError
from photos.formats.writing import FORMATS


def test_a_set_without_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 0 boxes, need at least 1"):
        round_trips.round_trip(large_set.draw(tmp_path, 5, 0), "yolo")


@pytest.mark.parametrize("name", FORMATS)
def test_boxes_stay(name: str, tmp_path: Path) -> None:
    assert round_trips.round_trip(large_set.draw(tmp_path, 5, 4), name) < 1e-3


def test_what_becomes_another_is_seen(tmp_path: Path) -> None:
    before = large_set.draw(tmp_path, 1, 2)
    photo = before.photos[0]
    moved = replace(photo, boxes=photo.boxes + np.float32([0, 0.5, 0, 0]))
    assert round_trips.move(before, photo, before, moved, False) == pytest.approx(0.5, abs=1e-4)
    other = replace(before, categories=tuple(Category(c.id, "x") for c in before.categories))
    with pytest.raises(ValueError, match="got the names"):
        round_trips.move(before, photo, other, photo, False)
    with pytest.raises(ValueError, match="got 9x240 pixels"):
        round_trips.move(before, photo, before, replace(photo, width=9), False)
