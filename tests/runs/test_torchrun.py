"""Which commands torchrun may start several processes of; every other one ends before it writes."""

from pathlib import Path

import pytest

from hylle.verbs import VERBS
from runs.command import MISTAKE, run
from runs.torchrun import is_torchrun

SHARED = ("train-detector", "train-classifier", "distill")


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        pytest.param({}, False, id="no torchrun"),
        pytest.param({"RANK": "0"}, False, id="a rank alone"),
        pytest.param({"WORLD_SIZE": "2"}, False, id="a count alone"),
        pytest.param({"RANK": "0", "WORLD_SIZE": "1"}, False, id="torchrun of one"),
        pytest.param({"RANK": "1", "WORLD_SIZE": "2"}, True, id="torchrun of two"),
    ],
)
def test_the_environment_says_whether_there_are_several(
    environment: dict[str, str], several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_torchrun() is several


def test_a_count_of_processes_that_is_none_is_one_line(
    second_of_two: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    assert run(lambda words: 0, []) == MISTAKE
    assert capsys.readouterr().err.startswith("error: WORLD_SIZE: got 'two', must be a number of processes")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in SHARED])
def test_a_verb_of_one_process_is_refused_before_its_arguments_are_read(
    verb: str, second_of_two: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert VERBS[verb].main(["--help"]) == MISTAKE
    out, err = capsys.readouterr()
    assert err.startswith(f"error: hylle {verb}: got 2 processes of torchrun, must be one") and err.count("\n") == 1 and not out


@pytest.mark.parametrize("verb", SHARED)
def test_a_training_is_not(verb: str, second_of_two: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        VERBS[verb].main(["--help"])
    assert "torchrun" not in capsys.readouterr().err


def test_a_refused_command_does_nothing(second_of_two: None, tmp_path: Path) -> None:
    assert run(lambda words: (tmp_path / "R").mkdir(), []) == MISTAKE
    assert not list(tmp_path.iterdir())
