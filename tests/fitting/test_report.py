"""What a fit says at the end: what is missing, the larger part first."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fitting import report
from fitting.ledger import Ledger, Part
from fitting.procedure import Procedure
from photos.intervals import Interval, Intervals
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from tests.fitting.sets import FRIDGE, SPEEDS

NAMES = ["tea", "coffee", "oats", ""]


def photos(*labels: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(labels=np.array(labels, np.int64))]


def fitted(names: float, boxes: float) -> SimpleNamespace:
    return SimpleNamespace(score=SimpleNamespace(value=0.5), name_oracle=0.5 + names, box_oracle=0.5 + boxes)


@pytest.mark.parametrize(
    ("names", "boxes", "starts"),
    [
        pytest.param(0.1, 0.2, ["true boxes would add 0.200", "true names would add 0.100"], id="boxes first"),
        pytest.param(0.2, 0.1, ["true names would add 0.200", "true boxes would add 0.100"], id="names first"),
        pytest.param(0.2, 0.0, ["true names would add 0.200"], id="names alone"),
        pytest.param(0.0, 0.0, ["neither truer names"], id="nothing"),
    ],
)
def test_what_is_missing_comes_in_the_order_of_its_worth(names: float, boxes: float, starts: list[str]) -> None:
    lines = list(report.missing_lines(fitted(names, boxes), photos(0), NAMES))  # type: ignore[arg-type]
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_the_products_with_the_fewest_boxes_are_named() -> None:
    line = report.names_line(0.1, photos(*[0] * 9, 1, 1, 2), NAMES)  # type: ignore[arg-type]
    assert "more photos of oats (1), coffee (2) (boxes in brackets)" in line
    assert "tea" not in line
    assert "look alike" in report.names_line(0.1, photos(*[0, 1, 2, 3] * 9), NAMES)  # type: ignore[arg-type]


def test_names_without_a_box_are_told_apart_as_they_cannot_have_moved_the_figure() -> None:
    line = report.names_line(0.03, photos(3, 3, 3, 2), ["objects", "", "rare", "common"])  # type: ignore[arg-type]
    assert line == (
        "true names would add 0.030: more photos of rare (1), common (3) (boxes in brackets); "
        "without a box, and so no part of this figure: objects, the one without a name"
    )
    crowded = report.names_line(0.03, photos(*[1] * 9), ["objects", "tea"])  # type: ignore[arg-type]
    assert crowded.endswith("products that look alike; without a box, and so no part of this figure: objects")


def test_a_name_of_photos_left_out_alone_needs_photos_most_and_is_not_told_to_be_without_a_box() -> None:
    line = report.names_line(0.03, photos(*[0] * 9, 1), NAMES[:3], photos(1, 2, 2))  # type: ignore[arg-type]
    assert line == "true names would add 0.030: more photos of oats (0), coffee (1) (boxes learned from in brackets)"


def test_a_plan_is_a_table_of_minutes() -> None:
    parts = {"one": Part(7, 120.0), "gate": Part(0, 60.0, seconds=90.0, done=True)}
    lines = report.plan_lines(Ledger({}, {}, 10.0, why={"canvas": "320 px"}, parts=parts, spent=90.0))
    assert lines[1].split() == ["one", "7", "2.0"]
    assert lines[2].split() == ["gate", "1.0", "1.5"]
    assert lines[3].split() == ["all", "3.0", "1.5", "of", "10"]
    assert lines[-1] == "  canvas: 320 px"


@pytest.mark.parametrize(
    ("resampled", "told"),
    [
        pytest.param(
            "scenes",
            ["over 6 scenes, cross-fitted", "were chosen on these photos", "another shop", "took 1.0 of 3 minutes"],
            id="scenes",
        ),
        pytest.param(
            "photos",
            [
                "over 6 photos, cross-fitted",
                "were chosen on these photos",
                "too few scenes to resample",
                "another shop",
                "took 1.0",
            ],
            id="too few scenes",
        ),
    ],
)
def test_what_the_interval_is_over_is_said(resampled: str, told: list[str]) -> None:
    figure = Interval(0.5, 0.4, 0.6, 6)
    result = SimpleNamespace(
        score=figure, figures=Intervals(figure, figure, figure), test=None, resampled=resampled, nested=True, lone=""
    )
    lines = report.result_lines(result, SimpleNamespace(spent=60, minutes=3, procedure={}, parts={}))  # type: ignore[arg-type]
    assert len(lines) == len(told) and all(words in line for line, words in zip(lines, told, strict=True))


def test_a_gate_that_saw_the_photos_is_said() -> None:
    figure = Interval(0.5, 0.4, 0.6, 6)
    figures = Intervals(figure, figure, figure)
    result = SimpleNamespace(score=figure, figures=figures, test=None, resampled="photos", nested=False, lone="")
    lines = report.result_lines(result, SimpleNamespace(spent=60, minutes=3, procedure={}, parts={}))  # type: ignore[arg-type]
    assert "by models that did not see it" in lines[0] and any("the gate was fitted on them too" in line for line in lines)


def test_what_another_shop_would_score_is_not_known_without_a_test_part() -> None:
    figure = Interval(0.5, 0.4, 0.6, 6)
    figures = Intervals(figure, figure, figure)
    result = SimpleNamespace(score=figure, figures=figures, test=figures, resampled="scenes", nested=True, lone="2 of 3")
    lines = report.result_lines(result, SimpleNamespace(spent=60, minutes=3, procedure={}, parts={}))  # type: ignore[arg-type]
    assert any("on the test part: 0.500" in line for line in lines) and report.OF_THESE_PLACES not in lines
    assert lines[1] == "2 of 3"  # names that are on photos of one fold only


@pytest.mark.parametrize(
    ("epochs", "told"),
    [
        pytest.param({"cross_fit/0/one": 8, "cross_fit/1/one": 9, "one": 4, "gate": 0}, [], id="half of them"),
        pytest.param(
            {"cross_fit/0/one": 8, "cross_fit/1/one": 9, "one": 3},
            ["its one was trained for 3 epochs, those of the folds for 8 or more"],
            id="fewer",
        ),
        pytest.param({"cross_fit/0/one": 8, "cross_fit/1/one": 9, "one": 24}, [], id="thrice as many, as planned"),
        pytest.param(
            {"cross_fit/0/one": 5, "cross_fit/1/one": 40, "one": 120},
            ["its gate is fitted on weaker models: its one was trained for 120 epochs, one of the folds for 5;"],
            id="more, as of minutes given later",
        ),
        pytest.param({"one": 1, "classifier_shelf": 1}, [], id="no refit"),
        pytest.param({}, [], id="nothing"),
    ],
)
def test_models_that_ship_with_far_other_epochs_than_the_score_is_of_are_told(epochs: dict[str, int], told: list[str]) -> None:
    lines = list(report.short_lines(Ledger({}, {}, 9.0, parts={name: Part(n, 1.0) for name, n in epochs.items()})))
    assert len(lines) == len(told) and all(words in line for line, words in zip(lines, told, strict=True))


@pytest.mark.parametrize(
    ("photos", "names", "free", "told"),
    [(5000, 356, 1.0, True), (5000, 356, 2.0, False), (20, 8, 0.0001, True), (20, 8, 0.1, False), (0, 0, 0.0, False)],
)
def test_memory_that_may_run_out_at_the_gate_is_told_with_the_plan(photos: int, names: int, free: float, told: bool) -> None:
    found = replace(FRIDGE, photos=photos, names=names)
    procedure = Procedure(DetectorConfig(), ClassifierConfig())
    lines = report.speed_lines(replace(SPEEDS, memory_gb=free), procedure, found)
    assert [line for line in lines if line.startswith("memory may run out")] == lines[2:] and len(lines) == 2 + told
    assert not told or f"{free:.1f} GB were free" in lines[2]
