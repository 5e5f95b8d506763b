"""The minutes of a classifier that was stopped and went on are those of both starts."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stage2_classifier import learning
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.fit import Fitted
from stage2_classifier.training_request import ClassifierRun


class Stopped(Exception):
    """As by a kill."""


def test_minutes_are_those_of_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]

    def photos(*_: object) -> learning.TrainingPhotos:
        now[0] += 30  # detectors look at the photos, in every start
        return learning.NO_PHOTOS

    def fit(model: object, crops: object, config: object, last: Path, progress: Callable[[str], None], resume: bool) -> Fitted:
        now[0] += 90 if resume else 30
        progress("epoch 1/2")
        if not resume:
            raise Stopped
        return Fitted(None, 0.0, 2)  # type: ignore[arg-type]

    monkeypatch.setattr("time.time", lambda: now[0])
    for name, made in (("photos_to_learn_from", photos), ("gather", lambda *_: []), ("fit", fit)):
        monkeypatch.setattr(learning, name, made)
    monkeypatch.setattr(learning, "finish", lambda *_: {"calibration": "temperature", "valid_accuracy": 1.0})

    def learn(resume: bool) -> dict:
        request = ClassifierRun(data=tmp_path, runs=tmp_path, resume=resume)
        request.out.mkdir(exist_ok=True)
        return learning.learn(None, request, ClassifierConfig(), SimpleNamespace(dataset=None))  # type: ignore[arg-type]

    with pytest.raises(Stopped):
        learn(resume=False)
    now[0] += 5000
    assert learn(resume=True)["minutes"] == 3
