"""The file of predictions: whole at every moment, also where the run is killed while it replaces it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from place import Place

from fusion import pipeline
from submission import run, supervision


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


def test_output_is_whole_after_every_photo_and_replaces_a_former_one(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    output, seen = run.Output(tmp_path / "out.json"), []
    assert (tmp_path / "out.json").read_text() == "old"
    for lines in ("", '{"image_id": 1},\n{"image_id": 2}', "", '{"image_id": 3}'):
        output.due = 0.0
        output.add(lambda lines=lines: lines)
        seen.append([row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())])
    assert seen == [[], [1, 2], [1, 2], [1, 2, 3]]
    output.close()
    assert json.loads((tmp_path / "out.json").read_text()) == [{"image_id": i} for i in (1, 2, 3)]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("before", [[], ['{"image_id": 1}']], ids=["the first photo", "a later one"])
def test_output_is_whole_where_a_photo_does_not_fit_on_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: list[str]
) -> None:
    output = run.Output(tmp_path / "out.json")
    for line in before:
        output.add(lambda line=line: line)
    plain, output.file = output.file, SimpleNamespace(
        seek=output.file.seek, truncate=output.file.truncate, close=output.file.close,
        write=lambda data: plain.write(data[:20]),
    )  # fmt: skip
    output.add(lambda: '{"image_id": 2, "category_id": 7}')
    assert caplog.messages == ["error: out.json: OSError('no space left')"]
    assert json.loads(output.gathering.read_text()) == [json.loads(line) for line in before]
    output.close()
    assert json.loads((tmp_path / "out.json").read_text()) == [json.loads(line) for line in before]


def test_memory_is_told_in_megabytes_of_a_million_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t 8000000 kB\nVmRSS:\t 1000000 kB\n")
    for module in (run, supervision):
        monkeypatch.setattr(module, "Path", lambda path: tmp_path / "status")
    assert run.peak_mb() == 8192.0
    assert supervision._memory_mb(1) == (1024.0, 8192.0)


def test_keeping_the_output_whole_takes_its_share_of_the_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, copies = [0.0], []

    def copying() -> None:
        copies.append(now[0])
        now[0] += 0.5

    monkeypatch.setattr(run.time, "monotonic", lambda: now[0])
    output = run.Output(tmp_path / "out.json")
    monkeypatch.setattr(output, "publish", copying)
    for _ in range(100):
        now[0] += 1
        output.add(str)
    assert copies[:2] == [1.0, 51.5]  # the first at once and for 0.5 s, the next 0.5 s / 1 % after it
    assert 0.5 * len(copies) / now[0] < 0.02
    output.close()
