"""A stranger's mistakes: each command says what is wrong in one line, ends with code 2, and loses nothing that is there."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import CANDIDATES, save_graph, save_model
from PIL import Image

from experiments import ablation, demo, judge
from stage1_detector import command, folds, synth, yolo
from stage1_detector import config as detector_config
from stage1_detector import train as detector
from stage2_classifier import calibrate
from stage2_classifier import config as classifier_config
from stage2_classifier import train as classifier
from submission import build, check

IDS = [3, 7, 40]  # category ids of the shop below
MAINS = {
    "synth": lambda argv: command.run(synth.main, argv), "folds": folds.main, "detector": detector.main,
    "classifier": classifier.main, "ablation": ablation.main, "judge": judge.main, "demo": demo.main,
    "build": build.main, "check": check.main,
}  # fmt: skip
READERS = ("folds", "detector", "classifier", "ablation", "judge")  # the commands that read a data set
TRAINERS = ("detector", "classifier")


@dataclass(frozen=True)
class Place:
    """A data set and a run folder to make mistakes with: constant models, an ensemble and a zip."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "shop"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def words(self, name: str) -> list[str]:
        """A right call of the command; flags that follow override it."""
        data, runs, archive = (str(path) for path in (self.data, self.runs, self.root / "a.zip"))
        return {
            "synth": ["--out", str(self.root / "drawn")],
            "folds": ["--data", data, "--out", runs, "--groups", "photo"],
            "detector": ["--data", data, "--out", runs, "--quick", "--device", "cpu"],
            "classifier": ["--data", data, "--out", runs, "--quick"],
            "ablation": ["--data", data, "--runs", runs],
            "judge": [archive, "--data", data, "--runs", runs],
            "demo": ["--out", str(self.root / "demo"), "--quick"],
            "build": ["--runs", runs, "--out", archive],
            "check": [archive],
        }[name]

    def change(self, change: Callable[[dict], object], name: str = "annotations.json") -> None:
        """Let `change` spoil what a JSON file of the data set says."""
        values = json.loads((self.data / name).read_text())
        change(values)
        (self.data / name).write_text(json.dumps(values))

    def files(self) -> dict[str, str]:
        """Every file and a hash of its bytes."""
        files = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def draw_shop(data: Path) -> None:
    """Ten photos of noise with two boxes each, in the contest's layout."""
    (data / "images").mkdir(parents=True)
    rng, images, boxes = np.random.default_rng(0), [], []
    for i in range(1, 11):
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(data / "images" / f"img_{i:05d}.jpg")
        images.append({"id": i, "file_name": f"img_{i:05d}.jpg", "width": 96, "height": 64})
        for j in (0, 1):
            boxes.append({"id": 2 * i + j, "image_id": i, "category_id": IDS[(i + j) % 3], "bbox": [10 + 40 * j, 8, 30, 40]})
    categories = [{"id": i, "name": f"product {i}"} for i in IDS]
    (data / "annotations.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def put_models(runs: Path, ids: list[int]) -> None:
    """Constant models that fit the categories `ids`."""
    n = len(ids)
    save_model(runs / "one", CANDIDATES, task="detector")
    save_model(runs / "all", np.concatenate([CANDIDATES[:4], np.full((n, 2), 0.5)]), task="detector", categories=ids)
    save_model(runs / "classifier_shelf", np.arange(n), task="classifier", family="timm", categories=ids)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Everything as it should be."""
    place = Place(tmp_path_factory.mktemp("right"))
    draw_shop(place.data)
    put_models(place.runs, IDS)
    assert folds.main(place.words("folds")) == 0
    ablation.write_ensemble(place.runs, ablation.default_ensemble(place.runs, "shelf", detector.read(place.data)))
    assert build.main(place.words("build")) == 0
    return place


@pytest.fixture
def place(right: Place, tmp_path: Path) -> Place:
    """A copy of it, to spoil."""
    shutil.copytree(right.root, tmp_path / "place")
    return Place(tmp_path / "place")


@pytest.fixture
def refused(place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Call a command; it must end with code 2 and one line that holds `message`, and leave every file as it was."""

    def call(name: str, flags: list[str], message: str, lines: int = 1) -> None:
        before = place.files()
        capsys.readouterr()
        code = MAINS[name]([*place.words(name), *flags])
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, lines), error
        assert error.startswith("error: ") and message in error, error
        after = place.files()
        assert {file: after.get(file) for file in before} == before

    return call


# --- the data set


def cut_photo(place: Place) -> None:
    path = place.data / "images" / "img_00004.jpg"
    path.write_bytes(path.read_bytes()[:900])


def text_photo(place: Place) -> None:
    (place.data / "images" / "img_00004.jpg").write_text("no photo")


def lose_photo(place: Place) -> None:
    (place.data / "images" / "img_00004.jpg").unlink()


def a_file(place: Place) -> None:
    shutil.rmtree(place.data)
    place.data.write_text("mine")


def no_image_folder(place: Place) -> None:
    shutil.rmtree(place.data / "images")


# id: what is done to the data set, what must be said
SPOILT_DATA: dict[str, tuple[Callable[[Place], object], str]] = {
    "no folder": (lambda place: shutil.rmtree(place.data), "shop: no such folder"),
    "a file": (a_file, "shop: a file, need a folder"),
    "no JSON": (lambda place: (place.data / "annotations.json").unlink(), "no annotations.json and none of train.json"),
    "no images": (no_image_folder, "shop: no folder images/"),
    "broken JSON": (lambda place: (place.data / "annotations.json").write_text("{,"), "broken JSON at line 1, column 2"),
    "empty JSON": (lambda place: (place.data / "annotations.json").write_text(""), "annotations.json: broken JSON"),
    "JSON in another coding": (lambda place: (place.data / "annotations.json").write_bytes(b"\xff\xfe\xfa"), "broken JSON"),
    "JSON list": (lambda place: (place.data / "annotations.json").write_text("[]"), "got a list at the top"),
    "zero boxes": (lambda place: place.change(lambda v: v["annotations"].clear()), "got 0 boxes, need at least 1"),
    "cut photo": (cut_photo, "image 4 (annotations.json): img_00004.jpg: the photo is cut off"),
    "text for a photo": (text_photo, "image 4 (annotations.json): img_00004.jpg: not a readable photo"),
    "lost photo": (lose_photo, "image 4 (annotations.json): images/img_00004.jpg: not found"),
    "unknown category": (
        lambda place: place.change(lambda v: v["annotations"][0].update(category_id=9)),
        "category_id 9: no category has this id",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), SPOILT_DATA.values(), ids=SPOILT_DATA)
@pytest.mark.parametrize("name", READERS)
def test_a_spoilt_data_set(place: Place, refused: Callable, name: str, spoil: Callable, message: str) -> None:
    spoil(place)
    refused(name, [], message)


def split(place: Place, unlabelled: str) -> None:
    """The data set in the split layout, one part without boxes, and folds made of it."""
    values = json.loads((place.data / "annotations.json").read_text())
    (place.data / "annotations.json").unlink()
    for part, ids in (("train", range(1, 7)), ("valid", (7, 8)), ("test", (9, 10))):
        chosen = [a for a in values["annotations"] if a["image_id"] in ids and part != unlabelled]
        mine = {"images": [i for i in values["images"] if i["id"] in ids], "annotations": chosen}
        (place.data / f"{part}.json").write_text(json.dumps(values | mine))
    assert folds.main([*place.words("folds"), "--force"]) == (2 if unlabelled == "train" else 0)


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, "valid") for name in ("detector", "classifier", "ablation")] + [("ablation", "test"), ("judge", "test")],
)
def test_a_part_without_boxes_cannot_be_scored(place: Place, refused: Callable, name: str, part: str) -> None:
    split(place, part)
    refused(name, ["--force"] if name in TRAINERS else [], f"part {part} has 2 photos and 0 boxes, need at least 1 box")


def test_nothing_to_train_on(place: Place, refused: Callable) -> None:
    split(place, "train")
    refused("folds", ["--force"], "none of 6 photos to train on has a box")


# --- flags: command, flags, what must be said; {root} is the place
FLAGS: dict[str, tuple[str, str, str]] = {
    "synth: recipe": ("synth", "--recipe shop", "--recipe: got 'shop', allowed: demo, contest"),
    "synth: count": ("synth", "--count -1", "--count: got -1, need at least 1"),
    "synth: out is a file": ("synth", "--out {root}/a.zip", "which is a file, need a folder"),
    "synth: out below a file": ("synth", "--out {root}/a.zip/x", "a.zip/x/images: Not a directory"),
    "synth: out holds other things": ("synth", "--out {root}/runs", "holds other files, need a new or empty folder"),
    "synth: unwritable": ("synth", "--out /proc/hylle", "error: /proc/hylle"),
    "folds: out is a file": ("folds", "--out {root}/a.zip", "a.zip, which is a file, need a folder"),
    "folds: out below a file": ("folds", "--out {root}/a.zip/x", "a.zip/x: Not a directory"),
    "folds: unwritable": ("folds", "--out /proc/hylle", "error: /proc/hylle"),
    "folds: groups missing": ("folds", "--groups {root}/none.csv", "none.csv: No such file"),
    "folds: groups is a folder": ("folds", "--groups {root}", "Is a directory"),
    "folds: too few": ("folds", "--out {root}/new --folds 0", "got --folds 0, need >= 3"),
    "folds: seed": ("folds", "--out {root}/new --seed -1", "got --seed -1, need 0 or more"),
    "folds: other settings": ("folds", "--seed 1", "was made with --seed 0 (now asked: 1); --force makes it again"),
    "detector: recipe": ("detector", "--recipe smal", "--recipe: got 'smal', allowed: small, demo, yolo26l"),
    "detector: no folds": (
        "detector",
        "--out {root}/new",
        "folds.json not found: make it with python -m stage1_detector.folds",
    ),
    "detector: out is a file": ("detector", "--out {root}/a.zip", "a.zip, which is a file, need a folder"),
    "detector: no weights": ("detector", "--pretrained {root}/none.pt", "none.pt, must be a local weights file"),
    "detector: weights a folder": ("detector", "--pretrained {root}", "must be a local weights file"),
    "detector: nothing to resume": ("detector", "--resume --force", "/one holds no stopped run"),
    "detector: model unknown": (
        "detector",
        "--force --model yolov99.yaml",
        "--model: got 'yolov99.yaml', must be a model YAML",
    ),
    "detector: model to download": ("detector", "--force --model yolov8n.pt", "for weights there is --pretrained"),
    "detector: other task": ("detector", "--force --model yolov8n-seg.yaml", "whose last layer is Detect"),
    "detector: device": ("detector", "--force --device banana", "--device: got 'banana', allowed: cpu"),
    "detector: optimizer": ("detector", "--optimizer Lion", "--optimizer: got 'Lion', allowed: AdamW"),
    "detector: odd size": ("detector", "--size 100", "--size: got 100, must be a multiple of 32"),
    "classifier: recipe": ("classifier", "--recipe smal", "--recipe: got 'smal', allowed: small, demo, convnext"),
    "classifier: no folds": ("classifier", "--out {root}/new", "new/folds.json not found: make it with"),
    "classifier: out is a file": ("classifier", "--out {root}/a.zip", "a.zip, which is a file, need a folder"),
    "classifier: no weights": ("classifier", "--pretrained {root}/none.pt", "none.pt, must be a local weights file"),
    "classifier: model unknown": ("classifier", "--force --model resnet10x", "--model: got 'resnet10x', must be one that timm"),
    "classifier: nothing to resume": ("classifier", "--resume --force", "classifier_shelf holds no stopped run"),
    "classifier: no studio": ("classifier", "--force --crops studio", "must be a folder with one folder per product"),
    "ablation: no folds": ("ablation", "--runs {root}/new", "new/folds.json not found"),
    "ablation: runs is a file": ("ablation", "--runs {root}/a.zip", "a.zip, which is a file, need a folder"),
    "ablation: not trained": ("ablation", "--crops studio", "classifier_studio/model.onnx not found: train it first"),
    "judge: no folds": ("judge", "--runs {root}/new", "new/folds.json not found"),
    "demo: out is a file": ("demo", "--out {root}/a.zip", "a.zip, which is a file, need a folder"),
    "demo: other things there": ("demo", "--out {root}/demo", "demo/data, which holds other files"),
    "demo: unwritable": ("demo", "--out /proc/hylle", "error: /proc/hylle"),
    "build: no runs": ("build", "--runs {root}/new", "new/ensemble.json: no such file"),
    "build: runs is a file": ("build", "--runs {root}/a.zip", "a.zip/ensemble.json: no such file"),
    "build: out is a folder": ("build", "--out {root}", "got a folder, need a file name"),
    "build: out below a file": ("build", "--out {root}/a.zip/b.zip", "a.zip is a file, need a folder"),
    "build: unwritable": ("build", "--out /proc/hylle/a.zip", "/proc/hylle"),
}


@pytest.mark.parametrize(("name", "flags", "message"), FLAGS.values(), ids=FLAGS)
def test_a_wrong_flag(place: Place, refused: Callable, name: str, flags: str, message: str) -> None:
    (place.root / "demo" / "data").mkdir(parents=True)
    (place.root / "demo" / "data" / "thesis.txt").write_text("mine")
    refused(name, flags.format(root=place.root).split(), message)


WHOLE = [(flag, value) for flag in ("--epochs", "--size", "--batch", "--seed") for value in ("-1", "0")][:-1]  # seed 0 is one
REAL = [("--lr", value) for value in ("-0.1", "0.0", "nan", "inf")]


@pytest.mark.parametrize(("flag", "value"), [*WHOLE, *REAL])
@pytest.mark.parametrize("name", TRAINERS)
def test_a_number_out_of_range(refused: Callable, name: str, flag: str, value: str) -> None:
    refused(name, [flag, value], f"{flag}: got {value}, allowed ")


@pytest.mark.parametrize("module", [detector_config, classifier_config], ids=TRAINERS)
def test_every_number_has_a_range_with_the_recipes_inside(module: object) -> None:
    config = module.RECIPES["small"]()
    numbers = {name for name, value in vars(config).items() if isinstance(value, int | float)}
    assert set(module.ALLOWED) == numbers


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
    refused(name, [], f"{folder} holds a stopped run: pass --resume to go on with it, or --force")
    refused(name, ["--resume"], checkpoint)


def test_a_finished_run_without_its_model(place: Place, refused: Callable) -> None:
    (place.runs / "one" / "run.json").write_text('{"settings": {}}')
    with pytest.raises(ValueError, match="finished run, but no model"):
        (place.runs / "one" / "model.onnx").unlink()
        detector.record.finished(place.runs / "one", {}, force=False)


def test_a_damaged_folds_file(place: Place, refused: Callable) -> None:
    for text in ("{,", "[]", '{"data": 1}'):
        (place.runs / "folds.json").write_text(text)
        for name in READERS:
            refused(name, [], "folds.json is damaged")


def test_a_loss_that_is_no_number_is_one_line(refused: Callable, monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    def diverge(*_: object) -> None:
        raise FloatingPointError("loss of epoch 1: got nan, must be finite; lower --lr (now 10.0)")

    monkeypatch.setattr(yolo, "fit", diverge)
    refused("detector", ["--force", "--lr", "10"], "error: loss of epoch 1: got nan, must be finite; lower --lr (now 10.0)")


# --- models of another data set, or none


def rewrite(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def lost(name: str) -> Callable[[Path], object]:
    return lambda runs: (runs / name).unlink()


# id: what is done to the run folder, what ablation says
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
    refused("ablation", [], message)


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
    monkeypatch.setattr(judge, "JUDGE", place.data / "annotations.json")  # never started
    (place.root / "a.zip").unlink()
    if content is not None:
        (place.root / "a.zip").write_bytes(content)
    refused(name, [], "a.zip: ")


def test_no_judges_environment(place: Place, refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "JUDGE", place.root / ".judge" / "bin" / "python")
    refused("judge", [], "the judge's environment is missing; make it with `make judge`")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("sleep 5", "a.zip: run.py took longer than the 0.2 s", id="too slow"),
        pytest.param("echo torn >&2; exit 3", "a.zip: run.py ended with exit code 3, need 0: torn", id="fails"),
    ],
)
def test_a_run_py_that_fails(
    place: Place, refused: Callable, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    python = place.root / "python"
    python.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    python.chmod(0o755)
    monkeypatch.setattr(judge, "JUDGE", python)
    monkeypatch.setattr(judge, "SECONDS", 0.2 if "sleep" in script else 20)
    refused("judge", [], message)


def test_predictions_for_another_data_set(place: Place) -> None:
    dataset = detector.read(place.data)
    row = {"image_id": 1, "category_id": 99, "bbox": [0, 0, 1, 1], "score": 0.5}
    with pytest.raises(ValueError, match="got image 1, category 99, which the data set lacks"):
        judge.as_detections([row], dataset.photos, dataset.categories)


# --- what is no mistake


def to_one_class(data: Path) -> None:
    """Every annotation of one product."""
    values = json.loads((data / "annotations.json").read_text())
    values["categories"] = values["categories"][:1]
    for annotation in values["annotations"]:
        annotation["category_id"] = values["categories"][0]["id"]
    (data / "annotations.json").write_text(json.dumps(values))


def test_one_class_is_enough_for_ablation_and_zip(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((ablation, "interval"), (ablation, "bootstrap"), (calibrate, "bootstrap")):
        monkeypatch.setattr(module, name, partial(getattr(module, name), n=20))  # resamples, for speed
    to_one_class(place.data)
    put_models(place.runs, IDS[:1])
    for name in ("ablation", "build", "check"):
        assert MAINS[name](place.words(name)) == 0
    rows = ablation.read_rows(place.runs / "ablation_shelf.json")
    assert all(row.det == row.cls for row in rows)  # with one name, to find is to name


def test_a_few_unlabelled_photos_are_no_mistake(place: Place) -> None:
    place.change(lambda v: v.update(annotations=[a for a in v["annotations"] if a["image_id"] > 2]))
    assert MAINS["folds"]([*place.words("folds"), "--force"]) == 0


@pytest.mark.slow
def test_one_class_from_photos_to_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    synth.draw(synth.recipe("demo", 8), place.data, workers=1)
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
    for name in ("ablation", "build", "check"):
        assert MAINS[name](place.words(name)) == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert json.loads(archive.read("all.json"))["categories"] == [0]
        assert onnx.load_model_from_string(archive.read("all.onnx")).ir_version <= 10
