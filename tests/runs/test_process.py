"""The process that makes a run: a killed one is stopped at once, a second one is refused, another machine's is not known."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runs import process, record, status

ROOT = Path(__file__).resolve().parents[2]
TRAINING = "import sys, time; from pathlib import Path; from runs import record; " \
           "record.begin(Path(sys.argv[1]), {}, False); print('begun', flush=True); time.sleep(60)"  # fmt: skip
pytestmark = pytest.mark.skipif(process.identity(os.getpid()) is None, reason="this system has no /proc")


def state(out: Path, minutes_later: float = 0.0) -> str:
    return status.row(out, out.parent, time.time() + 60 * minutes_later).state


def test_a_killed_training_is_stopped_at_once_and_a_second_one_is_refused_before(tmp_path: Path) -> None:
    out = tmp_path / "R" / "one"
    words = [sys.executable, "-c", TRAINING, str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}) as training:
        assert training.stdout is not None and training.stdout.readline() == "begun\n"
        assert state(out) == state(out, 2 * status.QUIET) == "running"
        for force in (True, False):
            with pytest.raises(ValueError, match=rf"one: process {training.pid} is making it; wait until it is done"):
                record.refuse_unfinished(out, False, force)
        training.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, training.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as long as nobody asks how it ended
        assert state(out) == "stopped"
    assert state(out) == "stopped"
    record.refuse_unfinished(out, False, False)


def test_a_resumed_training_runs(tmp_path: Path) -> None:
    record.begin(tmp_path, {"lr": 1}, False)
    noted = json.loads((tmp_path / process.NAME).read_text())
    (tmp_path / process.NAME).write_text(json.dumps(noted | {"pid": 1, "started": 0}))
    assert state(tmp_path) == "stopped"
    record.begin(tmp_path, {"lr": 1}, True)
    assert state(tmp_path) == "running"
    record.refuse_unfinished(tmp_path, False, False)  # by itself


def test_a_number_that_another_process_has_now_is_not_the_trainings(tmp_path: Path) -> None:
    record.begin(tmp_path, {}, False)
    noted = json.loads((tmp_path / process.NAME).read_text())
    (tmp_path / process.NAME).write_text(json.dumps(noted | {"started": noted["started"] - 1}))
    assert process.is_alive(tmp_path) is False


def test_of_another_machine_only_the_time_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record.begin(tmp_path, {}, False)
    noted = json.loads((tmp_path / process.NAME).read_text())
    (tmp_path / process.NAME).write_text(json.dumps(noted | {"machine": "another"}))
    assert process.is_alive(tmp_path) is None
    assert state(tmp_path) == "running" and state(tmp_path, 2 * status.QUIET) == "stopped"
    monkeypatch.setattr(process, "PROC", tmp_path)
    record.begin(tmp_path, {}, False)
    assert process.is_alive(tmp_path) is None and not (tmp_path / process.NAME).exists()


@pytest.mark.parametrize("left", ["", "{", "[]", "{}"])
def test_a_damaged_file_tells_nothing(tmp_path: Path, left: str) -> None:
    """As a loss of power leaves it: nothing may be refused for it, with an error that names no remedy."""
    record.begin(tmp_path, {}, False)
    (tmp_path / process.NAME).write_text(left)
    assert process.is_alive(tmp_path) is None and process.other(tmp_path) is None
    process.refuse_second(tmp_path)
    assert state(tmp_path) == "running" and state(tmp_path, 2 * status.QUIET) == "stopped"
    (tmp_path / "progress.json").write_text(left)
    assert status.row(tmp_path, tmp_path.parent, time.time()).last_line == "begun, no epoch done"
