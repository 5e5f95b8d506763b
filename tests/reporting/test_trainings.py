"""What a run.json tells of its training."""

import pytest

from reporting.trainings import training


@pytest.mark.parametrize(
    ("metrics", "epochs"),
    [
        pytest.param({}, 8, id="of an earlier version, which records none"),
        pytest.param({"epochs": 8}, 8, id="as asked for"),
        pytest.param({"epochs": 120}, 120, id="more, as the steps were to be a number"),
    ],
)
def test_the_epochs_are_those_that_were_done(metrics: dict, epochs: int) -> None:
    told = training("one", "finds products", {"settings": {"epochs": 8, "size": 640}, "metrics": metrics | {"minutes": 2.5}})
    assert (told.epochs, told.minutes, told.size) == (epochs, 2.5, 640)


def test_a_run_without_a_word() -> None:
    assert training("one", "finds products", {})[3:6] == (0, 0, None)
