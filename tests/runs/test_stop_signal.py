"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it holds open is closed first."""

import os
import signal
import threading
from pathlib import Path

import pytest

from runs import stop_signal
from runs.command import run
from runs.stop_signal import SIGNALS, Stopped


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_is_left_in_order(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it called another one, and where a second signal comes before it is left."""
    left: list[str] = []

    def inner(words: list[str]) -> None:
        try:
            os.kill(os.getpid(), number)
        except Exception:  # what some libraries do
            left.append("caught")
        finally:
            os.kill(os.getpid(), number)
            left.append("inner")

    def outer(words: list[str]) -> None:
        run(inner, [])
        left.append("went on")

    assert run(outer, []) == 128 + number
    assert left == ["inner"] and capsys.readouterr().err == f"stopped by {number.name}\n"
    assert all(signal.getsignal(one) is signal.SIG_DFL for one in SIGNALS)


def test_what_is_ignored_stays_ignored() -> None:
    """As SIGHUP by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(lambda words: os.kill(os.getpid(), signal.SIGHUP), []) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_child_is_ended_as_by_default(tmp_path: Path) -> None:
    """It does not leave the blocks of its parent, as a worker of a training that is ended."""
    with stop_signal.raised():
        if not (child := os.fork()):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                (tmp_path / "left").touch()
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert not (tmp_path / "left").exists()


def test_another_thread_changes_nothing() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(lambda words: 3, [])))
    thread.start()
    thread.join()
    assert codes == [3] and str(Stopped(signal.SIGTERM)) == "stopped by SIGTERM"


def test_processes_of_torchrun_are_ended_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them may wait for the others in a call that no exception leaves."""
    monkeypatch.setenv("RANK", "0")
    found: list[object] = []
    run(lambda words: found.append(signal.getsignal(signal.SIGTERM)), [], distributed=True)
    assert found == [signal.SIG_DFL]
