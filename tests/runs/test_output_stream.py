"""What a command prints that nobody reads, or that no disk takes: an exit code and at most one line, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runs.record import ROOT

FULL = Path("/dev/full")
SPEAKING = """
import sys
from runs.command import note_result, run, say
def body(words, prog):
    note_result(made=1)
    if "printed" in words:
        print("x" * 10)
    for _ in range(9 if "said" in words else 0):
        say("one")
    if "failed" in words:
        raise ValueError("--size: got 3")
sys.exit(run(body, sys.argv[1:], "speak"))
"""


def spoken(out: int, *words: str, err: int = subprocess.PIPE, unbuffered: str = "") -> tuple[int, str]:
    """The exit code, and what stderr tells, of a command whose stdout is `out`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-c", SPEAKING, *words]
    done = subprocess.run(command, stdout=out, stderr=err, text=True, check=False, cwd=ROOT, env=environment)
    return done.returncode, done.stderr


def unread() -> int:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["said", "printed", "--json"])
def test_a_reader_that_has_gone_is_no_mistake(words: str, unbuffered: str) -> None:
    pipe = unread()
    assert spoken(pipe, words, unbuffered=unbuffered) == (141, "")
    assert spoken(pipe, words, "failed", err=pipe, unbuffered=unbuffered)[0] == 141
    os.close(pipe)


def test_a_mistake_is_told_though_nobody_reads_the_rest() -> None:
    pipe = unread()
    assert spoken(pipe, "failed") == (2, "error: --size: got 3\n")
    os.close(pipe)


@pytest.mark.skipif(not FULL.exists(), reason="there is no full device here")
@pytest.mark.parametrize("words", ["said", "printed", "--json"])
def test_a_full_disk_is_one_line(words: str) -> None:
    with FULL.open("wb") as full:
        told = "error: what is printed cannot be written: No space left on device\n"
        assert spoken(full.fileno(), words) == (2, told)
        assert spoken(full.fileno(), words, "failed", err=full.fileno())[0] == 2
