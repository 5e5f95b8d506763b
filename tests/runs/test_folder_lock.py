"""A lock on a folder: one at a time, and on the folder that is there now."""

import multiprocessing
import threading
from pathlib import Path

from runs import fetched, folder_lock
from runs.folder_lock import locked


def test_one_at_a_time_is_in_the_block(tmp_path: Path) -> None:
    waiting, entered = threading.Event(), threading.Event()

    def second() -> None:
        waiting.set()
        with locked(tmp_path / "new"):
            entered.set()

    with locked(tmp_path / "new"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(20) and not entered.wait(0.2)
    thread.join(20)
    assert entered.is_set()


def test_a_folder_that_was_removed_while_one_waited_is_made_anew(tmp_path: Path) -> None:
    """Else two would be in the block: one has the lock of the old folder, one that of the new."""
    entered = list[bool]()

    def second() -> None:
        with locked(tmp_path / "out"):
            entered.append((tmp_path / "out").is_dir())

    with locked(tmp_path / "out"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        (tmp_path / "out").rmdir()
    thread.join(20)
    assert entered == [True]


def test_without_locks_nobody_waits(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(folder_lock, "fcntl", None)
    with locked(tmp_path), locked(tmp_path):
        pass


def note_many(record: Path, folder: Path, number: int) -> None:
    """Note 20 files as fetched, in the file RECORD."""
    fetched.record_file = lambda: record
    for i in range(20):
        path = folder / f"{number}_{i}.pt"
        path.write_bytes(b"weights")
        fetched.note("net", path, "0" * 64)


def test_what_two_processes_note_of_fetched_files_at_once_is_all_kept(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    record, context = tmp_path / "cache" / "fetched.json", multiprocessing.get_context("spawn")
    noting = [context.Process(target=note_many, args=(record, tmp_path, number)) for number in range(2)]
    for process in noting:
        process.start()
    for process in noting:
        process.join(60)
    monkeypatch.setattr(fetched, "record_file", lambda: record)
    assert [process.exitcode for process in noting] == [0, 0] and len(fetched.rows()) == 40
