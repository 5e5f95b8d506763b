"""The process that makes a run: a killed one is stopped at once, a second one is refused, another machine's is not known."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

import pytest

from runs import identity, process, record, status

ROOT = Path(__file__).resolve().parents[2]
TRAINING = "import sys, time; from pathlib import Path; from runs import record; " \
           "record.begin(Path(sys.argv[1]), {}, False); print('begun', flush=True); time.sleep(60)"  # fmt: skip
pytestmark = pytest.mark.skipif(identity.of_process(os.getpid()) is None, reason="this system has no /proc")


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
    monkeypatch.setattr(identity, "PROC", tmp_path)
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


# -- several at once -------------------------------------------------------------------------------------------------------

CLAIMERS, FOLDERS = 4, 40


def claim_each(folders: list[Path], at_once: Barrier, won: "Queue[list[str]]") -> None:
    """Claim each folder when all do; tell which were won, and stay alive until all have claimed."""
    names = []
    for folder in folders:
        at_once.wait(30)
        with suppress(ValueError):
            process.claim(folder)
            names.append(folder.name)
    won.put(names)
    at_once.wait(30)


def test_of_several_that_claim_a_folder_at_once_one_wins(tmp_path: Path) -> None:
    """Folders that are not there yet, and such as a killed process has left."""
    dead = {"pid": os.getpid(), "started": 0, "machine": identity.of_process(os.getpid())["machine"]}  # type: ignore[index]
    folders = [tmp_path / str(i) for i in range(FOLDERS)]
    for folder in folders[::2]:
        folder.mkdir()
        (folder / process.NAME).write_text(json.dumps(dead))
    context = multiprocessing.get_context("spawn")
    at_once, won = context.Barrier(CLAIMERS), context.Queue()
    claimers = [context.Process(target=claim_each, args=(folders, at_once, won)) for _ in range(CLAIMERS)]
    for claimer in claimers:
        claimer.start()
    winners = [name for _ in claimers for name in won.get(timeout=60)]
    for claimer in claimers:
        claimer.join(30)
    assert sorted(winners, key=int) == [folder.name for folder in folders]


def note_of(pid: int) -> str:
    return json.dumps(identity.of_process(pid))


def test_only_ones_own_claim_is_released(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with process.claimed(out):
        process.claim(out)  # its own
        (out / process.NAME).write_text(note_of(os.getppid()))  # as from another machine, where this one is not known
    assert process.other(out) == os.getppid()
    with pytest.raises(ValueError, match=f"out: process {os.getppid()} is making it"):
        process.claim(out)
    (out / process.NAME).unlink()
    with process.claimed(out):
        assert (out / process.NAME).is_file()
    assert list(out.iterdir()) == []


def test_an_empty_folder_goes_again_only_where_the_claim_made_it(tmp_path: Path) -> None:
    own, users = tmp_path / "a" / "b", tmp_path / "users"
    users.mkdir()
    for out in (own, users):
        process.claim(out)
        process.claim(out)  # a step of the same command
        process.release(out)
    assert [path.name for path in tmp_path.iterdir()] == ["users"]


def test_what_is_refused_before_it_begins_leaves_a_stopped_run_stopped(tmp_path: Path) -> None:
    record.begin(tmp_path, {}, False)
    noted = json.loads((tmp_path / process.NAME).read_text()) | {"started": 0}
    (tmp_path / process.NAME).write_text(json.dumps(noted))
    with pytest.raises(ZeroDivisionError), record.beginning(tmp_path, False, False):
        assert state(tmp_path) == "running"
        raise ZeroDivisionError
    assert state(tmp_path) == "stopped"
    with record.beginning(tmp_path, False, False):
        record.begin(tmp_path, {}, False)
    assert state(tmp_path) == "running"


def test_a_run_that_another_process_has_begun_meanwhile_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"of the other")
    (tmp_path / process.NAME).write_text(note_of(os.getppid()))
    with pytest.raises(ValueError, match="is making it"):
        record.begin(tmp_path, {}, False)
    assert (tmp_path / "model.onnx").is_file() and not (tmp_path / "begun.json").exists()


def test_of_several_processes_of_one_training_the_main_one_claims_when_all_have_looked(tmp_path: Path) -> None:
    """Else the main one would be another process to those that look later."""
    told = list[bool]()

    class Other(NamedTuple):
        is_main: bool

        def all_gather(self, value: object) -> None:
            told.append((tmp_path / process.NAME).exists())

    for is_main in (False, True):
        with record.beginning(tmp_path, False, False, Other(is_main)):  # type: ignore[arg-type]
            assert (tmp_path / process.NAME).exists() == is_main
    assert told == [False, False]
