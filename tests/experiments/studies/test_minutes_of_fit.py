"""The study of a fit's minutes: the other way's epochs, the figures, and calls that are refused."""

import json
from pathlib import Path

import pytest

from experiments.studies import minutes_of_fit
from experiments.studies.minutes_of_fit import Result, figures, five_trainings, main, train_within
from photos.intervals import Interval
from tests.fitting.sets import CONTEST, FRIDGE, SPEEDS

SCORE, GAIN = Interval(0.8, 0.7, 0.9, 12), Interval(0.1, 0.02, 0.2, 12)


@pytest.mark.parametrize("pace", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("minutes", [20.0, 28.0])
def test_the_five_commands_are_cut_to_the_minutes_at_the_pace_that_they_have(minutes: float, pace: float) -> None:
    entries, now, epochs_of = five_trainings(CONTEST), [0.0], {}

    def train(name: str, epochs: int) -> None:
        epochs_of[name] = epochs
        now[0] += pace * next(entry for entry in entries if entry.name == name).seconds(SPEEDS, epochs)

    train_within(entries, SPEEDS, minutes * 60, train, lambda: now[0])
    assert list(epochs_of) == ["one", "all", "classifier_shelf"]
    assert all(1 < epochs_of[entry.name] < entry.full for entry in entries)
    assert 0.85 * minutes * 60 < now[0] < 1.02 * minutes * 60
    assert abs(epochs_of["one"] - epochs_of["all"]) <= 1 or pace != 1


def test_their_epochs_are_never_more_than_their_recipes() -> None:
    epochs_of: dict[str, int] = {}
    train_within(five_trainings(FRIDGE), SPEEDS, 1e6, epochs_of.__setitem__, iter(range(1, 99)).__next__)
    assert epochs_of == {"one": 300, "all": 300, "classifier_shelf": 200}


def test_five_commands_that_were_begun_before_are_not_timed(tmp_path: Path) -> None:
    (tmp_path / "five").mkdir()
    with pytest.raises(ValueError, match="begun before"):
        minutes_of_fit.by_five_commands(tmp_path, tmp_path, 45.0)


def test_the_figures_are_those_that_the_issue_names() -> None:
    rows = {
        row["key"]: row
        for row in figures({"tea": Result(SCORE, GAIN, 44.0, 43.0, 9), "oats": Result(SCORE, GAIN, 46.0, 43.0, 9)}, 45.0, "c")
    }
    assert set(rows) == {
        "fit.tea.score", "fit.tea.minus_five_commands", "fit.oats.score", "fit.oats.minus_five_commands",
        "fit.minutes_over_wanted",
    }  # fmt: skip
    assert rows["fit.minutes_over_wanted"]["value"] == pytest.approx(1.0)
    assert (rows["fit.tea.score"]["low"], rows["fit.tea.minus_five_commands"]["low"]) == (0.7, 0.02)
    assert "tea 0.978, oats 1.022" in rows["fit.minutes_over_wanted"]["setting"]


def test_a_single_set_has_no_interval_and_says_why() -> None:
    *_, last = figures({"tea": Result(SCORE, GAIN, 44.0, 43.0, 9)}, 45.0, "c")
    assert last["low"] is None and "no interval" in last["setting"]


def test_a_result_that_is_there_is_not_measured_again(tmp_path: Path) -> None:
    kept = {"wanted": 45.0, "minutes": 44.0, "minutes_of_five": 43.0, "photos": 9, "score": vars(SCORE), "gain": vars(GAIN)}
    (tmp_path / "result.json").write_text(json.dumps(kept))
    assert minutes_of_fit.one_set(tmp_path / "none", tmp_path, 45.0) == Result(SCORE, GAIN, 44.0, 43.0, 9)
    (tmp_path / "result.json").write_text(json.dumps(kept | {"commit": "1b909ee"}))
    later = minutes_of_fit.one_set(tmp_path / "none", tmp_path, 45.0)
    rows = list(figures({"tea": later}, 45.0, "c"))
    assert all("found at commit 1b909ee" in row["setting"] for row in rows[:2])


def test_a_fit_that_was_begun_before_is_not_timed(tmp_path: Path) -> None:
    (tmp_path / "plan.json").touch()
    with pytest.raises(ValueError, match="begun before"):
        minutes_of_fit.by_fit(tmp_path, tmp_path, 45.0)


def test_a_set_without_a_name_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "must be NAME=FOLDER" in capsys.readouterr().err


def test_models_that_both_ways_have_trained_are_kept_and_their_gates_fitted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, Path]] = []
    monkeypatch.setattr(minutes_of_fit.fit, "fit", lambda command, _: called.append(("fit", command.out)))
    monkeypatch.setattr(minutes_of_fit, "fit_gate", lambda _, runs: called.append(("gate", runs)))
    for way in ("fit", "five"):
        (tmp_path / way).mkdir()
        (tmp_path / way / minutes_of_fit.TAKEN).write_text('{"wanted": 45.0, "taken": 44.0}')
    (tmp_path / "fit" / "plan.json").touch()
    assert minutes_of_fit.by_fit(tmp_path, tmp_path / "fit", 45.0) == 44.0
    assert minutes_of_fit.by_five_commands(tmp_path, tmp_path, 45.0) == 44.0
    assert called == [("fit", tmp_path / "fit"), ("gate", tmp_path / "five")]
    with pytest.raises(ValueError, match="begun before"):
        minutes_of_fit.by_five_commands(tmp_path, tmp_path, 30.0)
