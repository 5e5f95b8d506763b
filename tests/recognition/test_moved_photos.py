"""Photos that lie elsewhere than when they were predicted are known again where they are the same; others are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognition import prediction_run
from recognition.predict import main

Go = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (folder := tmp_path / "mount" / "shop").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(rng.integers(0, 255, (64, 65, 3), np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def go(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Predicts into one folder; the exit code, and the photos that the models looked at."""
    looked_at: list[str] = []
    original = prediction_run.predicted
    monkeypatch.setattr(
        prediction_run, "predicted", lambda frame, *given: looked_at.append(frame.name) or original(frame, *given)
    )

    def call(*words: Path | str) -> tuple[int, list[str]]:
        looked_at.clear()
        return main([*map(str, words), "--model", str(runs), "--out", str(tmp_path / "out")]), [*looked_at]

    return call


def test_photos_on_another_mount_are_gone_on_with(photos: Path, go: Go, tmp_path: Path) -> None:
    assert go(photos) == (0, ["a.jpg", "b.jpg"])
    tables = (tmp_path / "out" / "predictions.csv").read_bytes()
    other = tmp_path / "other" / "place"
    shutil.copytree(photos, other)  # with the time of the last change, as another mount has it
    assert go(other, "--resume") == (0, [])
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == tables
    Image.new("RGB", (64, 65)).save(other / "c.jpg")
    assert go(other, "--resume") == (0, ["c.jpg"])


@pytest.mark.parametrize("change", ["another photo", "one is missing", "another root"])
def test_other_photos_are_refused(
    photos: Path, go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """Else another shop's photos would take the place of the first's, or photos under a second name be counted twice."""
    assert go(photos)[0] == 0
    before = (tmp_path / "out" / "journal.jsonl").read_bytes()
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    if change == "another photo":
        Image.new("RGB", (64, 65)).save(other / "a.jpg")
    if change == "one is missing":
        (other / "a.jpg").unlink()
    assert go(*([photos, other] if change == "another root" else [other]), "--resume") == (2, [])
    assert f"begun with folder {str(photos)!r}, now" in capsys.readouterr().err
    assert (tmp_path / "out" / "journal.jsonl").read_bytes() == before


def test_a_journal_without_a_whole_line_begins_anew(photos: Path, go: Go, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "journal.jsonl").write_text(json.dumps({"settings": {"folder": "x"}})[:-3])
    assert go(photos, "--resume") == (0, ["a.jpg", "b.jpg"])
