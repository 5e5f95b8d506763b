"""Files are replaced together and only when all is written; what a kill left is not taken for new."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runs import atomic_write
from runs.atomic_write import replacing

WRITING = """import sys, time; from pathlib import Path; from runs.atomic_write import replacing
with replacing(Path(sys.argv[1])) as (unfinished,):
    unfinished.write_text("half")
    print("half", flush=True)
    time.sleep(60)"""


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_new_files_replace_the_old_ones_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with replacing(tmp_path / "a", tmp_path / "b") as (a, b):
        a.write_text("new")
        b.write_text("new")
        assert (tmp_path / "a").read_text() == "old" and not (tmp_path / "b").exists()
    assert contents(tmp_path) == {"a": "new", "b": "new"}


def test_an_error_leaves_the_old_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as (a,):
        a.write_text("half")
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"a": "old"}


def test_only_a_file_that_may_be_left_out_can_be_missing(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("old")
    with replacing(a, b, optional=[a]) as (_, unfinished):
        unfinished.write_text("new")
    assert contents(tmp_path) == {"a": "old", "b": "new"}
    with pytest.raises(FileNotFoundError), replacing(a, b) as (_, unfinished):
        unfinished.write_text("newer")
    assert contents(tmp_path) == {"a": "old", "b": "new"}


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WRITING, str(tmp_path / "a")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as writing:
        assert writing.stdout is not None and writing.stdout.readline() == "half\n"
        with replacing(tmp_path / "a") as (unfinished,):
            unfinished.write_text("new")
        assert sorted(contents(tmp_path).values()) == ["half", "new"]
        writing.kill()
    assert sorted(contents(tmp_path).values()) == ["half", "new"]
    atomic_write.remove_left.cache_clear()  # as another process has it
    with replacing(tmp_path / "b") as (unfinished,):
        unfinished.write_text("new")
    assert contents(tmp_path) == {"a": "new", "b": "new"}


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a machine that loses power may keep an empty file under the old name."""
    done = list[str]()
    sync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        sync(descriptor)

    def renamed(path: Path, to: Path) -> Path:
        done.append(f"rename {path.name}")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    with replacing(tmp_path / "a") as (a,):
        a.write_text("new")
    assert done == [f"sync {a.name}", f"rename {a.name}", f"sync {tmp_path.name}"]
