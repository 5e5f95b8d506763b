"""The file of predictions: whole at every moment, also where the run is killed while it replaces it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

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
