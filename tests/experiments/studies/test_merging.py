"""The ways of merging that are compared."""

from experiments.studies.merging import BASE, VIEWS, WAYS, as_records, minus_base
from fusion.merge import METHODS
from stage2_classifier.gate import weighted_views


def test_ways_and_views_that_there_are() -> None:
    assert all(way.method in METHODS for way in WAYS.values())
    assert all(set(first) | set(second) <= set(weighted_views.VIEWS) for first, second in VIEWS.values())
    assert BASE[0] in VIEWS and BASE[1] in WAYS


def test_each_way_is_compared_with_the_default_of_its_own_seed() -> None:
    way = ("one view", "soft-wbf 0.55")
    by_seed = [{BASE: 0.5, way: 0.6}, {BASE: 0.7, way: 0.9}]
    assert round(minus_base(by_seed, *way).value, 9) == 0.15
    keys = {row["key"] for row in as_records("toy", by_seed, "c")}
    assert "merging.toy.one_view.soft_wbf_0.55.map50" in keys


def test_one_seed_has_no_interval_and_says_so() -> None:
    rows = as_records("toy", [{BASE: 0.5}], "c")
    assert all(row["low"] is None and "no interval" in row["setting"] for row in rows)
