"""The command under supervision ends with who supervises it, however that ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_zip import NAMESPACES
from waiting import until

from runs import identity
from runs.record import ROOT

BODY = """
import sys, tempfile
from pathlib import Path
from runs.command import run
from submission import isolation
from submission.judge_machine import Limits
from submission.supervision import Command, supervise

def body(words, prog):
    with tempfile.TemporaryDirectory(dir=words[0], prefix="unpacked") as name:
        place = isolation.Place(Path(name).resolve())
        for folder in (place.code, place.images, place.elsewhere, place.output):
            folder.mkdir(exist_ok=True)
        python = Path(sys.executable)
        prefix = isolation.isolated(place, python, False) if words[1] == "isolated" else []
        sleeper = [str(python), "-c", "import time; print('begun', flush=True); time.sleep(60)"]
        command = Command([*prefix, *sleeper], {}, place.elsewhere, place.output, Path(words[0]) / "log")
        supervise(command, Limits(seconds=60))

raise SystemExit(run(body, sys.argv[1:], "sleep"))
"""


@pytest.fixture(params=["bare", pytest.param("isolated", marks=pytest.mark.skipif(not NAMESPACES, reason="no namespaces"))])
def supervisor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """A command that supervises one that sleeps, which has begun."""
    words = [sys.executable, "-c", BODY, str(tmp_path), request.param]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        assert until(lambda: (tmp_path / "log").is_file() and "begun" in (tmp_path / "log").read_text())
        yield process
    finally:
        process.kill()
        process.communicate()


def sleepers(of: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children = [int(word) for word in Path(f"/proc/{of}/task/{of}/children").read_text().split()]
    return [*children, *(below for child in children for below in sleepers(child))]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no child that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_command_ends_with_its_supervisor(
    supervisor: "subprocess.Popen[str]", number: signal.Signals, tmp_path: Path
) -> None:
    started = sleepers(supervisor.pid)
    assert started and list(tmp_path.glob("unpacked*"))
    supervisor.send_signal(number)
    _, told = supervisor.communicate(timeout=20)
    assert until(lambda: not any(map(identity.of_process, started)))
    if number != signal.SIGKILL:  # after which nothing can be removed
        assert (supervisor.returncode, told) == (128 + number, f"stopped by {number.name}\n")
        assert not list(tmp_path.glob("unpacked*"))
