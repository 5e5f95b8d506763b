"""Files are replaced together and only when all is written; what a kill left is not taken for new."""

import os
from pathlib import Path

import pytest

from runs.atomic_write import replacing


def test_new_files_replace_the_old_ones_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with replacing(tmp_path / "a", tmp_path / "b") as (a, b):
        a.write_text("new")
        b.write_text("new")
        assert (tmp_path / "a").read_text() == "old" and not (tmp_path / "b").exists()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}


def test_an_error_leaves_the_old_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as (a,):
        a.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "old"


def test_a_file_that_is_not_written_stays_and_what_a_kill_left_goes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a.part").write_text("half, from a kill")
    with replacing(tmp_path / "a"):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


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
    with replacing(tmp_path / "a", tmp_path / "b") as (a, _):
        a.write_text("new")
    assert done == ["sync a.part", "rename a.part", f"sync {tmp_path.name}"]
