"""Tables and manifest: whole or not at all, of one run only."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from synced_files import synced_contents

from runs import identity, process

pq = pytest.importorskip("pyarrow.parquet", reason="the extra [scale] is not installed")
from scaling.destination import SCHEMAS, Destination  # noqa: E402
from scaling.listing import Part  # noqa: E402

PART = Part(3, ("a.jpg", "b.jpg"))
BOX = {"photo": "a.jpg", "x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "category_id": 7, "category_name": "te", "score": 0.5}
PHOTO = {"photo": "a.jpg", "width": 8, "height": 9, "boxes": 1, "seconds": 0.1}
DEAD = {"photo": "b.jpg", "reason": "empty", "detail": "0 bytes"}
TABLES: dict[str, list[dict[str, Any]]] = {"boxes": [BOX], "photos": [PHOTO], "dead_letters": [DEAD]}
JOB = {"model": "1", "photos": "2"}


@pytest.fixture(params=["local", "object store"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    return Destination(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out")


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        Destination(str(tmp_path)).write("job.json", b"{}")
    assert raised.value.filename == str(tmp_path / "job.json")


def test_a_part_without_boxes_has_all_tables_with_all_columns(out: Destination) -> None:
    out.finish(Part(0, ()), {table: [] for table in SCHEMAS})
    assert out.finished() == {0: {"part": 0, "photos": 0, "boxes": 0, "dead_letters": {}}}


def test_a_finished_part_is_in_the_manifest_and_its_rows_in_the_tables(tmp_path: Path) -> None:
    out = Destination(str(tmp_path))
    entry = out.finish(PART, TABLES)
    assert out.finished() == {3: entry} and entry["dead_letters"] == {"empty": 1}
    for table, schema in SCHEMAS.items():
        read = pq.ParquetFile(tmp_path / table / "part=000003" / f"{table}.parquet").read()
        assert read.schema == schema
        assert [{k: row[k] for k in TABLES[table][0]} for row in read.to_pylist()] == TABLES[table]
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_part_done_twice_is_there_once(out: Destination) -> None:
    assert out.finish(PART, TABLES) == out.finish(PART, TABLES)
    assert len(out.finished()) == 1


@pytest.mark.parametrize("photos", [[], [PHOTO, PHOTO], [PHOTO | {"photo": "c.jpg"}]], ids=["lost", "twice", "another"])
def test_a_part_that_does_not_account_for_its_photos_is_not_written(out: Destination, photos: list[Any]) -> None:
    with pytest.raises(ValueError, match="must account for each of 2 photos once"):
        out.finish(PART, TABLES | {"photos": photos})
    assert out.finished() == {}


def test_a_part_whose_table_is_gone_is_not_finished(tmp_path: Path) -> None:
    out = Destination(str(tmp_path))
    out.finish(PART, TABLES)
    (tmp_path / "boxes" / "part=000003" / "boxes.parquet").unlink()
    assert out.finished() == {}


def test_a_part_that_was_killed_before_its_manifest_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, replace, done = Destination(str(tmp_path)), Path.replace, []

    def killed(path: Path, target: Path) -> Path:
        done.append(target)
        if len(done) == 3:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        out.finish(PART, TABLES)
    monkeypatch.undo()
    assert out.finished() == {} and out.clear_unfinished() == 1
    out.finish(PART, TABLES)
    assert set(out.finished()) == {3}


def test_the_same_run_goes_on_and_another_is_refused(out: Destination) -> None:
    out.claim(JOB)
    out.claim(JOB)
    with pytest.raises(ValueError, match="made from something else: model 1, now 9;"):
        out.claim(JOB | {"model": "9"})


def test_two_calls_at_once_are_refused_where_the_folder_is_local(out: Destination) -> None:
    with out.alone():
        out.claim(JOB)
        assert out.finished() == {}
    if not out.uri.startswith("memory:"):
        other = json.dumps(identity.of_process(os.getppid()))
        (Path(out.uri) / process.NAME).write_text(other)
        with pytest.raises(ValueError, match=f"process {os.getppid()} writes to it; wait until it is done"), out.alone():
            pytest.fail("two calls write to one folder")
        assert (Path(out.uri) / process.NAME).read_text() == other
        out.claim(JOB)


def test_a_damaged_record_is_told_and_not_taken_for_none(tmp_path: Path) -> None:
    out = Destination(str(tmp_path))
    out.claim(JOB)
    out.finish(PART, TABLES)
    for damage in ("", "{", "[]", "{}"):
        (tmp_path / "manifest" / "part=000003.json").write_text(damage)
        with pytest.raises(ValueError, match=r"manifest/part=000003\.json is damaged; remove it"):
            out.finished()
        (tmp_path / "job.json").write_text(damage)
        with pytest.raises(ValueError, match=r"job\.json is damaged"):
            out.claim(JOB)


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no job\.json"):
        Destination(str(tmp_path)).claim(JOB)
    with pytest.raises(ValueError, match="got a file"):
        Destination(str(tmp_path / "holiday.jpg")).claim(JOB)


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a machine that loses power would keep a manifest of tables that it lost."""
    synced, replace, renamed = synced_contents(monkeypatch), Path.replace, list[list[bytes]]()

    def renaming(path: Path, target: Path) -> Path:
        renamed.append(list(synced))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", renaming)
    Destination(str(tmp_path)).write("manifest/part=000003.json", b"{}")
    assert renamed == [[b"{}"]]
