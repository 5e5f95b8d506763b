"""Turns whose scores mean different things make one ranking, in which neither their scales nor their faint boxes count."""

import numpy as np
import pytest

from fusion.boxes import Detections
from photos.score import Truth, match, scores
from stage2_classifier.gate.ranks import scores_by_rank


def found(rng: np.random.Generator, truths: list[Truth], faint: int, exponent: float) -> list[Detections]:
    """Each product found, a wrong box beside every fifth, and so many faint wrong boxes a photo."""
    photos = []
    for truth in truths:
        n = len(truth.boxes)
        wrong = np.tile(np.array([[900, 900, 910, 910]], np.float32), (n // 5 + faint, 1))
        values = np.concatenate([rng.uniform(0.3, 1.0, n + n // 5), rng.uniform(0.0, 0.1, faint)])
        boxes = np.concatenate([truth.boxes, wrong])
        photos.append(Detections(boxes, (values**exponent).astype(np.float32), np.zeros(len(boxes), np.int64), None))
    return photos


def shelf(count: int) -> Truth:
    """`count` boxes side by side."""
    left = 20 * np.arange(count, dtype=np.float32)
    return Truth(np.stack([left, 0 * left, left + 10, 0 * left + 10], 1), np.zeros(count, np.int64))


@pytest.mark.parametrize("many", [30, 300], ids=["photos alike", "one turn has ten times the products"])
def test_neither_scales_nor_faint_boxes_count(many: int) -> None:
    rng, turn = np.random.default_rng(0), np.repeat([0, 1], 10)
    truths = [shelf(30 if k else many) for k in turn]
    few, more = found(rng, truths[:10], 10, 1.0), found(rng, truths[10:], 400, 5.0)
    apart = [scores(match(own, boxes, 1)).det_map50 for own, boxes in ((truths[:10], few), (truths[10:], more))]
    together = scores(match(truths, scores_by_rank([*few, *more], truths, turn), 1)).det_map50
    assert 0.7 < min(apart) < max(apart) < 0.95
    assert min(apart) - 0.005 < together < max(apart) + 0.005


def test_ties_stay_ties_and_the_order_within_a_turn_too() -> None:
    values = [np.array(own, np.float32) for own in ([0.5, 0.9], [0.5], [0.2], [])]
    boxes = [Detections(np.zeros((len(v), 4), np.float32), v, np.zeros(len(v), np.int64), None) for v in values]
    ranked = scores_by_rank(boxes, [shelf(1), shelf(1), shelf(2), shelf(0)], np.array([0, 0, 1, 2]))
    assert [own.scores.tolist() for own in ranked] == [
        pytest.approx([1 / (1 + 2.5 / 2), 1 / (1 + 1 / 2)]),
        pytest.approx([1 / (1 + 2.5 / 2)]),
        pytest.approx([1 / (1 + 1 / 2)]),
        [],
    ]
