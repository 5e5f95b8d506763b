"""What is measured of an ensemble holds for no other: every field that changes boxes, names or scores counts."""

from dataclasses import asdict, replace

import pytest

from fusion.ensemble import ClassifierMember, Ensemble, Member
from fusion.gate import Gate
from fusion.merge import Merge
from fusion.models import Sizes
from runs.model_files import ADDED, METHOD, method_of
from runs.record import digest

ENSEMBLE = Ensemble([0, 1], [Member("one/model.onnx")], classifiers=[ClassifierMember("c.onnx")])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"detectors": [Member("two/model.onnx")]}, id="another detector"),
        pytest.param({"classifiers": [ClassifierMember("c.onnx", weight=2.0)]}, id="a classifier that counts more"),
        pytest.param({"classifiers": []}, id="no classifier"),
        pytest.param({"merge": Merge("nms")}, id="merging"),
        pytest.param({"gate": Gate("raw")}, id="gate"),
        pytest.param({"naming_floor": 0.2}, id="naming floor"),
        pytest.param({"sizes": Sizes(weight=0.5, means=[0.0, 0.1], spreads=[0.1, 0.1])}, id="sizes"),
        pytest.param({"min_scores": {"f1": 0.3}}, id="scores to cut at"),
    ],
)
def test_another_way_to_find_or_name_is_another_method(change: dict) -> None:
    assert method_of(replace(ENSEMBLE, **change)) != method_of(ENSEMBLE)


def test_what_the_models_were_made_from_is_no_part_of_the_method() -> None:
    assert method_of(replace(ENSEMBLE, made_from={"one/model.onnx": "a"})) == method_of(ENSEMBLE)


def test_fields_that_were_added_later_leave_what_was_recorded_before_valid() -> None:
    values = asdict(ENSEMBLE)
    assert {values[name] for name in ADDED} == {0.0, 1.0} and not set(ADDED) & set(METHOD)
    assert method_of(ENSEMBLE) == digest([values[name] for name in METHOD])
    others = [replace(ENSEMBLE, **change) for change in ({"naming_margin": 2.0}, {"naming_typical": 0.4})]
    assert len({method_of(own) for own in [ENSEMBLE, *others]}) == 3
