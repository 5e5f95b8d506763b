"""Work beside the models: made ahead or done aside, in its order; what fails is raised where it is asked for."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import until

from fusion.reading import Aside, one_ahead


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=lambda e: type(e).__name__)
def test_where_no_thread_can_be_started_all_is_done_in_turn(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def submit(*_: object) -> object:
        raise error

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    assert list(one_ahead(iter([1, 2, 3]))) == [1, 2, 3]
    with Aside() as aside:
        number, failing = aside(int, "7"), aside(int, "x")
    assert number() == 7
    with pytest.raises(ValueError, match="invalid literal"):
        failing()


def test_a_thread_that_could_not_be_started_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def start(*_: object) -> None:
        started.append(1)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done: list[int] = []
    with Aside() as aside:
        for k in range(3):
            aside(done.append, k)
    assert (done, len(started)) == ([0, 1, 2], 1)


def test_what_is_done_aside_goes_on_beside_the_caller_one_piece_at_a_time() -> None:
    gate, done = threading.Event(), []
    with Aside() as aside:
        first = aside(lambda: (gate.wait(9), done.append(1)))
        assert done == []  # the caller went on
        threading.Timer(0.05, gate.set).start()
        aside(done.append, 2)  # waits for the first
        assert done[0] == 1
        first()
        aside(lambda: (time.sleep(0.02), done.append(3)))
    assert done == [1, 2, 3]  # leaving waits for the last


def test_one_is_made_ahead() -> None:
    assert list(one_ahead(iter([]))) == []
    made: list[int] = []
    threads: list[bool] = []

    def items() -> Iterator[int]:
        for k in range(5):
            threads.append(threading.current_thread() is threading.main_thread())
            made.append(k)
            yield k

    coming = one_ahead(items())
    assert next(coming) == 0 and until(lambda: len(made) == 2)
    time.sleep(0.01)
    assert made == [0, 1]
    assert list(coming) == [1, 2, 3, 4]
    assert threads == [True] + [False] * 4  # nothing goes on beside the first


def test_what_fails_ahead_is_raised_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise MemoryError

    coming = one_ahead(items())
    assert next(coming) == 1
    with pytest.raises(MemoryError):
        next(coming)
