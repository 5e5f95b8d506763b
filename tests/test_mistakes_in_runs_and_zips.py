"""A stranger's mistakes with weights, run folders, models and zips: one line, exit code 2, nothing lost."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from constant_models import CANDIDATES, save_graph
from place import IDS, READERS, TRAINERS, Place, mains, put_models
from small_shop import SMALL

from photos import folds
from photos.data import read
from runs import record
from runs.normalisation import Normalisation
from stage1_detector import train as detector
from stage1_detector.families import FAMILIES
from stage1_detector.synthesis import make_photos
from stage2_classifier import learning, scaling
from stage2_classifier import train as classifier
from stage2_classifier.config import Columns, recipe
from stage2_classifier.gate import choose
from submission import judge_machine

# --- weights and runs


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("kind", ["garbage", "empty", "onnx", "of the other stage", "yolov8n.pt"])
def test_pretrained_that_is_none(
    place: Place, refused: Callable, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    path = place.root / ("w.onnx" if kind == "onnx" else "yolov8n.pt" if kind == "yolov8n.pt" else "w.pt")
    path.write_bytes(b"" if kind == "empty" else b"these are no weights")
    if kind == "onnx":
        save_graph(path, CANDIDATES)
    if kind == "of the other stage":
        torch.save({"epoch": 3, "state": {"a.weight": torch.zeros(2)}}, path)
    monkeypatch.chdir(place.root)  # a broken file under a name that ultralytics could download must stay
    refused(name, ["--force", "--pretrained", path.name], f"--pretrained: got {path.name}, ")


@pytest.mark.parametrize(
    ("name", "folder", "checkpoint"), [("detector", "one", "weights/last.pt"), ("classifier", "classifier_shelf", "last.pt")]
)
def test_runs_that_are_there(place: Place, refused: Callable, name: str, folder: str, checkpoint: str) -> None:
    out = place.runs / folder
    (out / "run.json").write_text('{"settings": {"epochs": 5}}')
    refused(name, [], f"{folder} holds a finished run with ")
    (out / "run.json").write_text("{,")
    refused(name, [], "run.json: broken JSON")
    (out / "run.json").unlink()
    (out / checkpoint).parent.mkdir(exist_ok=True)
    (out / checkpoint).write_bytes(b"torn")
    refused(name, [], f"{folder} holds a stopped run; pass --resume to go on with it, or --force")
    refused(name, ["--resume"], checkpoint)


def test_a_finished_run_without_its_model(place: Place, refused: Callable) -> None:
    (place.runs / "one" / "run.json").write_text('{"settings": {}}')
    with pytest.raises(ValueError, match="finished run, but no model"):
        (place.runs / "one" / "model.onnx").unlink()
        record.finished(place.runs / "one", {}, force=False)


def test_a_damaged_folds_file(place: Place, refused: Callable) -> None:
    for text in ("{,", "[]", '{"data": 1}'):
        (place.runs / "folds.json").write_text(text)
        for name in READERS:
            refused(name, [], "folds.json is damaged")


def test_a_loss_that_is_no_number_is_one_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model of the run that it was to replace is gone: nothing may take it for the new one's."""

    def diverge(*_: object) -> None:
        raise FloatingPointError("loss of epoch 1: got nan, must be finite; lower --lr (now 1.0)")

    monkeypatch.setitem(FAMILIES, "yolo", FAMILIES["yolo"]._replace(fit=diverge))
    before = place.files()
    assert mains()["detector"]([*place.words("detector"), "--force", "--lr", "1"]) == 2
    assert capsys.readouterr().err == "error: loss of epoch 1: got nan, must be finite; lower --lr (now 1.0)\n"
    assert before.keys() - place.files().keys() == {"runs/one/model.onnx", "runs/one/model.json"}


# --- models of another data set, or none


def rewrite(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def lost(name: str) -> Callable[[Path], object]:
    return lambda runs: (runs / name).unlink()


# id: what is done to the run folder, what the gate says
SPOILT_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no detector": (lost("one/model.onnx"), "one/model.onnx not found: train it first"),
    "no sidecar": (lost("all/model.json"), "all/model.json: sidecar not found"),
    "sidecar broken": (lambda runs: (runs / "all/model.json").write_text("{,"), "all/model.json: broken JSON"),
    "sidecar a list": (lambda runs: (runs / "all/model.json").write_text("[]"), "all/model.json: got a list, need an object"),
    "no graph": (lambda runs: (runs / "one/model.onnx").write_bytes(b"garbage"), "one/model.onnx: not a model that"),
    "fewer categories": (
        lambda runs: rewrite(runs / "all/model.json", categories=IDS[:2]),
        "all/model.onnx: its class map is 2 categories, ids 3, 7",
    ),
    "as many, but others": (
        lambda runs: rewrite(runs / "classifier_shelf/model.json", categories=[1, 2, 3]),
        "classifier_shelf/model.onnx: its class map is 3 categories, ids 1, 2, 3",
    ),
    "agnostic for aware": (lambda runs: rewrite(runs / "all/model.json", categories=None), "its class map is none (one class)"),
    "aware for agnostic": (lambda runs: rewrite(runs / "one/model.json", categories=IDS), "must be none (one class)"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), SPOILT_MODELS.values(), ids=SPOILT_MODELS)
def test_models_that_do_not_fit(place: Place, refused: Callable, spoil: Callable, message: str) -> None:
    spoil(place.runs)
    refused("gate", ["--classifiers", "classifier_shelf"], message)


def test_the_classifier_measures_with_a_broken_detector(place: Place, refused: Callable) -> None:
    (place.runs / "one" / "model.onnx").write_bytes(b"garbage")
    refused("classifier", ["--force"], "one/model.onnx: not a model that onnxruntime reads")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"categories": [1], "detectors": 5}', "detectors: got 5, need a list", id="detectors a number"),
        pytest.param(
            '{"categories": [1], "detectors": ["one"]}', "detectors[0]: got 'one', need an object", id="member a text"
        ),
        pytest.param('{"detectors": [{"file": "one/model.onnx"}]}', "categories", id="no categories"),
        pytest.param("", "ensemble.json: not JSON", id="empty"),
    ],
)
def test_an_ensemble_that_is_none(place: Place, refused: Callable, text: str, message: str) -> None:
    (place.runs / "ensemble.json").write_text(text)
    refused("build", [], message)


@pytest.mark.parametrize("kind", ["photo", "metadata"])
def test_broken_studio_photos(place: Place, refused: Callable, kind: str) -> None:
    folder = place.data / "NM_NGD_product_images"
    (folder / "product 3").mkdir(parents=True)
    (folder / "product 3" / "main.jpg").write_text("no photo")
    if kind == "metadata":
        (folder / "metadata.json").write_text("{,")
    message = "main.jpg is not a readable photo" if kind == "photo" else "metadata.json: broken JSON"
    refused("classifier", ["--crops", "studio", "--force"], message)


# --- the zip and the judge


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn"], ids=["missing", "empty", "torn"])
@pytest.mark.parametrize("name", ["judge", "check"])
def test_no_zip(place: Place, refused: Callable, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None) -> None:
    monkeypatch.setattr(judge_machine, "judge_python", lambda: place.data / "annotations.json")  # never started
    (place.root / "a.zip").unlink()
    if content is not None:
        (place.root / "a.zip").write_bytes(content)
    refused(name, [], "a.zip: ")


def test_a_judges_environment_that_cannot_be_made(place: Place, refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.root / "judge-requirements.txt").write_text("no such package, surely\n")
    monkeypatch.setattr(judge_machine, "HERE", place.root)
    monkeypatch.setattr(judge_machine.sys, "executable", str(place.root / "python"))
    (place.root / "python").write_text("#!/bin/sh\necho no venv here >&2; exit 1\n")
    (place.root / "python").chmod(0o755)
    refused("judge", [], "the judge's environment cannot be made: no venv here: ")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("echo torn >&2; exit 3", "a.zip: exit code 3, need 0: torn", id="fails"),
        pytest.param("exit 0", "a.zip: no predictions.json was written", id="writes nothing"),
    ],
)
def test_a_run_py_that_fails(
    place: Place, refused: Callable, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    python = place.root / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(judge_machine, "judge_python", lambda: python)
    refused("judge", [], message)


# --- what is no mistake


def test_a_stopped_classifier_goes_on_with_the_folds_it_was_begun_with_only(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        (place.runs / "eye" / "last.pt").touch()
        raise ValueError("stopped")

    monkeypatch.setattr(learning, "learn", stopped)
    words = [*place.words("classifier"), "--name", "eye"]
    assert classifier.main(words) == 2
    assert folds.main([*place.words("folds"), "--force", "--seed", "1"]) == 0
    capsys.readouterr()
    assert classifier.main([*words, "--resume"]) == 2
    assert "eye was begun with folds " in capsys.readouterr().err


def test_the_scaling_is_chosen_by_turns_of_scenes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = folds.load(place.runs / "folds.json", read(place.data))
    parts = replace(parts, scene=dict.fromkeys(parts.scene, 7))
    valid, seen = parts.labelled("valid"), []
    monkeypatch.setattr(learning, "predict", lambda model, crops: np.zeros((len(crops), len(IDS))))
    monkeypatch.setattr(learning, "export_classifier", lambda *_: {})
    monkeypatch.setattr(scaling, "choose_scaling", lambda z, y, groups, rng: seen.append(groups.tolist()) or scaling.Scaling())
    model = SimpleNamespace(columns=Columns(len(IDS)), normalisation=Normalisation())
    learning.finish(model, place.runs, recipe("demo", quick=True), parts, valid, np.zeros(4))
    assert seen == [[7] * sum(len(photo.boxes) for photo in valid)]


def to_one_class(data: Path) -> None:
    """Every annotation of one product."""
    values = json.loads((data / "annotations.json").read_text())
    values["categories"] = values["categories"][:1]
    for annotation in values["annotations"]:
        annotation["category_id"] = values["categories"][0]["id"]
    (data / "annotations.json").write_text(json.dumps(values))


def test_one_class_is_enough_for_ablation_and_zip(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "bootstrap", partial(choose.bootstrap, n=20))  # resamples, for speed
    to_one_class(place.data)
    put_models(place.runs, IDS[:1])
    for name in ("gate", "ablation", "build", "check"):
        assert mains()[name](place.words(name)) == 0
    rows = json.loads((place.runs / "ablation.json").read_text())["rows"]
    assert all(row["det"] == row["cls"] for row in rows)  # with one name, to find is to name


def test_a_few_unlabelled_photos_are_no_mistake(place: Place) -> None:
    place.change(lambda v: v.update(annotations=[a for a in v["annotations"] if a["image_id"] > 2]))
    assert mains()["folds"]([*place.words("folds"), "--force"]) == 0


@pytest.mark.slow
def test_one_class_from_photos_to_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    make_photos.draw(replace(SMALL, count=8), place.data, workers=1)
    to_one_class(place.data)
    base = ["--data", str(place.data), "--out", str(place.runs), "--quick"]
    assert folds.main([*place.words("folds")]) == 0
    for flags in (["--classes", "one"], ["--classes", "all"]):
        assert detector.main([*base, *flags, "--device", "cpu"]) == 0
    assert classifier.main(base) == 0
    for main, folder in ((detector.main, "one"), (classifier.main, "classifier_shelf")):  # stopped after the last epoch
        (place.runs / folder / "run.json").unlink()
        device = ["--device", "cpu"] if main is detector.main else []
        assert main([*base, *device, "--resume", "--epochs", "2"]) == 2
        assert "was begun with epochs 1, now 2; pass the same, or --force" in capsys.readouterr().err
        assert main([*base, *device, "--resume"]) == 0
    for name in ("gate", "ablation", "build", "check"):
        assert mains()[name](place.words(name)) == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert json.loads(archive.read("all.json"))["categories"] == [0]
        assert onnx.load_model_from_string(archive.read("all.onnx")).ir_version <= 10
