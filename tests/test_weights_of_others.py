"""Weights from elsewhere: no command runs what is pickled in them, and one rule says how much of a network they must fill."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from pickled_code import MARKER, write_evil
from place import TRAINERS, Place, mains
from torch import nn

from photos import trained_on
from runs import weights_file
from runs.pickled_file import is_ours, needs_code
from stage1_detector.distillation import student_run, teach
from stage1_detector.ultralytics_engine import detection_trainer
from stage2_classifier import model


@pytest.mark.parametrize("name", TRAINERS)
def test_pretrained(place: Place, refused: Callable, name: str) -> None:
    path = write_evil(place.root / "w.pt", place.root)
    refused(name, ["--force", "--pretrained", str(path)], "--pretrained: got ")
    assert not (place.root / MARKER).exists()


def test_distill_model(place: Place, refused: Callable) -> None:
    path = write_evil(place.root / "w.pt", place.root)
    refused("detector", ["--force", "--distill-model", str(path)], f"pass --trust {path}")
    assert not (place.root / MARKER).exists()


def test_a_checkpoint_that_is_not_the_runs_own(place: Place, refused: Callable) -> None:
    (place.runs / "one" / "weights").mkdir()
    write_evil(place.runs / "one" / "weights" / "last.pt", place.root)
    refused("detector", ["--resume"], "--resume: got ")
    assert not (place.root / MARKER).exists()


def test_a_teacher(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    weights = place.root / "other" / "weights"
    weights.mkdir(parents=True)
    write_evil(weights / "last.pt", place.root)
    (weights.parent / "run.json").write_text(json.dumps({"settings": {"family": "yolo", "patience": 0}}))
    words = ["--data", str(place.data), "--out", str(place.runs), "--student", "yolov8n", "--teacher", str(weights.parent)]
    assert teach.main([*words, "--device", "cpu", "--force"]) == 2
    assert "--teacher: got " in capsys.readouterr().err and not (place.root / MARKER).exists()
    assert student_run.weights_of(weights.parent) == weights / "last.pt"


def test_one_that_is_trusted_is_read(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """And then refused, as it is no weights file."""
    path = write_evil(place.root / "w.pt", place.root)
    code = mains()["detector"]([*place.words("detector"), "--force", "--pretrained", str(path), "--trust", str(path)])
    assert code == 2 and "must be a .pt file of weights that ultralytics wrote" in capsys.readouterr().err
    assert (place.root / MARKER).exists()


@pytest.mark.parametrize("stage", [detection_trainer, model], ids=["detector", "classifier"])
@pytest.mark.parametrize("filled", [1, 7, 8, 10])
def test_four_fifths_of_the_tensors_must_fit_in_both_stages(tmp_path: Path, stage: ModuleType, filled: int) -> None:
    network = nn.ModuleList(nn.Linear(2, 2) for _ in range(5))
    state = {name: torch.full_like(value, 7.0) for name, value in list(network.state_dict().items())[:filled]}
    torch.save(state, tmp_path / "w.pt")
    if filled >= weights_file.REQUIRED_SHARE * 10:
        stage.load_pretrained(network, tmp_path / "w.pt")
        assert sum(bool((value == 7).all()) for value in network.state_dict().values()) == filled
    else:
        with pytest.raises(ValueError, match=rf"w.pt, which fills {filled} of the network's 10 tensors$"):
            stage.load_pretrained(network, tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("name", "flag", "file"),
    [
        ("detector", "--pretrained", "one/weights/best.pt"),
        ("detector", "--distill-model", "one/weights/best.pt"),
        ("classifier", "--pretrained", "classifier_shelf/last.pt"),
    ],
)
@pytest.mark.parametrize("more", ["--force", "--resume"])
def test_no_training_replaces_the_weights_that_it_learns_from(
    place: Place, capsys: pytest.CaptureFixture[str], name: str, flag: str, file: str, more: str
) -> None:
    path = place.runs / file
    path.parent.mkdir(exist_ok=True)
    torch.save({"a": torch.zeros(1)}, path)
    before = place.files()
    assert mains()[name]([*place.words(name), flag, str(path), more]) == 2
    error = capsys.readouterr().err
    assert f"{flag}: got {path}, which {place.runs / Path(file).parts[0]} would replace" in error and "--force" not in error
    assert place.files() == before


@pytest.mark.slow
def test_what_a_run_of_ours_wrote_needs_no_trust(place: Place) -> None:
    assert mains()["detector"]([*place.words("detector"), "--force"]) == 0
    last = place.runs / "one" / "weights" / "last.pt"
    assert needs_code(last) and is_ours(last)
    copy = shutil.copyfile(last, place.root / "x.pt")
    assert trained_on.seen_by(copy) == trained_on.seen_by(place.runs / "one") and trained_on.seen_by(copy)["train"]
    words = ["--classes", "all", "--force", "--pretrained", str(last)]
    assert mains()["detector"]([*place.words("detector"), *words]) == 0
