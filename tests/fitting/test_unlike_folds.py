"""The minutes are kept, and the models that ship trained, by folds that whole scenes make unlike or fewer than planned."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fitting import ledger as ledgers
from fitting.ledger import Ledger
from fitting.plan import AIM, lay_out
from fitting.survey import Survey
from fitting.time_keeper import TimeKeeper
from fitting.wishes import Wishes
from fitting.workload import Share, trainings
from tests.fitting.sets import FRIDGE, SETS, SPEEDS
from tests.fitting.test_time_keeper import Killed, Machine, play, refusing

THREE = [Share(7, 60), Share(7, 60), Share(6, 60)]  # of FRIDGE
UNEVEN = [(0.5, 0.5), (0.3, 0.7), (0.1, 0.9), (0.2, 0.2, 0.6)]  # as scenes of many photos are dealt, the heaviest fold last


def dealt(survey: Survey, parts: Sequence[float]) -> list[Share]:
    """Folds of such shares of the photos and boxes."""
    return [Share(round(survey.photos * part), round(survey.boxes * part)) for part in parts]


@pytest.mark.parametrize("survey", SETS.values(), ids=SETS)
@pytest.mark.parametrize("minutes", [45.0, 90.0])
@pytest.mark.parametrize("parts", UNEVEN, ids=str)
def test_the_minutes_are_kept_by_folds_that_are_unlike_or_fewer_and_what_ships_is_trained_too(
    tmp_path: Path, survey: Survey, minutes: float, parts: tuple[float, ...]
) -> None:
    folds = lay_out(survey, SPEEDS, Wishes(), minutes * 60 * AIM).procedure.folds
    ledger = play(tmp_path, survey, minutes, Machine(), shares=dealt(survey, parts if len(parts) <= folds else (0.4, 0.6)))
    assert ledger.spent / 60 <= minutes
    for name in ("one", "classifier_shelf", "classifier_both"):
        of_folds = [part.epochs for path, part in ledger.parts.items() if path.endswith(f"/{name}")]
        assert not of_folds or ledger.parts[name].epochs >= max(of_folds) / 2


@pytest.mark.parametrize("kill", range(9))
def test_a_fit_of_unlike_folds_that_is_killed_goes_on_with_what_was_decided(tmp_path: Path, kill: int) -> None:
    shares = dealt(FRIDGE, (0.3, 0.7))
    machine = Machine()
    with pytest.raises(Killed) as killed:
        play(tmp_path, FRIDGE, 45.0, machine, kill, shares)
    (tmp_path / ledgers.NAME).write_bytes(killed.value.args[0])
    stopped = ledgers.load(tmp_path)
    assert stopped is not None
    decided = {name: part.epochs for name, part in stopped.parts.items() if part.decided}
    ledger = play(tmp_path, FRIDGE, 45.0, machine, shares=shares)
    assert {name: ledger.parts[name].epochs for name in decided} == decided
    assert 0.9 * 45 <= ledger.spent / 60 <= 1.1 * 45


def test_a_fit_begun_as_if_its_folds_were_alike_goes_on_by_what_they_are(tmp_path: Path) -> None:
    """As those of versions before the folds counted as they were dealt: the record is the same."""
    with pytest.raises(Killed) as killed:
        play(tmp_path, FRIDGE, 45.0, machine := Machine(), kill=3)
    (tmp_path / ledgers.NAME).write_bytes(killed.value.args[0])
    ledger = play(tmp_path, FRIDGE, 45.0, machine, shares=dealt(FRIDGE, (0.2, 0.2, 0.6)))
    assert ledger.spent / 60 <= 1.1 * 45
    assert ledger.parts["classifier_shelf"].epochs >= ledger.parts["cross_fit/0/classifier_shelf"].epochs / 2


def test_folds_that_there_are_no_scenes_for_leave_their_time_to_the_others(tmp_path: Path) -> None:
    ledger, machine, lines = Ledger({}, {}, 45.0), Machine(), []
    plan = lay_out(FRIDGE, SPEEDS, Wishes(folds=5), 45 * 60 * AIM)
    ledger.take(plan)
    keeper = TimeKeeper(tmp_path, ledger, list(trainings(plan.procedure, FRIDGE)), SPEEDS, lines.append, machine.clocks)
    keeper.as_dealt(list(trainings(plan.procedure, FRIDGE, (), THREE)), {})
    assert [name for name in ledger.parts if name.endswith("one")] == [*(f"cross_fit/{k}/one" for k in range(3)), "one"]
    assert "4 trainings fewer" in lines[0]
    with keeper.timed("cross_fit/0/one"):
        assert keeper.detector("cross_fit/0/one", plan.procedure.detector).epochs > plan.epochs["cross_fit/0/one"]


def test_folds_that_were_taken_out_of_the_plan_stay_out_where_a_stopped_fit_goes_on(tmp_path: Path) -> None:
    ledger, lines = Ledger({}, {}, 45.0), []
    plan = lay_out(FRIDGE, SPEEDS, Wishes(folds=5), 45 * 60 * AIM)
    ledger.take(plan)
    entries, three = list(trainings(plan.procedure, FRIDGE)), list(trainings(plan.procedure, FRIDGE, (), THREE))
    TimeKeeper(tmp_path, ledger, entries, SPEEDS, lines.append, Machine().clocks).as_dealt(three, {})
    ledger.write(tmp_path)
    stopped = ledgers.load(tmp_path)
    assert stopped is not None and lines
    keeper = TimeKeeper(tmp_path, stopped, entries, SPEEDS, refusing, Machine().clocks)
    keeper.as_dealt(three, {})
    assert set(keeper.trainings) <= set(stopped.parts) == set(ledger.parts)
