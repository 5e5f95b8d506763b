"""A stranger's mistakes in data and flags: one line, exit code 2, and nothing that is there is lost."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from place import READERS, TRAINERS, Place

from photos import folds
from runs.flags import flag_of
from stage1_detector import recipes as detector_recipes
from stage1_detector.distillation.config import STUDENTS
from stage2_classifier import config as classifier_config

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
    "no JSON": (lambda place: (place.data / "annotations.json").unlink(), "10 photos and no annotations.json or other labels"),
    "no images": (no_image_folder, "shop: no folder images/"),
    "broken JSON": (lambda place: (place.data / "annotations.json").write_text("{,"), "broken JSON at line 1, column 2"),
    "empty JSON": (lambda place: (place.data / "annotations.json").write_text(""), "annotations.json: broken JSON"),
    "JSON in another coding": (lambda place: (place.data / "annotations.json").write_bytes(b"\xff\xfe\xfa"), "not UTF-8; save"),
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
    [(name, "valid") for name in ("detector", "classifier", "gate", "ablation")] + [("ablation", "test"), ("judge", "test")],
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
    "synth: out below a file": ("synth", "--out {root}/a.zip/x", "a.zip is a file, need a folder"),
    "synth: out holds other things": ("synth", "--out {root}/runs", "holds other files, need a new or empty folder"),
    "synth: unwritable": ("synth", "--out /proc/hylle", "error: /proc/hylle"),
    "folds: out is a file": ("folds", "--out {root}/a.zip", "a.zip, which is a file, need a folder"),
    "folds: out below a file": ("folds", "--out {root}/a.zip/x", "a.zip/x, which is below a file, need a folder"),
    "folds: unwritable": ("folds", "--out /proc/hylle", "error: /proc/hylle"),
    "folds: groups missing": ("folds", "--groups {root}/none.csv", "none.csv, need auto, photo, or a CSV file"),
    "folds: groups is a folder": ("folds", "--groups {root}", "need auto, photo, or a CSV file"),
    "folds: too few": ("folds", "--out {root}/new --folds 0", "got --folds 0, need >= 3"),
    "folds: seed": ("folds", "--out {root}/new --seed -1", "got --seed -1, need 0 or more"),
    "folds: other settings": ("folds", "--seed 1", "was made with --seed 0 (now asked: 1); --force makes it again"),
    "detector: recipe": ("detector", "--recipe smal", "--recipe: got 'smal', allowed: small, demo, yolov8s"),
    "detector: no folds": (
        "detector",
        "--out {root}/new",
        "folds.json not found: make it with hylle folds",
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
    "classifier: model too deep": (
        "classifier",
        "--force --model inception_v4 --size 64",
        "--size: inception_v4 cannot take crops of 64 px",
    ),
    "classifier: nothing to resume": ("classifier", "--resume --force", "classifier_shelf holds no stopped run"),
    "classifier: no studio": ("classifier", "--force --crops studio", "must be a folder with one folder per product"),
    "gate: no folds": ("gate", "--runs {root}/new", "new/folds.json not found"),
    "gate: runs is a file": ("gate", "--runs {root}/a.zip", "a.zip, which is a file, need a folder"),
    "gate: not trained": ("gate", "--classifiers eye", "eye/model.onnx not found: train it first"),
    "ablation: no folds": ("ablation", "--runs {root}/new", "new/folds.json not found"),
    "ablation: runs is a file": ("ablation", "--runs {root}/a.zip", "a.zip, which is a file, need a folder"),
    "ablation: not trained": ("ablation", "--beside eye", "eye/model.onnx not found: train it first"),
    "judge: no folds": ("judge", "--runs {root}/new", "new/folds.json not found"),
    "demo: out is a file": ("demo", "--out {root}/a.zip", "a.zip, which is a file, need a folder"),
    "demo: other things there": ("demo", "--out {root}/demo", "demo/data, which holds other files"),
    "demo: unwritable": ("demo", "--out /proc/hylle", "error: /proc/hylle"),
    "build: no runs": ("build", "--runs {root}/new", "new: no such folder, need a run folder"),
    "build: runs is a file": ("build", "--runs {root}/a.zip", "a.zip: a file, need a run folder"),
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


CONFIGS = {
    "ultralytics": detector_recipes.small(),
    "torchvision": detector_recipes.retinanet(),
    "transformer": detector_recipes.conditional_detr(),
    "student": STUDENTS["rtdetr-l"](),
    "classifier": classifier_config.small(),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_number_has_a_range(config: object) -> None:
    numbers = [field for field in fields(config) if isinstance(getattr(config, field.name), int | float)]
    assert [field.name for field in numbers if flag_of(field) is None or flag_of(field).lowest is None] == []
    for field in numbers:
        with pytest.raises(ValueError, match=f"--{field.name.replace('_', '-')}: got -1, allowed"):
            replace(config, **{field.name: -1})
