"""A training that was stopped and goes on has taken the time of both starts, by a clock of the test's own."""

import json
from pathlib import Path

import pytest

from runs import record
from runs.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock shows; to be changed."""
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


def test_the_time_of_every_start_counts(clock: list[float], tmp_path: Path) -> None:
    for resume, spent in ((False, 60.0), (True, 180.0), (True, 300.0)):
        watch = Stopwatch(tmp_path, resume)
        clock[0] += 60 if not resume else 120
        assert watch.seconds == spent
        record.note(tmp_path, "epoch", watch.seconds)
        clock[0] += 5000  # after it was killed
    assert Stopwatch(tmp_path, resume=False).seconds == 0


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(None, id="nothing"),
        pytest.param("", id="an empty file"),
        pytest.param(json.dumps({"line": "epoch", "at": 9.0}), id="of an earlier version"),
        pytest.param(json.dumps({"spent": None}), id="no number"),
    ],
)
def test_a_start_that_told_no_time_counts_as_none(clock: list[float], tmp_path: Path, left: str | None) -> None:
    if left is not None:
        (tmp_path / "progress.json").write_text(left)
    assert Stopwatch(tmp_path, resume=True).seconds == 0
