"""An ensemble.json that nobody edited follows its models; an edited one is kept, and what may be amiss with it is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from place import Place, mains

from fusion.ensemble import Ensemble, read_ensemble
from fusion.models import read_object
from runs.record import write_json


def change(path: Path, **values: object) -> None:
    write_json(path, read_object(path) | values)


@pytest.fixture
def gated(place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[Ensemble, str]]:
    """Fits the gate of the place; the ensemble, and what the command said. It has been fitted once, without R/all."""
    (place.runs / "ensemble.json").unlink(missing_ok=True)
    shutil.move(place.runs / "all", place.root / "all")

    def call() -> tuple[Ensemble, str]:
        capsys.readouterr()
        assert mains()["gate"](place.words("gate")) == 0
        return read_ensemble(place.runs), capsys.readouterr().out

    call()
    return call


def test_a_detector_that_is_trained_again_is_looked_at_as_trained(place: Place, gated: Callable) -> None:
    before, _ = gated()
    assert {view["size"] for view in before.detectors[0].views} == {64}
    change(place.runs / "one" / "model.json", size=128, max_det=900)
    after, told = gated()
    assert {view["size"] for view in after.detectors[0].views} == {128}
    assert (after.detectors[0].max_det, after.merge.max_det) == (900, 900)
    assert f"made anew: one/model.onnx at 128 px, 900 boxes, before 64 px, {before.merge.max_det} boxes" in told
    assert "made anew" not in gated()[1]


def test_a_class_aware_detector_that_is_trained_later_takes_part(place: Place, gated: Callable) -> None:
    shutil.move(place.root / "all", place.runs / "all")
    ensemble, told = gated()
    assert [member.file for member in ensemble.detectors] == ["one/model.onnx", "all/model.onnx"]
    assert "made anew: with all/model.onnx" in told


def test_a_class_aware_detector_whose_training_goes_on_stops_no_gate(place: Place, gated: Callable) -> None:
    (place.runs / "all").mkdir()
    ensemble, told = gated()
    assert [member.file for member in ensemble.detectors] == ["one/model.onnx"]
    assert "all is not yet trained and takes no part" in told


def test_an_edited_ensemble_is_kept_and_what_may_be_amiss_is_told(place: Place, gated: Callable) -> None:
    path = place.runs / "ensemble.json"
    change(path, merge=read_object(path)["merge"] | {"iou": 0.7})
    shutil.move(place.root / "all", place.runs / "all")
    change(place.runs / "one" / "model.json", size=128)
    for _ in range(2):
        ensemble, told = gated()
        assert ensemble.merge.iou == 0.7 and [view["size"] for view in ensemble.detectors[0].views] == [64, 64]
        assert "one/model.onnx was trained at 128 px and is looked at at 64 px: edit" in told
        assert "all is trained and takes no part: edit" in told


@pytest.mark.parametrize("edited", [True, False], ids=["edited", "default"])
def test_a_category_that_no_model_knows_any_more_is_dropped(place: Place, gated: Callable, edited: bool) -> None:
    path = place.runs / "ensemble.json"
    values = json.loads(path.read_text())
    change(path, categories=[*values["categories"], 41], names=[*values["names"], "Oat"])
    if edited:
        change(path, merge=values["merge"] | {"iou": 0.7})
    ensemble, told = gated()
    assert (ensemble.categories, ensemble.names) == (values["categories"], values["names"])
    assert "without category 41, which neither the data set nor a model knows any more" in told
