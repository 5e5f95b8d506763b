"""Models in 8 bits are adopted where the score on the valid photos allows, and stay in float32 where it does not."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from constant_models import CANDIDATES, save_graph
from place import Place
from test_graphs import exported

from fusion.pipeline import load
from photos import folds
from photos.data import read
from submission import build, check, int8_choice
from submission.int8_choice import adopt, held


def quiet(done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def shop(place: Place) -> Place:
    """The place, where the boxes of each photo are those that its constant models find."""
    found = load(place.runs)(np.zeros((64, 96, 3), np.uint8))[:2]

    def as_found(values: dict) -> None:
        for row in values["annotations"]:
            row["bbox"] = found[row["id"] % 2]["bbox"]

    place.change(as_found)
    return place


def test_no_box_in_valid_is_refused(place: Place) -> None:
    place.change(lambda values: values["annotations"].clear())
    assert build.main([*place.words("build"), "--int8", "--photos", str(place.data)]) == 2


@pytest.mark.parametrize(
    ("shift", "adopted"), [pytest.param(0.0, True, id="the same answers"), pytest.param(30.0, False, id="boxes elsewhere")]
)
def test_a_model_is_adopted_by_its_score(
    shop: Place, shift: float, adopted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved = CANDIDATES + np.array([[0], [shift], [0], [0], [0]], np.float32)  # downwards
    save_graph(tmp_path / "moved.onnx", moved)
    smaller = onnx.load(str(tmp_path / "moved.onnx"))
    smaller.producer_name = "8 bits"
    monkeypatch.setattr(int8_choice, "quantised", lambda data, task, feeds: smaller.SerializeToString())
    files, lines = build.collect(shop.runs), list[str]()
    plain = dict(files)
    (trial,) = adopt(files, ["one.onnx"], held(shop.runs, shop.data), lines.append, quiet)
    assert trial.adopted is adopted and (trial.fall.value == 0 if adopted else trial.fall.value > 0.1)
    assert files == (plain | {"one.onnx": smaller.SerializeToString()} if adopted else plain)
    assert lines[0].startswith(f"one.onnx: {'INT8' if adopted else 'stays float32'}: score on valid, float32 minus INT8: ")


def test_8_bits_are_judged_on_the_cpu_also_beside_a_gpu(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    start, asked = onnxruntime.InferenceSession, list[list[str]]()

    def started(path: str, options: object, providers: list[tuple[str, dict]]) -> onnxruntime.InferenceSession:
        asked.append([name for name, _ in providers])
        return start(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", started)
    monkeypatch.setattr(int8_choice, "quantised", lambda data, task, feeds: data)
    adopt(build.collect(shop.runs), ["one.onnx"], held(shop.runs, shop.data), lambda line: None, quiet)
    assert len(asked) >= 4 and {tuple(names) for names in asked} == {("CPUExecutionProvider",)}


def test_one_scene_decides_nothing(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_choice, "quantised", lambda data, task, feeds: data)
    path = shop.runs / folds.NAME
    values = json.loads(path.read_text())
    for row in values["photos"]:
        row["scene"] = 0 if row["part"] == "valid" else row["scene"] + 1
    path.write_text(json.dumps(values))
    lines: list[str] = []
    (trial,) = adopt(build.collect(shop.runs), ["one.onnx"], held(shop.runs, shop.data), lines.append, quiet)
    assert not trial.adopted
    assert lines == ["one.onnx: stays float32: valid has 1 scene, need 2 or more for an interval"]


def test_the_command_packs_what_is_adopted_and_says_what_is_not(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    exported(place.runs / "one", 1, 0)
    words = [*place.words("build"), "--int8", "--photos", str(place.data)]
    assert build.main(words) == 0
    printed = capsys.readouterr().out
    assert "one.onnx: INT8: score on valid" in printed
    assert "all.onnx: stays float32: no convolution before the head" in printed
    archive = place.root / "a.zip"
    assert check.check(archive) == []
    with zipfile.ZipFile(archive) as zipped:
        nodes = onnx.load_model_from_string(zipped.read("one.onnx")).graph.node
        assert json.loads(zipped.read("manifest.json"))["int8"] == ["one.onnx"]
    assert "DequantizeLinear" in {node.op_type for node in nodes}
    before = archive.read_bytes()
    assert build.main(words) == 0 and archive.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--int8"], "--int8 and --photos: got one of them, need both", id="no photos"),
        pytest.param(["--int8", "--half", "--photos", "x"], "--half and --int8: got both, need one of them", id="both"),
    ],
)
def test_flags_that_do_not_go_together(
    flags: list[str], message: str, right: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main([*right.words("build"), *flags]) == 2
    assert message in capsys.readouterr().err


def test_photos_without_labels_are_the_users_mistake(right: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    assert build.main([*right.words("build"), "--int8", "--photos", str(tmp_path / "photos")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_what_is_calibrated_on_is_not_what_decides(right: Place) -> None:
    parts, photos = folds.load(right.runs / folds.NAME, read(right.data)), held(right.runs, right.data)
    train, valid = ([photo.id for photo in own] for own in (photos.train, photos.valid))
    assert train == [photo.id for photo in parts.photos("train")] and train
    assert valid == [photo.id for photo in parts.labelled("valid")] and valid
    assert not set(train) & set(valid)
