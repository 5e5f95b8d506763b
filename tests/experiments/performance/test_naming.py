"""The floor's price: every box named beside those above the floor, on models whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from place import Place
from simulated_evidence import simulated_photos

from experiments.performance import naming
from fusion.ensemble import Ensemble, Member, read_ensemble
from fusion.gate import Gate
from photos.data import read
from stage2_classifier.gate.ensemble import write_ensemble


def test_a_run_that_names_every_box_has_nothing_to_compare(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--set", "x", "--data", str(place.data), "--runs", str(place.runs)]
    assert naming.main(arguments) == 2
    assert "names every box" in capsys.readouterr().err


def test_crops_are_spared_and_the_time_of_both_is_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    ensemble = replace(read_ensemble(place.runs), naming_floor=1.01)
    write_ensemble(place.runs, ensemble)
    photos = read(place.data).photos[:2]
    timed = naming.measure(place.runs, ensemble, photos, 2)
    assert len(timed.before) == len(timed.after) == 2 and min(timed.before + timed.after) > 0
    assert list(timed.of_crops) == [member.file for member in ensemble.classifiers] and min(timed.of_crops.values()) > 0
    naming.tell_prices(place.runs, timed, 2.0)
    assert "ms a crop" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("floor", "worse"),
    [pytest.param(0.0, False, id="every box named"), pytest.param(1.01, True, id="none, where names are good")],
)
def test_the_change_of_the_score_is_that_of_the_names(floor: float, worse: bool) -> None:
    test = simulated_photos(np.random.default_rng(0), 6, 0.2, 0.95)
    ensemble = Ensemble([0], [Member("one.onnx")], gate=Gate("raw"), naming_floor=floor)
    own = naming.change(test, ensemble, np.arange(6))
    assert (own.value < -0.05) is worse and own.low <= own.value <= own.high and (worse or own.value == 0)
