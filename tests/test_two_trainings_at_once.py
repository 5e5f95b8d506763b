"""A training claims its folder before it loads anything, so a second one at once is refused, and removes nothing."""

import json
import os
from pathlib import Path

import pytest
from place import Place

from photos import folds
from photos.data import read
from runs import identity, process
from stage1_detector import detector_run, recipes
from stage2_classifier import classifier_run, config, out_of_fold
from stage2_classifier.training_request import ClassifierRun


def train_detector(place: Place) -> None:
    request = detector_run.DetectorRun(data=place.data, runs=place.runs, force=True)
    detector_run.train_detector(request, recipes.recipe("small"))


def train_classifier(place: Place) -> None:
    request = ClassifierRun(data=place.data, runs=place.runs, force=True)
    classifier_run.train_classifier(request, config.recipe("demo", quick=False))


def train_folds(place: Place) -> None:
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    out_of_fold.out_of_fold(place.runs, parts, out_of_fold.Plan(2), print)


TRAININGS = [
    pytest.param(train_detector, detector_run, "refuse_or_read", "one", id="detector"),
    pytest.param(train_classifier, classifier_run, "refuse_unmeasured", "classifier_shelf", id="classifier"),
    pytest.param(train_folds, out_of_fold, "train_fold", "oof/*/fold_0", id="fold"),
]


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("train", "module", "step", "out"), TRAININGS)
def test_a_training_claims_its_folder_before_it_begins(place: Place, monkeypatch, train, module, step, out) -> None:  # type: ignore[no-untyped-def]
    other = json.dumps(identity.of_process(os.getppid()))
    noted = list[Path]()

    def before_it_begins(*_: object) -> None:
        noted.extend(place.runs.glob(f"{out}/{process.NAME}"))
        raise ValueError("cannot begin")

    monkeypatch.setattr(out_of_fold, "fold_settings", lambda *_: {})
    monkeypatch.setattr(module, step, before_it_begins)
    before = files(place.runs)
    with pytest.raises(ValueError, match="cannot begin"):
        train(place)
    assert len(noted) == 1 and files(place.runs) == before
    noted[0].parent.mkdir(parents=True, exist_ok=True)
    noted[0].write_text(other)  # a second one, while the first begins
    with pytest.raises(ValueError, match=f"process {os.getppid()} is making it; wait until it is done"):
        train(place)
    assert len(noted) == 1 and files(place.runs) == before | {noted[0]} and noted[0].read_text() == other
