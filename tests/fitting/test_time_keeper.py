"""A fit keeps its minutes: trainings are played by a clock that is set forward by what they would take."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from fitting import ledger as ledgers
from fitting.ledger import Ledger
from fitting.plan import AIM, fixed_parts, lay_out
from fitting.procedure import procedure_from
from fitting.speeds import Curve, Speeds
from fitting.survey import Survey
from fitting.time_keeper import Clocks, TimeKeeper
from fitting.wishes import Wishes
from fitting.workload import DETECTOR, LONGEST, Share, trainings
from tests.fitting.sets import FRIDGE, SETS, SPEEDS, STRIPS, VIDEO


class Killed(Exception):
    """The fit was killed in the middle of a part, with plan.json as it was then: nothing more is written after a kill -9."""


@dataclass
class Machine:
    """A machine of the `true` speeds that was `measured` as others, and its clock, in seconds since 1970."""

    true: Speeds = SPEEDS
    measured: Speeds = SPEEDS
    now: float = 1e6

    def __call__(self) -> float:
        return self.now

    @property
    def clocks(self) -> Clocks:
        """Its clocks, which agree."""
        return Clocks(self, self)


def faster(speeds: Speeds, detectors: float, classifiers: float) -> Speeds:
    """The speeds of a machine whose stages take so many times as long."""
    curves = {name: Curve(curve.fixed * f, curve.per_pixel * f) for name, curve, f in (
        ("learn", speeds.learn, detectors), ("find", speeds.find, detectors), ("step", speeds.step, classifiers),
        ("find_exported", speeds.find_exported, detectors),
    )}  # fmt: skip
    starts = {"detector_start": speeds.detector_start * detectors, "classifier_start": speeds.classifier_start * classifiers}
    return replace(speeds, **curves, **starts, name=speeds.name * classifiers)


def play(runs: Path, survey: Survey, minutes: float, machine: Machine, kill: int = -1, shares: Sequence[Share] = ()) -> Ledger:
    """One start of a fit on a machine, whose folds leave out such `shares`, else equal ones; killed in part number `kill`."""
    ledger = ledgers.load(runs) or Ledger({}, {}, minutes)
    if not ledger.parts:
        ledger.take(lay_out(survey, machine.measured, Wishes(), minutes * 60 * AIM))
    procedure = procedure_from(ledger.procedure)
    keeper = TimeKeeper(runs, ledger, list(trainings(procedure, survey)), machine.measured, lambda line: None, machine.clocks)
    entries = {entry.name: entry for entry in trainings(procedure, survey, (), shares)}
    keeper.as_dealt(list(entries.values()), fixed_parts(procedure, survey, machine.measured, shares))
    for number, (name, part) in enumerate(ledger.parts.items()):
        seconds_before, was_done = part.seconds, part.done
        with keeper.timed(name):
            seconds = part.foreseen
            if name in entries and entries[name].stage == DETECTOR:
                seconds = entries[name].seconds(machine.true, keeper.detector(name, procedure.detector).epochs)
            elif name in entries:
                seconds = entries[name].seconds(machine.true, keeper.classifier(name, procedure.classifier).epochs)
            if number == kill:
                work(runs, machine, seconds / 2)
                raise Killed((runs / ledgers.NAME).read_bytes())
            machine.now += 0.0 if was_done else seconds - seconds_before  # a finished part is reused, a stopped one resumed
    return ledger


def work(runs: Path, machine: Machine, seconds: float) -> None:
    """Leave progress each minute, as a training does, for so many seconds."""
    for _ in range(int(seconds // 60)):
        machine.now += 60.0
        sign = runs / "progress.json"
        sign.touch()
        os.utime(sign, (machine.now, machine.now))
    machine.now += seconds % 60


def refusing(line: str) -> None:
    pytest.fail(f"told: {line}")


@pytest.mark.parametrize("survey", SETS.values(), ids=SETS)
@pytest.mark.parametrize("minutes", [15.0, 45.0, 90.0])
def test_the_minutes_are_kept_where_all_takes_what_was_measured(tmp_path: Path, survey: Survey, minutes: float) -> None:
    ledger = play(tmp_path, survey, minutes, Machine())
    assert 0.9 * minutes <= ledger.spent / 60 <= minutes
    assert all(part.done for part in ledger.parts.values())


@pytest.mark.parametrize("survey", SETS.values(), ids=SETS)
@pytest.mark.parametrize(("detectors", "classifiers"), [(1.4, 1.0), (0.7, 1.0), (1.0, 1.5), (1.3, 0.7), (0.8, 0.8)])
def test_the_minutes_are_kept_where_trainings_take_longer_or_less(
    tmp_path: Path, survey: Survey, detectors: float, classifiers: float
) -> None:
    ledger = play(tmp_path, survey, 45.0, Machine(faster(SPEEDS, detectors, classifiers)))
    assert 0.9 * 45 <= ledger.spent / 60 <= 1.1 * 45
    assert all(part.done for part in ledger.parts.values())


@pytest.mark.slow
def test_the_minutes_are_kept_over_many_sets_and_machines(tmp_path: Path) -> None:
    rng, shares = np.random.default_rng(0), []
    for k in range(30):
        photos = int(rng.integers(20, 400))
        survey = replace(FRIDGE, photos=photos, boxes=photos * int(rng.integers(2, 60)), short_share=rng.uniform(0.02, 0.2))
        true = faster(SPEEDS, *np.exp(rng.uniform(-0.3, 0.3, 2)))
        (runs := tmp_path / str(k)).mkdir()
        try:
            ledger = play(runs, survey, 60.0, Machine(true))
        except ValueError as error:  # too few minutes, and it says so before it begins
            assert "the least is about" in str(error)
            continue
        full = LONGEST * next(iter(trainings(procedure_from(ledger.procedure), survey))).full
        if ledger.parts["one"].epochs < full:  # else it ends early, as it is told
            shares.append(ledger.spent / 3600)
    assert len(shares) > 15
    assert min(shares) >= 0.9 and max(shares) <= 1.1


def test_a_machine_ten_times_slower_gets_a_smaller_plan_and_keeps_its_minutes_too(tmp_path: Path) -> None:
    slow = faster(SPEEDS, 10.0, 10.0)
    quick, small = (lay_out(VIDEO, speeds, Wishes(), 90 * 60) for speeds in (SPEEDS, slow))
    assert small.scale < quick.scale / 3
    ledger = play(tmp_path, VIDEO, 90.0, Machine(slow, slow))
    assert 0.9 * 90 <= ledger.spent / 60 <= 90


def test_a_machine_that_is_twice_as_slow_as_measured_shortens_what_is_still_to_come(tmp_path: Path) -> None:
    ledger = play(tmp_path, FRIDGE, 90.0, Machine(faster(SPEEDS, 2.0, 2.0)))
    assert ledger.spent / 60 <= 1.1 * 90
    assert ledger.parts["one"].epochs < ledger.parts["cross_fit/0/one"].epochs


def test_the_pace_is_mostly_that_of_the_latest_training(tmp_path: Path) -> None:
    """The first fold's trainings take half as long again as the second's, as where another program ran beside them."""
    ledger, machine = Ledger({}, {}, 45.0), Machine()
    plan = lay_out(FRIDGE, SPEEDS, Wishes(folds=2), 45 * 60 * AIM)
    ledger.take(plan)
    entries = {entry.name: entry for entry in trainings(plan.procedure, FRIDGE)}
    keeper = TimeKeeper(tmp_path, ledger, list(entries.values()), SPEEDS, lambda line: None, machine.clocks)
    for name, entry in entries.items():
        with keeper.timed(name):
            part = ledger.parts[name]
            as_measured = entry.seconds(SPEEDS, part.epochs)
            machine.now += as_measured * (1.5 if name.startswith("cross_fit/0") else 1.0)
            if entry.refit:
                assert as_measured < part.foreseen < 1.15 * as_measured


def test_what_is_left_over_goes_into_the_refit(tmp_path: Path) -> None:
    ledger = play(tmp_path, FRIDGE, 45.0, Machine(faster(SPEEDS, 0.8, 0.8)))
    planned = lay_out(FRIDGE, SPEEDS, Wishes(), 45 * 60 * AIM)
    assert ledger.parts["one"].epochs > planned.epochs["one"]
    assert ledger.parts["cross_fit/1/one"].epochs == planned.epochs["cross_fit/1/one"]  # the folds' models stay alike


@pytest.mark.parametrize("kill", range(11))
def test_a_fit_that_is_killed_in_any_part_goes_on_with_what_was_decided(tmp_path: Path, kill: int) -> None:
    machine = Machine(faster(SPEEDS, 1.3, 0.8))
    with pytest.raises(Killed) as killed:
        play(tmp_path, FRIDGE, 45.0, machine, kill)
    (tmp_path / ledgers.NAME).write_bytes(killed.value.args[0])
    stopped = ledgers.load(tmp_path)
    assert stopped is not None and 0 <= machine.now - 1e6 - stopped.spent < 61  # what was done before the kill counts
    decided = {name: part.epochs for name, part in stopped.parts.items() if part.decided}
    machine.now += 7 * 3600  # hours in which nothing runs do not
    ledger = play(tmp_path, FRIDGE, 45.0, machine)
    assert {name: ledger.parts[name].epochs for name in decided} == decided
    assert 0.9 * 45 <= ledger.spent / 60 <= 1.1 * 45


def test_more_minutes_after_the_first_training_was_begun_are_the_other_folds_too(tmp_path: Path) -> None:
    """Else the score, the gate and the floors are of models of few epochs, and the zip's of many."""
    machine = Machine()
    with pytest.raises(Killed) as killed:
        play(tmp_path, STRIPS, 12.0, machine, kill=1)
    (tmp_path / ledgers.NAME).write_bytes(killed.value.args[0])
    stopped = ledgers.load(tmp_path)
    assert stopped is not None
    stopped.minutes = 300.0
    stopped.write(tmp_path)
    parts = play(tmp_path, STRIPS, 300.0, machine).parts
    assert parts["cross_fit/0/one"].epochs == stopped.parts["cross_fit/0/one"].epochs
    assert parts["cross_fit/1/one"].epochs == parts["one"].epochs / LONGEST == 40
    assert parts["cross_fit/1/classifier_shelf"].epochs == parts["cross_fit/0/classifier_shelf"].epochs


def test_a_finished_fit_that_is_called_again_changes_nothing(tmp_path: Path) -> None:
    machine = Machine()
    first = play(tmp_path, FRIDGE, 45.0, machine)
    again = play(tmp_path, FRIDGE, 45.0, machine)
    assert again == first


@pytest.mark.parametrize("lost", [False, True], ids=["all there", "a model deleted"])
def test_looking_at_a_finished_fit_again_spends_none_of_its_minutes(tmp_path: Path, lost: bool) -> None:
    machine = Machine()
    first = play(tmp_path, FRIDGE, 45.0, machine)
    for name in (name for name, part in first.parts.items() if part.epochs and not (lost and name == "one")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.onnx").touch()
    ledger = ledgers.load(tmp_path)
    assert ledger is not None and ledger == first
    entries = list(trainings(procedure_from(ledger.procedure), FRIDGE))
    keeper = TimeKeeper(tmp_path, ledger, entries, SPEEDS, refusing, machine.clocks)
    keeper.last -= 20.0  # what was done before there is a keeper
    for name in list(ledger.parts):
        with keeper.timed(name):
            work(tmp_path, machine, 90.0)
            kept = ledgers.load(tmp_path)  # as after a kill right here
            assert kept is not None and (lost or (kept.spent, kept.parts) == (first.spent, first.parts))
    assert ledger.spent - first.spent == pytest.approx((20.0 + 90.0 * len(ledger.parts)) * lost)
    assert (ledger.parts == first.parts) is not lost


def test_where_not_even_one_epoch_fits_any_more_it_is_told(tmp_path: Path) -> None:
    lines: list[str] = []
    ledger = Ledger({}, {}, 10.0)
    ledger.take(lay_out(FRIDGE, SPEEDS, Wishes(), 600.0))
    procedure = procedure_from(ledger.procedure)
    machine = Machine()
    keeper = TimeKeeper(tmp_path, ledger, list(trainings(procedure, FRIDGE)), SPEEDS, lines.append, machine.clocks)
    with keeper.timed("cross_fit/0/one"):
        machine.now += 1200
    with keeper.timed("cross_fit/0/classifier_shelf"):
        config = keeper.classifier("cross_fit/0/classifier_shelf", procedure.classifier)
    assert (config.epochs, config.min_steps) == (1, 0)
    assert any("minutes more than there are" in line for line in lines)


def test_epochs_that_the_user_has_said_are_never_changed(tmp_path: Path) -> None:
    wishes = Wishes(epochs=7)
    plan = lay_out(FRIDGE, SPEEDS, wishes, 2700.0)
    assert {epochs for name, epochs in plan.epochs.items() if name.endswith("one")} == {7}
    ledger = Ledger({}, {}, 45.0)
    ledger.take(plan)
    entries = list(trainings(plan.procedure, FRIDGE, (DETECTOR,)))
    keeper = TimeKeeper(tmp_path, ledger, entries, SPEEDS, refusing, Machine().clocks)
    with keeper.timed("cross_fit/0/one"):
        assert keeper.detector("cross_fit/0/one", plan.procedure.detector).epochs == 7


def test_a_part_that_fails_counts_and_is_not_done(tmp_path: Path) -> None:
    ledger, machine = Ledger({}, {}, 45.0), Machine()
    plan = lay_out(FRIDGE, SPEEDS, Wishes(), 45 * 60 * AIM)
    ledger.take(plan)
    keeper = TimeKeeper(tmp_path, ledger, list(trainings(plan.procedure, FRIDGE)), SPEEDS, refusing, machine.clocks)
    with pytest.raises(KeyboardInterrupt), keeper.timed("cross_fit/0/one"):
        machine.now += 100
        raise KeyboardInterrupt
    kept = ledgers.load(tmp_path)
    assert kept is not None and (kept.spent, kept.parts["cross_fit/0/one"].seconds) == (100, 100)
    assert kept.parts["cross_fit/0/one"].decided and not kept.parts["cross_fit/0/one"].done


@pytest.mark.parametrize("jump", [-7200.0, 8 * 3600.0], ids=["set back", "set forward, or the machine slept"])
def test_a_clock_that_is_set_in_the_middle_of_a_part_costs_and_gains_nothing(tmp_path: Path, jump: float) -> None:
    ledger, wall, steady = Ledger({}, {}, 45.0), Machine(), Machine(now=5.0)
    plan = lay_out(FRIDGE, SPEEDS, Wishes(), 45 * 60 * AIM)
    ledger.take(plan)
    entries = list(trainings(plan.procedure, FRIDGE))
    keeper = TimeKeeper(tmp_path, ledger, entries, SPEEDS, refusing, Clocks(wall, steady))
    with keeper.timed("cross_fit/0/one"):
        steady.now += 100.0
        wall.now += 100.0 + jump
    assert ledger.spent == ledger.parts["cross_fit/0/one"].seconds == 100.0
    assert keeper.left == 45 * 60 * AIM - 100.0
    assert ledger.since == wall.now  # files are stamped by this clock


def test_no_refit_is_longer_than_the_longest(tmp_path: Path) -> None:
    ledger = play(tmp_path, FRIDGE, 600.0, Machine())
    assert ledger.parts["one"].epochs == LONGEST * ledger.parts["cross_fit/0/one"].epochs
    assert ledger.spent / 60 < 300
