"""How busy simulated workers were: without the start and the end, and noticed where they were not."""

import numpy as np
import pytest

from experiments.performance.sleeping_worker import SleepingWorker, busy


def slept(*rows: tuple[str, float, float]) -> list[dict]:
    return [{"worker": worker, "began": began, "ended": ended} for worker, began, ended in rows]


def test_without_parts_there_is_nothing_to_look_at() -> None:
    with pytest.raises(ValueError, match="0 parts: 0 of 2 workers"):
        busy([], 2)


def test_a_worker_that_never_had_a_part_is_noticed() -> None:
    with pytest.raises(ValueError, match="2 parts: 1 of 2 workers"):
        busy(slept(("a", 0, 1), ("a", 1, 2)), 2)


def test_parts_that_were_all_begun_before_the_last_worker_was_there_are_too_few() -> None:
    with pytest.raises(ValueError, match="give more parts"):
        busy(slept(("a", 0, 9), ("b", 5, 9)), 2)


def test_a_slow_start_and_the_end_do_not_count() -> None:
    rows = slept(("a", 0, 10), ("a", 10, 20), ("b", 15, 20), ("a", 20, 30), ("b", 20, 22))
    assert busy(rows, 2) == (1.0, 5.0)


@pytest.mark.parametrize("pause", [0.0, 0.5, 1.0])
def test_pauses_between_parts_count(pause: float) -> None:
    rows = slept(*((name, i * (1 + pause), i * (1 + pause) + 1) for name in "abc" for i in range(5)))
    assert busy(rows, 3).share == pytest.approx(1 / (1 + pause))


def test_a_part_sleeps_as_long_as_its_photos_were_measured_to_take() -> None:
    worker = SleepingWorker([0.001, 0.003])
    row = worker({"part": np.array([7]), "uris": np.array([["a"] * 20], object)})
    took = row["ended"][0] - row["began"][0]
    assert 0.02 <= took < 0.5 and row["worker"] == [worker.name]
    assert SleepingWorker([1.0]).name != worker.name
