"""A second classifier of a fit: planned for the minutes of one, at its own pace."""

from dataclasses import replace
from pathlib import Path

import pytest

from fitting.ledger import Ledger, Part
from fitting.plan import AIM, lay_out
from fitting.procedure import procedure_from
from fitting.time_keeper import TimeKeeper
from fitting.wishes import Wishes
from fitting.workload import trainings
from tests.fitting.sets import CONTEST, SETS, SPEEDS, VIDEO


def test_a_second_classifier_is_trained_in_the_minutes_of_one() -> None:
    wishes = Wishes(classifier="resnet10t")
    one, two = (lay_out(CONTEST, SPEEDS, replace(wishes, second_classifier=name), 9000) for name in ("", "resnet18"))
    first, second = two.procedure.classifiers.values()
    assert (second.model, second.size, second.bridge, second.seed) == ("resnet18", first.size, first.bridge, first.seed + 1)
    assert list(one.procedure.classifiers) == ["classifier_both"] and list(two.procedure.classifiers) == [
        "classifier_both",
        "second",
    ]
    assert "cross_fit/1/second" in two.epochs and "resnet10t and resnet18 on 96 px crops" in two.why["classifier"]
    assert 2 * first.epochs == one.procedure.classifier.epochs == 30
    assert sum(two.epochs[name] for name in ("classifier_both", "second")) == pytest.approx(
        one.epochs["classifier_both"], abs=2
    )
    own = lay_out(CONTEST, SPEEDS, replace(wishes, second_classifier="resnet18", crop_epochs=7), 9000).procedure
    assert [config.epochs for config in own.classifiers.values()] == [7, 7]
    assert procedure_from(two.procedure.settings()) == two.procedure
    alone = lay_out(replace(VIDEO, names=1), SPEEDS, Wishes(second_classifier="resnet18"), 9000)
    assert alone.procedure.second is None and "learns nothing, nor would a second one" in alone.why["classifier"]


def refusing(line: str) -> None:
    pytest.fail(f"told: {line}")


def test_a_slow_second_classifier_takes_no_epochs_from_the_first(tmp_path: Path) -> None:
    """Each goes at its own pace; what is measured beforehand counts for the second in its first fold."""
    survey = SETS["a fridge"]
    procedure = lay_out(
        survey, SPEEDS, Wishes(classifier="resnet10t", second_classifier="resnet18", folds=2), 45 * 60 * AIM
    ).procedure
    entries = list(trainings(procedure, survey))
    keeper = TimeKeeper(tmp_path, Ledger({}, {}, 45.0), entries, SPEEDS, refusing)
    for entry in entries:
        keeper.ledger.parts[entry.name] = Part(10, entry.seconds(SPEEDS, 10), decided=True)
    first, second = (next(e for e in entries if e.name == f"cross_fit/0/{name}") for name in ("classifier_shelf", "second"))
    for entry, times in ((first, 1.0), (second, 4.0)):
        part = keeper.ledger.parts[entry.name]
        part.seconds, part.done = times * part.foreseen, True
    assert (keeper._pace(first), keeper._pace(second)) == (1.0, 4.0)
    assert keeper._pace(next(e for e in entries if e.name == "cross_fit/0/one")) == 1.0
    slow = replace(SPEEDS, second=4.0)
    assert second.seconds(slow, 10) > 1.5 * second.seconds(SPEEDS, 10) and first.seconds(slow, 10) == first.seconds(SPEEDS, 10)
