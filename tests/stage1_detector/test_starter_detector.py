"""The starter detector: its file fills a yolov8n and no other network, finds products untrained, and becomes a run folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from fusion.decode import run_detector
from fusion.ensemble import parse
from fusion.models import Model
from photos.score import Truth, evaluate
from runs.command import run
from runs.pretrained import pretrained_file
from stage1_detector import starter, validation
from stage1_detector.config import STARTER
from stage1_detector.synthesis import composed_dataset
from stage1_detector.ultralytics_engine import yolo
from stage1_detector.ultralytics_engine.detection_trainer import load_pretrained


def test_the_file_may_be_committed() -> None:
    assert STARTER.stat().st_size <= starter.MOST
    assert json.loads(STARTER.with_suffix(".json").read_text())["hours"] <= 3


def test_it_is_of_a_yolov8n_and_no_other() -> None:
    load_pretrained(yolo.build("yolov8n.yaml", ["product"]), STARTER)
    with pytest.raises(ValueError, match=r"--pretrained: got .*; starter is of yolov8n.yaml"):
        load_pretrained(yolo.build("yolo11n.yaml", ["product"]), STARTER)


def test_pretrained_starter_is_the_file_in_the_package(tmp_path: Path) -> None:
    assert pretrained_file(Path("starter"), STARTER) == STARTER
    assert pretrained_file(None, STARTER) is None
    with pytest.raises(ValueError, match="must be a local weights file, or starter"):
        pretrained_file(tmp_path / "none.pt", STARTER)


@pytest.mark.slow
def test_it_finds_packages_it_never_saw_and_random_weights_do_not(tmp_path: Path) -> None:
    shots = [composed_dataset.RandomPacks().shot(starter.LOOK, 99_999, n, np.random.default_rng((99, n))) for n in range(8)]
    truths = [Truth(shot.boxes, shot.labels) for shot in shots]
    found = {}
    for name in ("starter", "random"):
        weights = STARTER
        if name == "random":
            starter.write(yolo.build("yolov8n.yaml", ["product"]), weights := tmp_path / "random.safetensors")
        (tmp_path / name).mkdir()
        model = Model(starter.export(tmp_path / name, weights))
        one = validation.member(model)
        found[name] = evaluate(truths, [run_detector(model, one, shot.image)[0] for shot in shots], 1).det_map50
    assert found["starter"] > 0.3 and found["random"] < 0.05


def test_it_becomes_a_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(starter.body, ["--export", str(tmp_path / "R")]) == 0
    ensemble = parse(json.loads((tmp_path / "R" / "ensemble.json").read_text()))
    assert [view["size"] for view in ensemble.detectors[0].views] == list(starter.SIZES)
    assert (tmp_path / "R" / ensemble.detectors[0].file).is_file()
    assert run(starter.body, ["--export", str(tmp_path / "R")]) == 2
    assert "need a new or empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], "--out, --work: need both, or --export"),
        (["--out", "x.pt", "--work", "w"], "--out: got x.pt, must be a .safetensors file"),
        (["--out", "x.safetensors", "--work", "w", "--photos", "0"], "--photos, --epochs: got 0, 3"),
    ],
    ids=["nothing", "another suffix", "no photos"],
)
def test_wishes_that_cannot_be_met_are_one_line(flags: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(starter.body, flags) == 2
    told = capsys.readouterr().err
    assert error in told and told.count("\n") == 1


@pytest.mark.slow
def test_the_command_makes_a_file_that_training_can_start_from(tmp_path: Path) -> None:
    flags = ["--out", str(tmp_path / "s.safetensors"), "--work", str(tmp_path / "w"), "--photos", "6", "--epochs", "1"]
    small = starter.VALID
    starter.VALID = 2
    try:
        assert run(starter.body, flags) == 0
    finally:
        starter.VALID = small
    load_pretrained(yolo.build("yolov8n.yaml", ["product"]), tmp_path / "s.safetensors")
