"""Another OpenCV than the judge's is told where predictions and trainings begin, and no page or message brings one."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from place import Place, mains

from photos import repairs
from runs import opencv

ROOT = Path(__file__).resolve().parents[2]
JUDGED = ROOT / "submission" / "judge-requirements.txt"
TOLD = "OpenCV 4.11.0 decodes and warps photos here"


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """As in a new process."""
    opencv.tell_difference.cache_clear()
    repairs.forget()
    yield
    opencv.tell_difference.cache_clear()


def test_the_pinned_version_is_the_judges() -> None:
    assert f"{opencv.PACKAGE}=={opencv.pinned()}" in JUDGED.read_text().splitlines()
    assert opencv.difference(cv2.__version__, opencv.pinned()) == ""


def test_a_version_that_begins_alike_is_another() -> None:
    assert opencv.difference("4.1", "4.11.0.86") and opencv.difference("4.9.0.8", "4.9.0.80")
    assert not opencv.difference("4.9.0.80", "4.9.0.80") and not opencv.difference("4.11.0", "")


def test_it_is_told_once_where_a_training_and_a_prediction_begin(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from recognition import predict

    photos, out = str(place.data / "images"), place.root / "predictions"
    assert predict.main([photos, "--model", str(place.runs), "--out", str(out), "--no-pictures"]) == 0
    assert "OpenCV" not in capsys.readouterr().out
    monkeypatch.setattr(cv2, "__version__", "4.11.0")
    opencv.tell_difference.cache_clear()
    assert predict.main([photos, "--model", str(place.runs), "--out", str(out), "--no-pictures", "--force"]) == 0
    assert capsys.readouterr().out.count(TOLD) == 1
    opencv.tell_difference.cache_clear()
    mains()["gate"](place.words("gate"))
    mains()["gate"](place.words("gate"))
    assert capsys.readouterr().out.count(TOLD) == 1


def test_nothing_says_to_install_an_extra_by_pip_alone() -> None:
    """pip does not read [tool.uv], which alone keeps out the OpenCV that ultralytics asks for."""
    folders = ("docs", "fusion", "photos", "runs", "stage1_detector", "stage2_classifier", "submission", "fitting")
    others = ("recognition", "scaling", "reporting", "reviewing", "hylle", "experiments")
    files = [p for folder in (*folders, *others) for end in ("*.py", "*.md") for p in (ROOT / folder).rglob(end)]
    files += [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
    by_pip = re.compile(r"(?<!uv )pip install (-e )?['\"]?(hylle|\.)\[")
    assert len(files) > 100
    assert [str(p) for p in files if by_pip.search(p.read_text(encoding="utf-8"))] == []
