"""A run that is gone on with: failed photos are tried again, no picture stays of what is not there, no two versions mix."""

import errno
import importlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import film

import recognition
import scaling
from photos.code_version import code_version
from recognition import prediction_run
from recognition.frames import Frame
from recognition.inputs import Input
from recognition.predict import main


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two photos and a video of four seconds."""
    folder = tmp_path / "D"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(folder / name), np.full((48, 64, 3), 90, np.uint8))
    film(folder / "v.mp4", 4)
    return folder


def predict(photos: Path, runs: Path, *flags: str) -> int:
    return main([str(photos), "--model", str(runs), "--out", str(photos.parent / "out"), *flags])


def pictures(photos: Path) -> set[str]:
    folder = photos.parent / "out" / "pictures"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def table(photos: Path, name: str) -> str:
    return (photos.parent / "out" / name).read_text(encoding="utf-8-sig")


def test_a_photo_that_is_gone_when_its_turn_comes_is_told_in_words(
    photos: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = prediction_run.read_photo

    def gone(source: Input, exif: str) -> Frame:
        if source.name == "b.jpg":
            source.path.unlink()
        return read(source, exif)

    monkeypatch.setattr(prediction_run, "read_photo", gone)
    assert predict(photos, runs) == 0
    assert "b.jpg,No such file or directory\n" in table(photos, "problems.csv").replace("\r", "")


def test_what_failed_is_tried_again_and_told(
    photos: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original, failing = prediction_run.predicted, {"b.jpg", "v.mp4/00002.000s"}

    def predicted(frame: object, *given: object) -> object:
        if frame.name in failing:
            raise MemoryError
        seen.append(frame.name)
        return original(frame, *given)

    seen: list[str] = []
    monkeypatch.setattr(prediction_run, "predicted", predicted)
    assert predict(photos, runs) == 0
    assert seen == ["a.png", "v.mp4/00000.000s", "v.mp4/00001.000s"]
    assert "MemoryError" in table(photos, "problems.csv")
    failing.clear()
    seen.clear()
    capsys.readouterr()
    assert predict(photos, runs, "--resume") == 0
    assert seen == ["b.jpg", "v.mp4/00002.000s", "v.mp4/00003.000s"]
    assert "2 photos and videos failed before, and tried again" in capsys.readouterr().out
    assert "MemoryError" not in table(photos, "problems.csv") and "b.jpg" in table(photos, "predictions.csv")
    seen.clear()
    assert predict(photos, runs, "--resume") == 0 and seen == []
    assert "failed before" not in capsys.readouterr().out


def test_no_picture_stays_of_what_is_not_there_any_more(photos: Path, runs: Path) -> None:
    frames = {f"v.mp4/{k:05d}.000s.jpg" for k in range(4)}
    assert predict(photos, runs) == 0
    assert pictures(photos) == {"a.png.jpg", "b.jpg", *frames}
    (photos / "a.png").write_bytes(b"no photo")
    film(photos / "v.mp4", 2)
    assert predict(photos, runs, "--resume") == 0
    assert pictures(photos) == {"b.jpg", "v.mp4/00000.000s.jpg", "v.mp4/00001.000s.jpg"}
    film(photos / "b.jpg.mp4", 1)
    shutil.move(photos / "b.jpg.mp4", photos / "b.jpg")  # a video now, whose pictures are in a folder by that name
    assert predict(photos, runs, "--resume") == 0
    assert "b.jpg/00000.000s.jpg" in pictures(photos)


def test_another_version_of_the_code_does_not_go_on_with_it(
    photos: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(photos, runs) == 0
    before = table(photos, "predictions.csv")
    monkeypatch.setattr("onnxruntime.__version__", "0.0.1")
    assert predict(photos, runs, "--resume") == 2
    assert "was begun with version" in capsys.readouterr().err
    assert table(photos, "predictions.csv") == before and predict(photos, runs, "--force") == 0


@pytest.mark.parametrize("package", ["fusion", "photos", "recognition", "scaling"])
def test_a_change_of_any_package_that_predicts_is_another_version(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_version(recognition, scaling)
    assert code_version(recognition, scaling) == before != code_version() != code_version(engine="2026.4")
    module = importlib.import_module(package)
    shutil.copytree(module.__path__[0], tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "__path__", [str(tmp_path / package)])
    assert code_version(recognition, scaling) == before, "wherever it lies"
    next(file for file in sorted((tmp_path / package).glob("*.py")) if file.stat().st_size).write_text("changed")
    assert code_version(recognition, scaling) != before


def test_a_picture_has_a_name_that_a_disk_takes_and_no_folder_has(photos: Path, runs: Path) -> None:
    (photos / "x.png.jpg").mkdir()
    for name in ("x.png", "x.png.jpg/b.png", "l" * 251 + ".png"):
        shutil.copy(photos / "a.png", photos / name)
    assert predict(photos, runs) == 0
    made = pictures(photos)
    assert {"x.png.jpg.jpg", "x.png.jpg/b.png.jpg", "a.png.jpg"} <= made
    assert sum(name.endswith(".jpg") and len(name) == 36 for name in made) == 1
    assert predict(photos, runs, "--resume") == 0 and pictures(photos) == made


def test_no_name_of_a_photo_is_too_long_for_its_picture(photos: Path, runs: Path) -> None:
    """A JPEG's own, of bytes that are no UTF-8: each is written as four letters; and one that is taken is made longer."""
    for name in (b"\xff" * 99 + b".jpg", b"\xff" * 99 + b"/c.jpg", b"l" * 247 + b".png", b"l" * 247 + b".png.jpg"):
        path = Path(os.fsdecode(os.fsencode(photos) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        shutil.copy(photos / "b.jpg", path)
    assert predict(photos, runs) == 0
    made = [name for name in pictures(photos) if not name.startswith("v.mp4")]
    assert len(made) == 6 and table(photos, "problems.csv").count("\n") == 1
    assert sorted(len(name) for name in made) == [5, 9, 36, 36, 38, 255]


@pytest.mark.parametrize(("code", "result"), [(errno.EINVAL, 0), (errno.ENOSPC, 2)], ids=["its name", "a full disk"])
def test_a_picture_that_a_disk_does_not_take_for_its_name_costs_only_itself(
    photos: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, result: int
) -> None:
    (photos / "c?.jpg").write_bytes((photos / "b.jpg").read_bytes())
    original = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        if "?" in path.name:
            raise OSError(code, os.strerror(code))
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    assert predict(photos, runs) == result
    if result:
        assert "pictures/c?.jpg: No space left on device" in capsys.readouterr().err
    else:
        assert "c?.jpg" in table(photos, "predictions.csv") and pictures(photos) >= {"a.png.jpg", "b.jpg"}
        assert "c?.jpg,no picture of this name can be written: Invalid argument" in table(photos, "problems.csv")
