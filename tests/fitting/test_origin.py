"""Photos and labels that are changed while a fit is at work: it stops before models of both are mixed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fitting import run, trainings
from fitting.origin import Origin, fingerprints_of, wished_files
from fitting.procedure import Procedure
from fitting.trainings import Clock
from photos.data import DataError, read
from photos.studio import STUDIO
from stage1_detector import recipes as detector_recipes
from stage1_detector.config import Config
from stage2_classifier import config as classifier_config
from tests.fitting.test_survey import write

PROCEDURE = Procedure(detector_recipes.small(), classifier_config.small(), folds=2, groups="photo")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(trainings, "train_detector", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(trainings, "train_classifier", lambda *_: pytest.fail("trained"))
    write(tmp_path / "data", "annotations", [(64, 48, [(0, 20, 20)]), (64, 48, [(1, 20, 20)])])
    return tmp_path / "data"


def edit(data: Path) -> None:
    path = data / "annotations.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][0] += 1
    path.write_text(json.dumps(content))


class Editing(Clock):
    """Edits the labels right before a training."""

    def __init__(self, data: Path, before: str) -> None:
        super().__init__()
        self.data, self.before = data, before

    def detector(self, name: str, config: Config) -> Config:
        if name == self.before:
            edit(self.data)
        return config


@pytest.mark.parametrize(
    ("before", "trained"), [("cross_fit/0/one", []), ("cross_fit/1/one", ["cross_fit/0"])], ids=["the first", "the second"]
)
def test_labels_edited_before_a_training_stop_the_fit(
    before: str, trained: list[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, done = tmp_path / "runs", list[str]()
    monkeypatch.setattr(trainings, "train_detector", lambda request, _: done.append(str(request.runs.relative_to(runs))))
    with pytest.raises(DataError, match=r"data: boxes and names changed while the fit was at work.*fit anew, by --out"):
        run.run_procedure(data, runs, PROCEDURE, lambda line: None, Editing(data, before))
    assert done == trained


def test_what_was_edited_while_the_machine_was_measured_counts_too(data: Path, tmp_path: Path) -> None:
    begun = fingerprints_of(read(data), with_studio=False)
    edit(data)
    with pytest.raises(DataError, match="boxes and names changed"):
        run.run_procedure(data, tmp_path / "runs", PROCEDURE, lambda line: None, Clock(), begun)


def test_what_was_edited_in_the_last_training_is_not_shipped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    for module, name in [
        (trainings, "train_detectors"),
        (trainings, "train_fold_classifiers"),
        (trainings, "refit_detectors"),
        (run, "fit_gate"),
        (run.start_share, "apply"),
    ]:
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(trainings, "refit_classifiers", lambda *_: edit(data))
    monkeypatch.setattr(run, "shipped", lambda *_: pytest.fail("shipped"))
    with pytest.raises(DataError, match="changed while the fit was at work"):
        run.run_procedure(data, runs, replace(PROCEDURE, pretrained="none"), lambda line: None)


def test_an_ensemble_that_was_edited_after_the_gate_was_fitted_is_not_overwritten(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, procedure = tmp_path / "runs", replace(PROCEDURE, pretrained="none")
    for module, name in [(trainings, "train_detectors"), (trainings, "train_fold_classifiers"), (run, "fit_gate")]:
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(trainings, "refit_detectors", lambda *_: (runs / "ensemble.json").write_text("{}"))
    for module, name in [(run.start_share, "apply"), (trainings, "refit_classifiers")]:
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(run, "shipped", lambda *_: pytest.fail("shipped"))
    with pytest.raises(ValueError, match=r"ensemble\.json was changed while a gate was fitted"):
        run.run_procedure(data, runs, procedure, lambda line: None)


def rename(data: Path) -> None:
    path = data / "annotations.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] += " green"
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(lambda data: None, "", id="nothing"),
        pytest.param(edit, "boxes and names", id="a box"),
        pytest.param(rename, "names", id="a name"),
        pytest.param(lambda data: (data / STUDIO / "1" / "new.jpg").write_bytes(b"new"), "studio", id="a studio photo"),
    ],
)
def test_each_kind_of_change_is_named(change: Callable[[Path], object], told: str, data: Path) -> None:
    (data / STUDIO / "1").mkdir(parents=True)
    (data / STUDIO / "1" / "a.jpg").write_bytes(b"old")
    origin = Origin(data, fingerprints_of(read(data), with_studio=True))
    change(data)
    if told:
        with pytest.raises(DataError, match=f"data: {told} changed"):
            origin.refuse_changed()
    else:
        origin.refuse_changed()


def test_a_file_that_the_fit_names_is_to_stay_too(data: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("my.yaml", "start.pt", "crops.pt", "g.csv")]
    for path in files:
        path.write_bytes(b"old")
    model, start, crops, groups = map(str, files)
    named = {"pretrained": start, "crop_pretrained": crops, "groups": groups}
    procedure = replace(PROCEDURE, detector=replace(detector_recipes.small(), model=model), **named)
    assert wished_files(PROCEDURE) == {}
    for path in files:
        origin = Origin(data, fingerprints_of(read(data), with_studio=False), wished_files(procedure))
        origin.refuse_changed()
        path.write_bytes(b"new")
        with pytest.raises(DataError, match=f"{path.name} changed while the fit was at work.*fit anew, by --out"):
            origin.refuse_changed()
