"""Other minutes for a fit that was stopped: what of its plan stays, and what is made anew."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fitting import ledger as ledgers
from fitting import session
from fitting.fit import Command, main, record_of
from fitting.ledger import Ledger
from fitting.plan import AIM, lay_out
from fitting.survey import survey
from fitting.wishes import Wishes
from photos import fingerprint
from photos.data import read
from tests.fitting.sets import SPEEDS
from tests.fitting.test_survey import write


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos, on a machine that need not be measured."""
    monkeypatch.setattr("fitting.machine.measured", lambda *_: SPEEDS)
    write(tmp_path / "data", "annotations", [(64, 48, [(0, 20, 20)]), (64, 48, [(1, 20, 20)])])
    return tmp_path / "data"


def stopped(data: Path, minutes: float) -> Ledger:
    """The record of a fit that is stopped while the scenes are found, or refused before."""
    words = [str(data), "--minutes", str(minutes), "--out", str(data.parent / "run"), "--groups", "photo"]
    assert main(words) == 2
    ledger = ledgers.load(data.parent / "run")
    assert ledger is not None
    return ledger


def stop(*given: Any) -> None:
    raise ValueError("stopped")


def epochs(ledger: Ledger) -> dict[str, int]:
    """The epochs of each part."""
    return {name: part.epochs for name, part in ledger.parts.items()}


def test_a_plan_of_which_nothing_was_begun_is_made_anew(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.cross_fit, "deal", stop)
    first = stopped(data, 4.0)
    second = stopped(data, 600.0)
    anew = lay_out(survey(read(data)), SPEEDS, Wishes(groups="photo"), 600 * 60 * AIM, first.spent)
    assert second.procedure == anew.procedure.settings() and second.spent > first.spent
    assert epochs(second) == {name: anew.epochs.get(name, 0) for name in anew.seconds} != epochs(first)


def test_too_few_minutes_for_such_a_plan_are_refused_and_leave_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session.cross_fit, "deal", stop)
    first = stopped(data, 600.0)
    capsys.readouterr()
    assert stopped(data, 1.0) == first
    assert "--minutes: too few for 2 photos here" in capsys.readouterr().err


def test_a_plan_whose_folds_are_dealt_stays_as_it_says(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "run_procedure", stop)
    first = stopped(data, 4.0)
    assert epochs(stopped(data, 600.0)) == epochs(first)
    assert "canvas, crops and folds stay as they were planned" in capsys.readouterr().out


def test_more_minutes_for_a_fit_whose_trainings_were_all_begun_are_said_to_change_nothing(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, dataset = data.parent / "run", read(data)
    begun = ledgers.Ledger(fingerprint.of_photos(dataset.photos, dataset.categories), asdict(Wishes()), 9.0)
    begun.parts = {"one": ledgers.Part(3, 60.0, decided=True), "gate": ledgers.Part(0, 5.0)}
    begun.write(runs)
    assert record_of(Command(data=data, minutes=90.0, out=runs), dataset, Wishes()).minutes == 90.0
    assert "keep their epochs" in capsys.readouterr().out
    begun.parts["classifier_shelf"] = ledgers.Part(3, 60.0)  # not begun: it takes what is left
    begun.write(runs)
    record_of(Command(data=data, minutes=90.0, out=runs), dataset, Wishes())
    said = capsys.readouterr().out
    assert "keep their epochs" not in said and "folds stay as they were planned" in said
