"""`run.py` as the judge calls it: every photo found, a broken one costs itself only, valid JSON at the end, exit code 0."""

import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from place import Place

from fusion import models, reading
from fusion.pipeline import Pipeline, load
from fusion.reading import ReadAhead, read_photo
from submission import build, run

JUDGE = str(Path(build.__file__).parent.parent / ".judge" / "bin" / "python")


@pytest.fixture
def unpacked(runs: Path, tmp_path: Path) -> Path:
    """The packed zip of the constant models, unpacked."""
    build.build(runs, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "code")
    return tmp_path / "code"


def _photo(path: Path, width: int = 128, height: int = 128, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (200, 30, 10)).save(path, "JPEG", **options)


def _run(python: str, code: Path, photos: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """The judge's call, from another folder."""
    command = [python, str(code / "run.py"), "--input", str(photos), "--output", str(output)]
    return subprocess.run(command, cwd=output.anchor, capture_output=True, text=True, check=False)


def _main(monkeypatch: pytest.MonkeyPatch, photos: Path, output: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--input", str(photos), "--output", str(output)])
    run.main()


@pytest.mark.parametrize("exists", [pytest.param(True, id="empty folder"), pytest.param(False, id="missing folder")])
def test_no_photos_give_an_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    if exists:
        (tmp_path / "photos").mkdir()
    _main(monkeypatch, tmp_path / "photos", tmp_path / "new" / "folder" / "out.json")
    assert json.loads((tmp_path / "new" / "folder" / "out.json").read_text()) == []
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["out.json"]


def _shelf(photos: Path) -> None:
    """Two good photos and four that are none."""
    _photo(photos / "img_00042.jpg")
    _photo(photos / "img_00007.JPEG", width=64, height=64)
    _photo(photos / "img_00001.jpg")
    (photos / "img_00001.jpg").write_bytes((photos / "img_00001.jpg").read_bytes()[:40])
    (photos / "img_00002.jpg").write_bytes(b"")
    (photos / "img_00003.jpg").mkdir()
    (photos / "img_00004.jpg").write_text("no photo")


BROKEN = ("img_00001.jpg", "img_00002.jpg", "img_00004.jpg")


def test_broken_photos_cost_only_themselves(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _shelf(tmp_path / "photos")
    monkeypatch.setattr(run, "__file__", str(unpacked / "run.py"))
    _main(monkeypatch, tmp_path / "photos", tmp_path / "out.json")
    assert sorted(note.split(":")[0] for note in caplog.messages if "no predictions: " in note) == list(BROKEN)
    assert "img_00003.jpg: skipped: not a file" in caplog.messages
    found = json.loads((tmp_path / "out.json").read_text())
    # By hand: a photo of 64 px is the canvas itself, one of 128 px is seen at half its size; the classifier names id 3.
    assert [(row["image_id"], row["score"]) for row in found] == [(42, 0.9), (42, 0.6), (7, 0.9), (7, 0.6)]  # larger file first
    assert {row["category_id"] for row in found} == {3}
    boxes = [[16, 32, 32, 64], [88, 32, 16, 64], [8, 16, 16, 32], [44, 16, 8, 32]]
    np.testing.assert_allclose([row["bbox"] for row in found], boxes, atol=1e-3)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, RuntimeError])
def test_a_reading_thread_that_dies_costs_its_photo(
    unpacked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    for number in range(6):
        _photo(tmp_path / "photos" / f"{number}.jpg", width=64 + number)
    plain = reading.decode_photo

    def decode_photo(data: bytes, exif: str) -> object:
        image = plain(data, exif)
        if image.shape[1] == 67:
            raise error
        return image

    monkeypatch.setattr(reading, "decode_photo", decode_photo)
    monkeypatch.setattr(run, "__file__", str(unpacked / "run.py"))
    _main(monkeypatch, tmp_path / "photos", tmp_path / "out.json")
    assert {row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())} == {0, 1, 2, 4, 5}
    assert [note for note in caplog.messages if "no predictions" in note] == [f"3.jpg: no predictions: {error()!r}"]


@pytest.mark.slow
@pytest.mark.parametrize("python", [pytest.param(sys.executable, id="ours"), pytest.param(JUDGE, id="the judge's")])
def test_the_judges_call_equals_the_pipeline_in_the_repository(unpacked: Path, tmp_path: Path, python: str) -> None:
    if not Path(python).exists():
        pytest.skip("no .judge environment here; make test sets it up")
    _shelf(tmp_path / "photos")
    _photo(tmp_path / "photos" / "img_5.jpg", width=90, height=41)
    done = _run(python, unpacked, tmp_path / "photos", tmp_path / "out.json")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert all(f"{name}: no predictions: " in done.stderr for name in BROKEN)
    pipeline = load(unpacked)
    good = {7: "img_00007.JPEG", 42: "img_00042.jpg", 5: "img_5.jpg"}
    rows = {number: pipeline(read_photo(tmp_path / "photos" / name)) for number, name in good.items()}
    found = json.loads((tmp_path / "out.json").read_text())
    assert sorted(found, key=lambda row: row["image_id"]) == [
        {"image_id": number, **row} for number in sorted(good) for row in rows[number]
    ]


@pytest.mark.slow
def test_bad_arguments_end_with_code_2(unpacked: Path) -> None:
    done = subprocess.run([sys.executable, str(unpacked / "run.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--input" in done.stderr


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_those_stored_whatever_exif_says(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _photo(tmp_path / "1.jpg", width=40, height=24, exif=exif)
    with Image.open(tmp_path / "1.jpg") as photo:
        stored = np.asarray(photo).astype(int)
    image = read_photo(tmp_path / "1.jpg")
    assert image.shape == (24, 40, 3)
    assert np.abs(image - stored).max() <= 3  # two decoders; a channel swapped would be off by 190


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (8, 6)).save(tmp_path / "1.jpg", "JPEG")
    image = read_photo(tmp_path / "1.jpg")
    assert (image.shape, image.dtype) == ((6, 8, 3), np.uint8)


def answering(answer: object) -> Callable[..., object]:
    """A pipeline that gives `answer`, or raises it."""

    def begin(photo: object, photos: int, allows: object, failed: object) -> Callable[[], object]:
        if isinstance(answer, Exception):
            raise answer
        return lambda: answer

    return SimpleNamespace(begin=begin)


@pytest.mark.parametrize(
    ("answer", "text", "notes"),
    [
        pytest.param([{"score": 0.5}], '{"image_id": 1, "score": 0.5}', 0, id="all is well"),
        pytest.param([{"a": 1}, {"a": 2}], '{"image_id": 1, "a": 1},\n{"image_id": 1, "a": 2}', 0, id="a line for each"),
        pytest.param([], "", 0, id="nothing found"),
        pytest.param([{"score": float("nan")}], "", 1, id="no JSON"),
        pytest.param(MemoryError(), "", 1, id="fails"),
    ],
)
def test_what_fails_costs_its_photo_at_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: object, text: str, notes: int
) -> None:
    _photo(tmp_path / "1.jpg")
    deadline = SimpleNamespace(allows=None, failed=None, photo_read=lambda seconds: None)
    assert run.predict(answering(answer), 1, ReadAhead([tmp_path / "1.jpg"]), deadline)() == text
    assert [record.message.startswith("error: 1.jpg: ") for record in caplog.records] == [True] * notes


@pytest.mark.parametrize(("broken", "tries"), [("classifier_shelf", 3), ("all", 3), ("one", 6)])
def test_a_model_that_fails_costs_only_what_it_would_say_and_is_soon_left_alone(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str, tries: int
) -> None:
    plain, calls = models.Model.__call__, []

    def failing(self: models.Model, *arguments: object) -> object:
        if self.path.parent.name == broken:
            calls.append(1)
            raise RuntimeError("no memory left")
        return plain(self, *arguments)

    values = json.loads((place.runs / "ensemble.json").read_text())
    for member in values["detectors"]:
        member["views"], member["weight"] = member["views"][:1], 1.0
    (place.runs / "ensemble.json").write_text(json.dumps(values))
    monkeypatch.setattr(models.Model, "__call__", failing)
    monkeypatch.setattr(run, "__file__", str(place.runs / "run.py"))
    for i in range(6):
        _photo(tmp_path / "photos" / f"{i}.jpg")
    _main(monkeypatch, tmp_path / "photos", tmp_path / "out.json")
    assert {row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())} == set(range(6))
    assert len(calls) == tries == sum(f"error: {broken}/model.onnx view 1: RuntimeError" in note for note in caplog.messages)


def test_a_photo_is_written_while_the_models_look_at_the_next(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, write, second = Pipeline.detect, run.lines, threading.Event()
    looked: list[int] = []
    waited: list[bool] = []

    def detect(self: Pipeline, *arguments: Any) -> object:
        looked.append(1)
        if len(looked) == 2:
            second.set()
        return plain(self, *arguments)

    def lines(image_id: int, rows: list[dict[str, Any]]) -> str:
        if not waited:
            waited.append(second.wait(9))
        return write(image_id, rows)

    monkeypatch.setattr(Pipeline, "detect", detect)
    monkeypatch.setattr(run, "lines", lines)
    monkeypatch.setattr(run, "__file__", str(place.runs / "run.py"))
    for i in range(2):
        _photo(tmp_path / "photos" / f"{i}.jpg")
    _main(monkeypatch, tmp_path / "photos", tmp_path / "out.json")
    assert waited == [True]
    assert {row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())} == {0, 1}


def test_a_photo_is_written_only_when_the_next_one_is_there(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a model, then, and not beside what is done between two models."""
    take, write = ReadAhead.take, run.lines
    done: list[str] = []

    def slow_take(self: ReadAhead) -> object:
        time.sleep(0.2)  # for a writer that has begun already
        done.append("take")
        return take(self)

    monkeypatch.setattr(ReadAhead, "take", slow_take)
    monkeypatch.setattr(run, "lines", lambda *photo: (done.append("write"), write(*photo))[1])
    monkeypatch.setattr(run, "__file__", str(place.runs / "run.py"))
    for i in range(2):
        _photo(tmp_path / "photos" / f"{i}.jpg")
    _main(monkeypatch, tmp_path / "photos", tmp_path / "out.json")
    assert done == ["take", "take", "write", "write"]
    assert {row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())} == {0, 1}


@pytest.mark.parametrize("broken", ["classifier_shelf", "all"])
def test_a_model_that_does_not_load_is_left_out(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    (place.runs / broken / "model.onnx").write_bytes(b"torn")
    monkeypatch.setattr(run, "__file__", str(place.runs / "run.py"))
    _photo(tmp_path / "photos" / "1.jpg")
    _main(monkeypatch, tmp_path / "photos", tmp_path / "out.json")
    assert {row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())} == {1}
    assert [message for message in caplog.messages if message.startswith(f"error: left out: {place.runs / broken}")]


def test_missing_models_are_loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _photo(tmp_path / "photos" / "1.jpg")
    with pytest.raises(SystemExit, match="2"):
        _main(monkeypatch, tmp_path / "photos", tmp_path / "out.json")
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.endswith("ensemble.json: not found\n") and error.count("\n") == 1
