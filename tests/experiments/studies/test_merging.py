"""The ways of merging that are compared."""

import numpy as np

from experiments.studies.merging import BASE, SOFT_FIRST, VIEWS, WAYS, as_records, minus_base, softened
from fusion.boxes import Detections
from fusion.merge import METHODS
from stage2_classifier.gate import weighted_views


def view(scores: list[float]) -> Detections:
    """Three boxes: two of one product that overlap by a third, and one far off."""
    boxes = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [50, 0, 60, 10]])
    return Detections(boxes, np.float32(scores), np.zeros(3, np.int64))


def test_nothing_found_is_softened_to_nothing() -> None:
    assert len(softened([[[Detections.empty()]]])[0][0][0]) == 0


def test_soft_nms_lowers_within_a_view_only() -> None:
    raw = [[[view([0.9, 0.8, 0.7])], [view([0.1, 0.2, 0.3])]]]
    first, second = (detections.scores for (detections,) in softened(raw)[0])
    lowered = 0.8 * np.exp(-((1 / 3) ** 2) / 0.5)
    assert np.allclose(sorted(first), sorted([0.9, 0.7, lowered]), atol=1e-6)
    assert np.allclose(sorted(second), sorted([0.3, 0.2, 0.1 * np.exp(-((1 / 3) ** 2) / 0.5)]), atol=1e-6)
    assert np.allclose(raw[0][0][0].scores, [0.9, 0.8, 0.7])  # the raw outputs stay as they are


def test_ways_and_views_that_there_are() -> None:
    assert all(way.method in METHODS for way in WAYS.values())
    assert all(set(first) | set(second) <= set(weighted_views.VIEWS) for first, second in VIEWS.values())
    assert BASE[0] in VIEWS and BASE[1] in WAYS


def test_each_way_is_compared_with_the_default_of_its_own_seed() -> None:
    way = ("one view", SOFT_FIRST + "wbf 0.55")
    by_seed = [{BASE: 0.5, way: 0.6}, {BASE: 0.7, way: 0.9}]
    assert round(minus_base(by_seed, *way).value, 9) == 0.15
    keys = {row["key"] for row in as_records("toy", by_seed, "c")}
    assert "merging.toy.one_view.soft_wbf_0.55.map50" in keys
