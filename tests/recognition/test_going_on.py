"""A prediction that was stopped goes on with what it was begun with, and with nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from films import film
from predicted import predict, put

from recognition import prediction_run, recogniser


class Killed(BaseException):
    """What ends a run as a kill does: nothing catches it."""


@pytest.mark.parametrize("after", [0, 9])
def test_a_killed_run_goes_on_where_it_was(named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    photos = put(tmp_path / "D", *(f"{i}.jpg" for i in range(6)))
    film(photos / "v.mp4", 5)
    assert predict(photos, named, tmp_path / "whole", "--no-pictures") == 0
    calls: list[str] = []
    original = prediction_run.predicted

    def counted(frame: object, *given: object) -> object:
        if len(calls) == after:
            raise Killed
        calls.append(frame.name)
        return original(frame, *given)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(prediction_run, "predicted", counted)
        predict(photos, named, tmp_path / "out")
    assert predict(photos, named, tmp_path / "out") == 2  # neither --resume nor --force
    again: list[str] = []
    monkeypatch.setattr(prediction_run, "predicted", lambda frame, *given: again.append(frame.name) or original(frame, *given))
    assert predict(photos, named, tmp_path / "out", "--resume") == 0
    assert len(calls) == after and len(again) == 11 - after and not set(calls) & set(again)
    for name in ("predictions.csv", "facings.csv", "gaps.csv", "problems.csv", "predictions.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    again.clear()
    assert predict(photos, named, tmp_path / "out", "--resume") == 0 and again == []


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["new", "force"])
def test_a_second_call_into_the_same_folder_is_refused_while_models_are_loaded(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: list[str]
) -> None:
    """Else the two write one journal, each over what the other has written."""
    photos, others, out = put(tmp_path / "A", "a.jpg", "b.jpg"), put(tmp_path / "B", "c.jpg"), tmp_path / "out"
    words = [str(others), "--model", str(named), "--out", str(out), "--no-pictures", *force]
    second = list[subprocess.CompletedProcess[str]]()
    load = recogniser.load_recogniser

    def loaded(*given: object) -> object:
        if not second:
            command = [sys.executable, "-m", "recognition.predict", *words]
            second.append(subprocess.run(command, check=False, capture_output=True, text=True))
        return load(*given)

    monkeypatch.setattr(recogniser, "load_recogniser", loaded)
    assert predict(photos, named, out, "--no-pictures") == 0
    assert second[0].returncode == 2 and "is predicting into it; wait until it is done" in second[0].stderr
    assert {row["file_name"] for row in json.loads((out / "predictions.json").read_text())["images"]} == {"a.jpg", "b.jpg"}
    assert not (out / "process.json").exists()


def test_another_model_or_setting_is_not_gone_on_with(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = put(tmp_path / "D", "a.jpg")
    assert predict(photos, named, tmp_path / "out") == 0
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    assert predict(photos, named, tmp_path / "out", "--resume", "--min-score", "0.5") == 2
    side = json.loads((named / "shelf" / "model.json").read_text()) | {"temperature": 2.0}
    (named / "shelf" / "model.json").write_text(json.dumps(side))
    assert predict(photos, named, tmp_path / "out", "--resume") == 2
    errors = capsys.readouterr().err
    assert "begun with min_score 0.25, now 0.5" in errors and "begun with model" in errors
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before


def test_what_is_of_no_prediction_is_not_overwritten(named: Path, tmp_path: Path) -> None:
    photos = put(tmp_path / "D", "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.json").write_text("[]")
    assert predict(photos, named, tmp_path / "out") == predict(photos, named, tmp_path / "out", "--force") == 2
    assert predict(photos, named, tmp_path / "new", "--resume") == 2
    assert (tmp_path / "out" / "predictions.json").read_text() == "[]"
