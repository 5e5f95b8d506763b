"""Every zip that would die or score 0 is told, in lines of their own and without a traceback; good ones pass."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.performance import checker
from experiments.performance.bad_zips import with_zeros
from runs.record import ROOT
from submission import build
from submission.judge_machine import is_set_up


@pytest.mark.slow
@pytest.mark.parametrize("kinds", ["bad", "archive"])
def test_every_bad_zip_is_told(kinds: str, runs: Path, tmp_path: Path) -> None:
    told = {name: checker.told(path, False) for name, path in checker.zips(build.collect(runs), tmp_path, kinds)}
    assert [name for name, lines in told.items() if not lines] == []
    assert [line for lines in told.values() for line in lines if "\n" in line or len(line) > 600] == []


def test_every_good_zip_passes(runs: Path, tmp_path: Path) -> None:
    told = {name: checker.told(path, False) for name, path in checker.zips(build.collect(runs), tmp_path, "good")}
    assert {name: lines for name, lines in told.items() if lines} == {}
    assert len(told) >= 10


def test_the_constant_models_of_the_command_are_good(tmp_path: Path) -> None:
    files = build.collect(checker.constant_runs(tmp_path / "runs"))
    (path,) = (path for name, path in checker.zips(files, tmp_path, "good") if name == "as built")
    assert checker.told(path, False) == []


@pytest.mark.slow
@pytest.mark.skipif(not is_set_up(), reason="no .judge environment here; make test sets it up")
def test_what_shows_only_when_it_runs_is_told(runs: Path, tmp_path: Path) -> None:
    files = build.collect(runs)
    told = {name: checker.told(path, True) for name, path in checker.zips(files, tmp_path, "run")}
    assert [name for name, lines in told.items() if not lines] == []
    good = {name: checker.told(path, True) for name, path in checker.zips(files, tmp_path, "good")}
    assert {name: lines for name, lines in good.items() if lines} == {}


@pytest.mark.slow
def test_a_small_zip_of_large_files_takes_little_memory(runs: Path, tmp_path: Path) -> None:
    """583 kB took 839 MB."""
    path = tmp_path / "a.zip"
    build.write(build.collect(runs), path)
    with_zeros("a.json", 400)(path)
    assert path.stat().st_size < 10**6
    code = "import re, sys\nfrom submission.check import main\ncode = main([sys.argv[1], '--no-run'])\n"
    code += "print(code, re.search(r'VmHWM:\\s+([0-9]+)', open('/proc/self/status').read())[1])"  # of this program alone
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT, check=True)
    exit_code, kilobytes = done.stdout.split()[-2:]
    assert exit_code == "1" and int(kilobytes) < 300_000, done.stdout
