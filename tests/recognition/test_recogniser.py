"""Where the model is found, what its products are called, and from which score on a box counts."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, CATEGORIES

from fusion.ensemble import Ensemble
from recognition import recogniser
from recognition.recogniser import choose_floor, load_recogniser, model_folder
from submission import build
from submission.rules import MAX_FILES

IMAGE = np.zeros((64, 64, 3), np.uint8)


def change(runs: Path, **values: object) -> None:
    path = runs / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_run_folder_gives_its_products_names(runs: Path, tmp_path: Path) -> None:
    change(runs, names=["Blåbærsyltetøy", "", "Τσάι"])
    model = load_recogniser(model_folder(str(runs), tmp_path))
    assert model.names == ["Blåbærsyltetøy", "id 3", "Τσάι"] and model.knows_names


def test_names_travel_in_the_zip_and_a_zip_of_before_still_runs(runs: Path, tmp_path: Path) -> None:
    build.build(runs, tmp_path / "old.zip")
    assert load_recogniser(model_folder(str(tmp_path / "old.zip"), tmp_path / "1")).names == ["id 7", "id 3", "id 40"]
    change(runs, names=["Müsli", "Ris", "Te"], min_scores={"f1": 0.3})
    build.build(runs, tmp_path / "new.zip")
    model = load_recogniser(model_folder(str(tmp_path / "new.zip"), tmp_path / "2"))
    assert model.names == ["Müsli", "Ris", "Te"] and model.pipeline.ensemble.min_scores == {"f1": 0.3}


def test_the_code_of_a_zip_is_not_run(runs: Path, tmp_path: Path) -> None:
    build.build(runs, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as packed, zipfile.ZipFile(tmp_path / "b.zip", "w") as spoiled:
        for name in packed.namelist():
            spoiled.writestr(name, "raise SystemExit(9)" if name.endswith(".py") else packed.read(name))
    model = load_recogniser(model_folder(str(tmp_path / "b.zip"), tmp_path))
    assert {row["category_id"] for row in model.pipeline(IMAGE)} <= set(CATEGORIES)


@pytest.mark.parametrize("file", ["../one.onnx", "/tmp/one.onnx"])
def test_a_zip_that_names_a_model_elsewhere_is_refused(tmp_path: Path, file: str) -> None:
    values = {"categories": [0], "detectors": [{"file": file, "views": [{"size": 64}]}]}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("ensemble.json", json.dumps(values))
    with pytest.raises(ValueError, match="which is not in the zip"):
        model_folder(str(tmp_path / "a.zip"), tmp_path)


def test_one_detector_without_a_gate_is_enough(runs: Path, tmp_path: Path) -> None:
    (runs / "ensemble.json").unlink()
    with pytest.raises(ValueError, match="two detectors and no ensemble"):
        model_folder(str(runs), tmp_path)
    shutil.rmtree(runs / "all")
    model = load_recogniser(model_folder(str(runs), tmp_path))
    assert (model.names, model.knows_names) == (["product"], False)
    assert model_folder(str(runs / "one"), tmp_path) == runs / "one"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("gone", "no such file or folder", id="missing"),
        pytest.param("notes.txt", "not a zip", id="a text"),
        pytest.param("empty", "no ensemble.json and no detector", id="an empty folder"),
        pytest.param("bomb.zip", "unpacked, at most", id="a zip of more than the limit"),
        pytest.param("other.zip", "not found", id="a zip of something else"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        for i in range(2 * MAX_FILES + 1 if name == "bomb.zip" else 1):
            bomb.writestr(f"{i}.txt", "")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a.txt", "hello")
    with pytest.raises(ValueError, match=message):
        load_recogniser(model_folder(str(tmp_path / name), tmp_path / "scratch"))


def test_second_names_of_a_box_are_left_out(runs: Path, tmp_path: Path) -> None:
    change(runs, gate={"policy": "raw", "further": 2})
    model = load_recogniser(runs)
    assert len(model.pipeline(IMAGE)) == CANDIDATES.shape[1]


def test_the_fingerprint_is_that_of_models_and_numbers(runs: Path) -> None:
    first = load_recogniser(runs).fingerprint
    assert load_recogniser(runs).fingerprint == first
    assert load_recogniser(runs, "turned").fingerprint != first
    change(runs, gate={"policy": "detector"})
    second = load_recogniser(runs).fingerprint
    assert load_recogniser(runs).fingerprint == second != first
    side = json.loads((runs / "one" / "model.json").read_text()) | {"max_det": 5}
    (runs / "one" / "model.json").write_text(json.dumps(side))
    assert load_recogniser(runs).fingerprint != second


FITTED = Ensemble([0], [], min_scores={"f1": 0.31, "precision 0.9": 0.4, "precision 0.95": 0.6})


@pytest.mark.parametrize(
    ("ensemble", "min_score", "precision", "score"),
    [
        pytest.param(FITTED, None, None, 0.31, id="the best by F1"),
        pytest.param(FITTED, None, 0.95, 0.6, id="for a precision"),
        pytest.param(FITTED, 0.05, 0.95, 0.05, id="told"),
        pytest.param(FITTED, 0.0, None, 0.0, id="told 0"),
        pytest.param(Ensemble([0], []), None, None, recogniser.MIN_SCORE, id="none fitted"),
    ],
)
def test_the_floor(ensemble: Ensemble, min_score: float | None, precision: float | None, score: float) -> None:
    assert choose_floor(ensemble, min_score, precision).score == score


def test_a_precision_without_a_floor_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"a floor for 0\.9, 0\.95;"):
        choose_floor(FITTED, None, 0.8)
    with pytest.raises(ValueError, match="a floor for none;"):
        choose_floor(Ensemble([0], []), None, 0.9)


@pytest.mark.parametrize("fitted", [{}, {"f1": 0.31}, {"f1": 0.31, "precision 0.9": 0.4}], ids=["none", "f1", "another"])
def test_a_floor_that_could_not_be_shown_is_refused_with_the_reason_of_the_gate(tmp_path: Path, fitted: dict) -> None:
    ensemble = Ensemble([0], [], min_scores=fitted)
    missing = {"precision 0.95": "not shown: at best 30 of 31 boxes are right"}
    (tmp_path / "gate.json").write_text(json.dumps({"operating_points": {"points": [], "missing": missing}}))
    with pytest.raises(ValueError, match=r"not shown: at best 30 of 31 .*gate\.json\); --min-score takes any") as raised:
        choose_floor(ensemble, None, 0.95, tmp_path)
    assert "hylle gate" not in str(raised.value)  # which would only say so again


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"operating_points": {"missing": []}}', "{"])
def test_without_the_reason_the_place_to_look_is_told(tmp_path: Path, content: str) -> None:
    if content:
        (tmp_path / "gate.json").write_text(content)
    with pytest.raises(ValueError, match=r"where held-out photos show them, and else says why in gate\.json"):
        choose_floor(Ensemble([0], [], min_scores={"f1": 0.31}), None, 0.95, tmp_path)
