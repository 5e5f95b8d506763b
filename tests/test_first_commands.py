"""A step that is called too early names the command that comes first."""

from collections.abc import Callable
from pathlib import Path

import pytest
from place import Place, mains

from hylle.verbs import VERBS
from runs import record
from stage1_detector.distillation.config import refuse_teacher


def test_build_before_the_gate(place: Place, refused: Callable) -> None:
    (place.runs / "ensemble.json").unlink()
    refused("build", [], f"ensemble.json: no such file; fit the gate first: hylle gate --data D --runs {place.runs}\n")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("one", "train-detector --data D --out {runs} --classes one"),
        ("all", "train-detector --data D --out {runs} --classes all"),
        ("classifier_shelf", "train-classifier --data D --out {runs} --crops shelf"),
    ],
)
def test_build_and_gate_before_a_training(place: Place, refused: Callable, name: str, command: str) -> None:
    (place.runs / name / "model.onnx").unlink()
    refused("build", [], f"{name}/model.onnx: no such file; train it first: hylle {command.format(runs=place.runs)}\n")
    words = ["--classifiers", "classifier_shelf"]
    refused("gate", words, f"{name}/model.onnx not found: train it first, hylle {command.format(runs=place.runs)}\n")


def test_build_with_a_detector_of_another_name(place: Place, refused: Callable) -> None:
    path = place.runs / "ensemble.json"
    path.write_text(path.read_text().replace("one/model.onnx", "nope/model.onnx"))
    refused("build", [], f"train it first: hylle train-detector --data D --out {place.runs}/nope --classes one, and name "
                         f"{place.runs}/nope/one\n")  # fmt: skip


def test_a_stopped_training_is_gone_on_with(place: Place, refused: Callable) -> None:
    (place.runs / "one" / "model.onnx").unlink()
    (place.runs / "one" / "weights").mkdir()
    (place.runs / "one" / "weights" / "last.pt").touch()
    assert record.is_stopped(place.runs / "one")
    refused("build", [], "--classes one --resume\n")


def test_crops_of_studio_photos_without_any(place: Place, refused: Callable) -> None:
    for crops in ("studio", "both"):
        message = f"--crops {crops}: studio photos: got {place.data}/NM_NGD_product_images, must be a folder"
        refused("classifier", ["--crops", crops], message)
        refused("classifier", ["--crops", crops], "pass --studio DIR; or learn from shelf photos alone, --crops shelf\n")


@pytest.mark.parametrize("name", ["classifier_both", "classifier_foo", "second"])
def test_enrolling_into_a_classifier_that_is_not_trained(place: Place, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words = [
        "--data",
        str(place.data),
        "--runs",
        str(place.runs),
        "--classifier",
        name,
        "--photos",
        str(place.data),
        "--name",
        "x",
    ]
    assert VERBS["enroll"].main(words) == 2
    crops = "--crops both" if name == "classifier_both" else f"--crops shelf --name {name}"
    command = f"hylle train-classifier --data D --out {place.runs} {crops} --head arcface"
    assert capsys.readouterr().err.endswith(f"{name}/model.onnx not found: train it first, {command}\n")


def test_checking_before_building(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert mains()["check"]([str(place.root / "none.zip")]) == 2
    assert capsys.readouterr().err.endswith("none.zip: no such file; hylle build makes one\n")


def test_checking_a_folder(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert mains()["check"]([str(place.runs)]) == 2
    assert capsys.readouterr().err.endswith("runs: a folder, need a zip; hylle build makes one\n")


def test_a_classifier_is_offered_the_words_that_it_takes(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        mains()["classifier"](["--help"])
    assert "coco" not in capsys.readouterr().out.lower().replace("(coco, yolo", "")
    assert mains()["classifier"]([*place.words("classifier"), "--pretrained", "none.pt"]) == 2
    assert "or one of auto, imagenet, starter, none\n" in capsys.readouterr().err


def test_a_teacher_that_is_not_trained() -> None:
    with pytest.raises(
        ValueError, match=r"got R/one, must be a finished run \(hylle train-detector .* --classes one trains it\), none"
    ):
        refuse_teacher(str(Path("R") / "one"))
    with pytest.raises(ValueError, match="got nobody, must be a finished run, none, or a recipe: small"):
        refuse_teacher("nobody")
