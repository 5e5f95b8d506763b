"""The minutes of a detector that was stopped and went on are those of both starts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from place import Place
from torchvision_nets import SMALL

from stage1_detector import detector_run
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.engine import Job
from stage1_detector.families import TORCHVISION

CONFIG = replace(SMALL, size=64, batch=2, epochs=2, rois=16, proposals=30)


class Stopped(Exception):
    """As by a kill."""


def test_minutes_are_those_of_every_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]

    def fit(job: Job) -> Path:
        now[0] += 120 if job.resume else 60
        job.last_checkpoint.parent.mkdir(exist_ok=True)
        job.last_checkpoint.write_bytes(b"of this test")
        job.progress("epoch 1/2")
        if not job.resume:
            raise Stopped
        return job.last_checkpoint

    family = TORCHVISION._replace(fit=fit, load=lambda weights: None, refuse=lambda *_: None)  # type: ignore[arg-type, return-value]
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr(detector_run, "exported", lambda *_: {})
    request = DetectorRun(data=place.data, runs=place.runs, force=True)
    with pytest.raises(Stopped):
        train_detector(request, CONFIG, family)
    now[0] += 5000
    train_detector(replace(request, force=False, resume=True), CONFIG, family)
    assert json.loads((request.out / "run.json").read_text())["metrics"]["minutes"] == 3
