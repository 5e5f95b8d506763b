"""The file of predictions: whole at every moment, also where the run is killed while it replaces it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from place import Place

from fusion import pipeline
from submission import run


@pytest.fixture
def output(tmp_path: Path) -> Iterator[run.Output]:
    """One whose first two photos are published, and whose third is not yet."""
    made = run.Output(tmp_path / "out.json")
    for lines in ('{"image_id": 1}', '{"image_id": 2}'):
        made.due = 0.0
        made.add(lambda lines=lines: lines)
    made.due = float("inf")
    made.add(lambda: '{"image_id": 3}')
    yield made
    made.file.close()


def ids(path: Path) -> list[int]:
    return [row["image_id"] for row in json.loads(path.read_text())]


@pytest.mark.parametrize("step", ["publish", "close"])
def test_a_run_that_is_killed_before_it_renames_leaves_what_was_published(
    output: run.Output, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed: list[tuple[str, list[int]]] = []

    def killed(path: Path, target: Path) -> Path:
        renamed.append((path.name, ids(path)))
        assert target == output.path
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        getattr(output, step)()
    assert ids(output.path) == [1, 2]
    assert renamed == [({"publish": "out.json.copy", "close": "out.json.partial"}[step], [1, 2, 3])]


@pytest.mark.parametrize(("step", "kept"), [("publish", ["out.json", "out.json.partial"]), ("close", ["out.json"])])
def test_a_file_that_cannot_be_replaced_is_written_over(
    output: run.Output, step: str, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise OSError("a mount point")

    monkeypatch.setattr(Path, "replace", refuse)
    getattr(output, step)()
    assert ids(output.path) == [1, 2, 3]
    assert sorted(path.name for path in output.path.parent.iterdir()) == kept


@pytest.fixture
def photos(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, Path]:
    """Three photos, and run.py beside models."""
    monkeypatch.setattr(run, "__file__", str(place.runs / "run.py"))
    paths = {i: tmp_path / f"{i}.jpg" for i in (1, 2, 3)}
    for path in paths.values():
        Image.new("RGB", (96, 64)).save(path)
    return paths


def test_a_photo_whose_lines_cannot_be_made_costs_itself_and_is_told(
    photos: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are made by the thread that writes, beside the work on the next photo."""
    lines, threads = run.lines, set[int]()

    def broken(image_id: int, rows: list[dict[str, Any]]) -> str:
        threads.add(threading.get_ident())
        if image_id == 2:
            raise MemoryError
        return lines(image_id, rows)

    monkeypatch.setattr(run, "lines", broken)
    run.process(photos, tmp_path / "out.json")
    assert set(ids(tmp_path / "out.json")) == {1, 3} and threading.get_ident() not in threads
    assert [note for note in caplog.messages if note.startswith("error: ")] == ["error: 2.jpg: no predictions: MemoryError()"]


def test_a_gate_that_fails_is_told_for_each_photo_and_costs_the_names_only(
    photos: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pipeline, "decide", broken)
    run.process(photos, tmp_path / "out.json")
    assert set(ids(tmp_path / "out.json")) == {1, 2, 3}
    assert [note for note in caplog.messages if note.startswith("error: ")] == ["error: gate: MemoryError()"] * 3
