"""The gain of the search: over scenes with one seed, over seeds with several; it is recorded under a name only."""

import argparse

import pytest

from experiments.studies import search_gain
from fusion.ensemble import Ensemble, Member
from photos.intervals import Interval
from runs.command import run
from stage2_classifier.gate.search import SearchResult

REPLACED = Ensemble([0], [Member("one/model.onnx", views=[{"size": 64}, {"size": 64, "flip": True}])])
ARGS = argparse.Namespace(name="books", trials=25, folds=4, parts=["valid"])


def result(gain: float) -> SearchResult:
    return SearchResult(Interval(gain, gain - 0.25, gain + 0.5, 7), 0.5, 0.5 + gain, Ensemble([0], []), REPLACED)


def test_one_seed_has_the_interval_over_scenes() -> None:
    row = search_gain.gain_record(ARGS, [result(0.125)], "c")
    assert (row["key"], row["value"], row["low"], row["high"], row["n"]) == (
        "search.books.nested_gain", 0.125, -0.125, 0.625, 7,
    )  # fmt: skip
    assert row["setting"] == "25 trials, 4 turns by scene, parts valid, against wbf over 2 views; over scenes"


def test_several_seeds_have_the_interval_over_seeds() -> None:
    row = search_gain.gain_record(ARGS, [result(0.125), result(0.375)], "c")
    assert (row["value"], row["n"]) == (0.25, 2) and row["low"] < 0 < row["high"]
    assert row["setting"].endswith("; over seeds")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--record"], "--record: needs --name"),
        (["--trials", "0"], "--trials, --folds: got 0, 5"),
    ],
)
def test_mistakes_in_flags_are_one_line(flags: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(search_gain.body, ["--data", "D", "--runs", "R", *flags]) == 2
    stderr = capsys.readouterr().err
    assert error in stderr and stderr.count("\n") == 1
