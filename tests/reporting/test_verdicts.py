"""Every box that is shown and every product gets one verdict, and the right ones are those that the score counts."""

import numpy as np
import pytest

from fusion.boxes import Detections
from photos.score import Truth, greedy_hits
from reporting.verdicts import INVENTED, MISSED, RIGHT, WRONG_NAME, verdicts


def truth_of(*rows: tuple[float, int]) -> Truth:
    """Products of 10 x 10 pixels at these x, with these labels."""
    boxes = np.array([[x, 0, x + 10, 10] for x, _ in rows], np.float32).reshape(-1, 4)
    return Truth(boxes, np.array([label for _, label in rows], np.int64))


def shown_of(*rows: tuple[float, int, float]) -> Detections:
    """Boxes of 10 x 10 pixels at these x, with these labels and scores."""
    boxes = np.array([[x, 0, x + 10, 10] for x, _, _ in rows], np.float32).reshape(-1, 4)
    labels, scores = np.array([row[1] for row in rows], np.int64), np.array([row[2] for row in rows], np.float32)
    return Detections(boxes, scores, labels)


def counts(right: int = 0, wrong: int = 0, missed: int = 0, invented: int = 0) -> dict[str, int]:
    return {RIGHT: right, WRONG_NAME: wrong, MISSED: missed, INVENTED: invented}


@pytest.mark.parametrize(
    ("truth", "shown", "expected"),
    [
        pytest.param((), (), counts(), id="empty shelf, nothing shown"),
        pytest.param(((0, 1),), (), counts(missed=1), id="nothing shown"),
        pytest.param((), ((0, 1, 0.9),), counts(invented=1), id="empty shelf"),
        pytest.param(((0, 1),), ((0, 1, 0.9),), counts(right=1), id="right"),
        pytest.param(((0, 1),), ((0, 2, 0.9),), counts(wrong=1), id="wrong name"),
        pytest.param(((0, 1),), ((6, 1, 0.9),), counts(missed=1, invented=1), id="beside it"),
        pytest.param(((0, 1),), ((0, 1, 0.9), (1, 1, 0.8)), counts(right=1, invented=1), id="second box on one product"),
        pytest.param(((0, 1),), ((0, 2, 0.9), (1, 1, 0.8)), counts(right=1, invented=1), id="the right name lies below"),
        pytest.param(((0, 1), (2, 2)), ((1, 2, 0.9), (1, 1, 0.5)), counts(right=2), id="overlapping products by name"),
    ],
)
def test_a_shelf(truth: tuple, shown: tuple, expected: dict[str, int]) -> None:
    assert verdicts(truth_of(*truth), shown_of(*shown)).counts == expected


def test_where_no_model_names_a_box_on_any_product_is_right() -> None:
    truth, shown = truth_of((0, 0), (20, 1), (40, 2)), shown_of((0, 0, 0.9), (20, 0, 0.8), (60, 0, 0.7))
    assert verdicts(truth, shown, named=False).counts == counts(right=2, missed=1, invented=1)
    assert verdicts(truth, shown).counts == counts(right=1, wrong=1, missed=1, invented=1)


def test_what_is_right_is_what_the_score_counts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth = truth_of(*((float(x), int(rng.integers(3))) for x in rng.uniform(0, 60, 8)))
        shown = shown_of(*((float(x), int(rng.integers(3)), float(rng.random())) for x in rng.uniform(0, 60, 12)))
        own = verdicts(truth, shown)
        assert own.right.tolist() == greedy_hits(truth, own.shown).tolist()
        assert len(own.missed) - own.missed.sum() == (own.product >= 0).sum()  # each product is counted once
        assert sum(own.counts[kind] for kind in (RIGHT, WRONG_NAME, MISSED)) == len(truth.boxes)


def test_a_box_in_a_region_to_ignore_has_no_verdict() -> None:
    truth = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.array([[0, 0, 20, 20]], np.float32))
    assert verdicts(truth, shown_of((0, 1, 0.9), (40, 1, 0.8))).counts == counts(invented=1)
