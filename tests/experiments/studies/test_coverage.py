"""Simulated intervals: no run, the figure that a bootstrap is given to judge, and both kinds where names have a long tail."""

import numpy as np
import pytest

from experiments.studies import coverage
from photos.intervals import Interval, bootstrap
from photos.score import scores


def test_no_runs() -> None:
    none = {"figure": 0, "percentiles": 0, "gain": 0, "gain_by_jackknife": 0}
    assert coverage.shares(3, 0, 10, np.random.default_rng(0)) == none


def test_an_interval_counts_where_it_holds_the_mean() -> None:
    assert coverage.hits([Interval(0.4, 0.3, 0.45, 9), Interval(0.6, 0.5, 0.7, 9), Interval(0.5, 0.0, 0.49, 9)]) == 1


def test_a_gain_over_nothing_is_the_score() -> None:
    first, second, scenes = coverage.simulated(np.random.default_rng(0), 4)
    alone = bootstrap(first, coverage.nothing_found(first), scenes, np.random.default_rng(0), 3)
    assert alone.value == scores(first).score != scores(second).score


@pytest.mark.slow
def test_a_figure_of_rare_names_is_held_by_its_interval_and_less_often_by_percentiles() -> None:
    held = coverage.shares(30, 25, 40, np.random.default_rng(0))
    assert held["figure"] >= 22 > held["percentiles"] and held["gain"] >= 20
    assert held["gain_by_jackknife"] >= 22


def test_the_command_says_each_share(capsys) -> None:
    assert coverage.main(["--runs", "2", "--scenes", "3", "--resamples", "5"]) == 0
    assert capsys.readouterr().out.count("of 2 intervals hold the mean") == 4
    assert coverage.main(["--runs", "0"]) == 2
