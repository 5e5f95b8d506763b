"""Counting clicks and keys: which predicted box is of which true one, and the mean over boxes with its interval."""

from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from experiments.studies.labelling_in_the_browser import CLICKS_OF_A_BOX, Labelled, Person, keys_of, pairs, per_box
from photos.data import Photo

TRUE = [[0, 0, 10, 10], [20, 0, 30, 10]]  # x0 y0 x1 y1


def photo(boxes: list[list[float]]) -> Photo:
    n = len(boxes)
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    return Photo(1, Path("a.jpg"), 100, 100, rows, np.zeros(n, np.int64), np.arange(n), None, "a.jpg")


@pytest.mark.parametrize(
    ("offered", "true", "expected"),
    [
        pytest.param([], TRUE, {}, id="no predicted box"),
        pytest.param([([0, 0, 10, 10], 0.9)], [], {}, id="no true box"),
        pytest.param([([0, 0, 10, 10], 0.9), ([20, 0, 10, 10], 0.8)], TRUE, {0: 0, 1: 1}, id="each its own"),
        pytest.param([([0, 0, 10, 10], 0.1), ([0, 0, 10, 9], 0.9)], TRUE, {0: 1}, id="one that counts before a faint one"),
        pytest.param([([6, 0, 10, 10], 0.9)], TRUE, {}, id="too little overlap"),
    ],
)
def test_predicted_boxes_are_paired_with_true_ones(
    offered: list[tuple[list[float], float]], true: list[list[float]], expected: dict[int, int]
) -> None:
    boxes = [{"bbox": bbox, "score": score} for bbox, score in offered]
    assert pairs(boxes, photo(true), 0.5) == expected


def test_actions_are_per_box_not_per_photo() -> None:
    results = [Labelled(1, 4, 9, 0.1), Labelled(3, 4, 9, 0.1)]
    estimate = per_box(results, "actions")
    assert (estimate.value, estimate.n) == (2.0, 2)
    assert estimate.low is not None and estimate.high is not None
    assert 4 / 3 <= estimate.low <= 2 <= estimate.high <= 4


def test_a_box_that_is_drawn_costs_what_it_costs_by_hand() -> None:
    person = Person(MagicMock())
    person.size, person.place = (100, 100), {"x": 0.0, "y": 0.0, "width": 100.0, "height": 100.0}
    person.drag([10, 10, 20, 20])
    assert person.actions == CLICKS_OF_A_BOX == 4
    person.press("a", "Enter")
    assert person.actions == 6


def test_a_name_takes_its_first_letters_that_tell() -> None:
    assert keys_of("Te", ["Te svart", "Te"]) == ["T", "e", "Enter"]
    assert keys_of("Saft", []) == ["S", "a", "f", "t", "Enter"]
