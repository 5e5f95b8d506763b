"""A checkpoint that cannot be written is an error that says why, and leaves the one before it."""

from pathlib import Path

import pytest
import torch

from runs import atomic_write, checkpoint, record
from runs.command import MISTAKE, run

FULL = Path("/dev/full")  # of Linux: every write to it fails as on a full disk


def on_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is written beside PATH go to a full disk."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.symlink_to(FULL)
    monkeypatch.setattr(atomic_write, "unfinished_path", lambda path: unfinished)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("write", [checkpoint.write, record.write_json], ids=["checkpoint", "JSON"])
def test_a_full_disk_is_one_line_that_names_the_file(write, tmp_path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    path, content = tmp_path / "last", {"config": [1, 2]}
    write(path, content)
    before = path.read_bytes()
    on_a_full_disk(path, monkeypatch)
    assert run(lambda words: write(path, content | {"names": list(range(10**5))}), []) == MISTAKE
    assert capsys.readouterr().err == f"error: {path}: No space left on device\n"
    assert path.read_bytes() == before


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "last.pt", {"config": {}, "names": ["a"], "network": {"weight": torch.ones(2)}})
    assert checkpoint.read(tmp_path / "last.pt", "--resume")["names"] == ["a"]
