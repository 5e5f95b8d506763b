"""The measurement of a machine: what it keeps, and on which photos."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fitting import machine
from fitting.plan import candidates
from fitting.wishes import Wishes
from tests.fitting.sets import FRIDGE, SPEEDS


def silent(line: str) -> None:
    pass


def test_speeds_are_read_as_they_were_kept() -> None:
    assert machine.parsed(json.loads(json.dumps(asdict(SPEEDS)))) == SPEEDS


def test_a_machine_that_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    procedure = next(candidates(FRIDGE, Wishes(classifier="resnet10t"))).procedure
    kept = {"made_from": machine.made_from(procedure), "speeds": asdict(SPEEDS)}
    (tmp_path / machine.NAME).write_text(json.dumps(kept))
    assert machine.measured(tmp_path, [], procedure, 0.0, silent) == SPEEDS


def test_speeds_of_another_network_or_canvas_do_not_hold(tmp_path: Path) -> None:
    procedure = next(candidates(FRIDGE, Wishes(classifier="resnet10t"))).procedure
    larger = replace(procedure, detector=replace(procedure.detector, size=1024))
    assert machine.made_from(procedure) != machine.made_from(larger)
    assert machine.made_from(procedure) == machine.made_from(replace(procedure, folds=5))


def test_the_photos_that_are_shown_come_from_all_over_the_set() -> None:
    assert machine.spread([], 4) == []
    assert machine.spread(list(range(3)), 4) == [0, 1, 2]  # type: ignore[arg-type]
    assert machine.spread(list(range(101)), 5) == [0, 25, 50, 75, 100]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        pytest.param(Wishes(model="nothing.yaml"), "--model: got 'nothing.yaml'", id="an unknown detector"),
        pytest.param(Wishes(classifier="nothing"), "--classifier: got 'nothing'", id="an unknown backbone"),
        pytest.param(Wishes(pretrained="imagenet"), "--pretrained: got imagenet, allowed for yolov8n.yaml", id="weights"),
        pytest.param(
            Wishes(pretrained="none", start_share="0.3"), "--start-share: got 0.3, but it starts from random", id="no start"
        ),
        pytest.param(
            Wishes(model="yolov8s.yaml", start_share="0.3"), "it starts from random weights", id="no start of its own"
        ),
    ],
)
def test_what_could_not_be_trained_is_refused_before_anything_is_measured(wishes: Wishes, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        machine.refuse_unknown(next(candidates(FRIDGE, wishes)).procedure)
