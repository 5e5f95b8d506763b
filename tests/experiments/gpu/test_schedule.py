"""Checks that fail, die, hang or have no time cost themselves alone, and what was measured before is kept."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.figures import records
from experiments.figures.records import Estimate, Measured
from experiments.gpu import one_process, schedule
from experiments.gpu.scale import TINY, Check, Work


def figure(name: str) -> Measured:
    return Measured(f"gpu.{name}", Estimate(1.0, 1), "s", "one run, so no interval")


def good(work: Work) -> Iterator[Measured]:
    yield figure("good")


def broken(work: Work) -> Iterator[Measured]:
    yield figure("broken")
    raise ValueError("two\nlines")


def dies(work: Work) -> Iterator[Measured]:
    yield figure("dies")
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(work: Work) -> Iterator[Measured]:
    child = subprocess.Popen(["sleep", "300"])
    (work.out / "child").write_text(str(child.pid))
    yield figure("hangs")
    time.sleep(300)


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing heavy is loaded for these checks, and no figure goes into the checkout."""
    monkeypatch.setattr(one_process, "PRELOADED", ["experiments.gpu.schedule"])
    monkeypatch.setattr(schedule.record, "machine", lambda: "a machine")
    monkeypatch.setattr(records.record, "machine", lambda: "a machine")
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")


def run(checks: list[Check], out: Path, seconds: float = 60.0, to_results: bool = False) -> tuple[dict[str, str], list[str]]:
    """How the checks ended, and the lines that were said."""
    work, lines = Work(out, TINY, rehearsed=False), list[str]()
    return schedule.run_all(checks, work, seconds, schedule.Kept(work, "command", to_results), lines.append), lines


def keys(out: Path) -> list[str]:
    return [row["key"] for row in json.loads((out / schedule.FIGURES).read_text())]


def test_no_checks_end_in_nothing(tmp_path: Path) -> None:
    assert run([], tmp_path / "out") == ({}, [])


def test_a_check_that_fails_or_dies_is_told_and_the_next_begins(tmp_path: Path) -> None:
    checks = [Check("broken", broken, 1), Check("dies", dies, 1), Check("good", good, 1)]
    ended, lines = run(checks, tmp_path / "out", to_results=True)
    assert ended["broken"].endswith("s: ValueError: two lines")
    assert ended["dies"].endswith("s: its process died with exit code -9")
    assert ended["good"] == "passed"
    assert keys(tmp_path / "out") == ["gpu.broken", "gpu.dies", "gpu.good"]
    assert {row["key"] for row in json.loads((tmp_path / "results" / "gpu.json").read_text())} == set(keys(tmp_path / "out"))
    assert any(line.startswith("check 2/3 dies: failed after") for line in lines)
    assert "ValueError: two" in (tmp_path / "out" / "logs" / "broken.log").read_text()


@pytest.mark.slow
def test_a_check_that_hangs_is_cut_with_all_that_it_began(tmp_path: Path) -> None:
    ended, _ = run([Check("hangs", hangs, 0), Check("good", good, 1)], tmp_path / "out", seconds=8.0)
    assert "stopped after 8 s: no time left" in ended["hangs"]
    assert ended["good"] == "skipped: takes about 1 s, 0 s are left"
    assert keys(tmp_path / "out") == ["gpu.hangs"]
    child = Path("/proc") / (tmp_path / "out" / "child").read_text()
    assert not child.exists() or "(sleep) Z" in (child / "stat").read_text()


@pytest.mark.slow
def test_started_again_it_does_what_has_not_passed(tmp_path: Path) -> None:
    checks = [Check("good", good, 1), Check("broken", broken, 100)]
    first, _ = run(checks, tmp_path / "out", seconds=30.0)
    assert first["good"] == "passed" and first["broken"].startswith("skipped: takes about 100 s, ")
    second, lines = run(checks, tmp_path / "out", seconds=200.0)
    assert lines[0] == "check 1/2 good: passed before, not repeated"
    assert second["broken"].startswith("failed after")


def test_figures_of_another_machine_are_not_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run([Check("good", good, 1)], tmp_path / "out")
    monkeypatch.setattr(schedule.record, "machine", lambda: "another machine")
    with pytest.raises(ValueError, match=r"--out: .*a machine.*not .*another machine.*; take another --out"):
        run([Check("good", good, 1)], tmp_path / "out")
