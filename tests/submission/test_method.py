"""Numbers of ensemble.json by which the method could not run, or would decide nonsense, are named with what is allowed."""

from dataclasses import replace

import pytest

from fusion.ensemble import ClassifierMember, Ensemble, Member
from fusion.gate import Gate
from submission.method import ensemble_problems

ENSEMBLE = Ensemble([1], [Member("one.onnx", views=[{"size": 64}])])


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        pytest.param({"plausible": -1.0}, "gate: plausible: got -1.0, must be in [0, 1]", id="plausible"),
        pytest.param({"coverage": 1.5}, "gate: coverage: got 1.5, must be in [0, 1]", id="coverage"),
        pytest.param({"detector_temperature": 0.0}, "gate: detector_temperature: got 0.0, must be above 0", id="temperature"),
        pytest.param({"detector_floor": -1e-3}, "gate: detector_floor: got -0.001, must be in [0, inf]", id="floor"),
        pytest.param({"name_exponent": -1.0}, "gate: name_exponent: got -1.0, must be in [0, inf]", id="exponent"),
        pytest.param({"further": -1}, "gate: further: got -1, must be in [0, inf]", id="further names"),
    ],
)
def test_a_gate_of_no_sense_is_told(gate: dict, told: str) -> None:
    assert list(ensemble_problems(ENSEMBLE)) == []
    assert list(ensemble_problems(replace(ENSEMBLE, gate=Gate(**gate)))) == [told]


def test_a_model_without_views_is_told() -> None:
    mute, namers = Member("two.onnx"), [ClassifierMember("a.onnx"), ClassifierMember("b.onnx", views=[])]
    told = "views: got none, so that the model says nothing; need at least 1"
    problems = ensemble_problems(replace(ENSEMBLE, detectors=[*ENSEMBLE.detectors, mute], classifiers=namers))
    assert list(problems) == [f"detectors[1]: {told}", f"classifiers[1]: {told}"]
