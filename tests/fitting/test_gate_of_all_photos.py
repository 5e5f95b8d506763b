"""The gate from all photos: written with what it was made from, kept where nothing changed, fitted anew where something did."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from place import IDS, Place, put_models

from fitting import cross_fit, kept_choice, pooled, run
from fitting.procedure import Procedure
from fitting.trainings import Clock
from fusion.ensemble import Ensemble, read_ensemble
from fusion.gate import Gate
from fusion.models import read_object
from photos.data import read
from photos.intervals import Interval
from runs.model_files import refuse_changed
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.gate.choose import Choice, Turn
from stage2_classifier.gate.ensemble import default_ensemble, write_ensemble
from stage2_classifier.gate.evidence import DetectorOutputs
from stage2_classifier.gate.merging_choice import MergingChoice
from stage2_classifier.gate.naming_floor import NamingChoice, n_named

PROCEDURE = Procedure(DetectorConfig(), ClassifierConfig(), groups="photo")
Fit = Callable[[], run.Gated]


@pytest.fixture
def runs(place: Place) -> Path:
    """A run folder with the same models in each fold and for all photos, none of them class-aware."""
    folder = place.root / "fit"
    cross_fit.deal(read(place.data), folder, PROCEDURE, lambda line: None)
    for models in (folder, *(folder / "cross_fit" / str(k) for k in range(3))):
        put_models(models, IDS)
        shutil.rmtree(models / "all")
    return folder


@pytest.fixture
def fit(place: Place, runs: Path) -> Fit:
    def call() -> run.Gated:
        _, *by_fold = cross_fit.deal(read(place.data), runs, PROCEDURE, lambda line: None)
        return run.shipped(runs, run.fit_gate(runs, PROCEDURE, by_fold, Clock(), lambda line: None))

    return call


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photos each choice that is made is made from."""
    made: list[int] = []
    choose = run.choose_gate

    def counting(evidence: list, scenes: np.ndarray, rng: np.random.Generator) -> Choice:
        made.append(len(evidence))
        return choose(evidence, scenes, rng)

    monkeypatch.setattr(run, "choose_gate", counting)
    return made


def test_it_is_made_from_all_photos_and_kept(fit: Fit, runs: Path, choices: list[int]) -> None:
    first = fit()
    ensemble = read_ensemble(runs)
    refuse_changed(runs, ensemble)
    assert set(ensemble.made_from) == {"one/model.onnx", "classifier_shelf/model.onnx"}
    assert ensemble == first.ensemble and ensemble.gate.policy == "raw"
    assert "operating_points" in json.loads((runs / "gate.json").read_text())
    assert fit().choice == first.choice
    assert choices == [10]


def test_which_boxes_are_named_is_shipped(fit: Fit, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "fit_naming_floor", lambda *_: NamingChoice(0.7, 0.5, None, 2.0, 0.1))
    gated = fit()
    ensemble = read_ensemble(runs)
    assert (ensemble.naming_floor, ensemble.naming_margin, ensemble.naming_typical) == (0.7, 2.0, 0.1)
    for e in gated.judged.evidence:
        assert 0 < n_named(e) == int((e.merged.scores >= np.float32(0.35)).sum())  # the classifier is sure of every box


@pytest.mark.slow
def test_other_labels_other_models_and_another_merging_ask_for_another_choice(
    fit: Fit, runs: Path, place: Place, choices: list[int]
) -> None:
    fit()
    place.change(lambda values: values["annotations"][0].update(category_id=IDS[0]))
    fit()
    side = runs / "cross_fit" / "1" / "classifier_shelf" / "model.json"
    side.write_text(json.dumps(json.loads(side.read_text()) | {"temperature": 2.0}))
    fit()
    ensemble = read_ensemble(runs)
    write_ensemble(runs, replace(ensemble, merge=replace(ensemble.merge, iou=0.7)))
    assert fit().ensemble.merge.iou == 0.7
    assert choices == [10] * 4


def test_a_choice_made_by_other_rules_is_made_anew(fit: Fit, choices: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    fit()
    monkeypatch.setattr(run, "RULES", [*run.RULES, "one more"])
    fit()
    assert choices == [10] * 2


def test_its_own_ensemble_is_told_from_one_that_was_changed(fit: Fit, runs: Path) -> None:
    assert not run.has_own_ensemble(runs)
    fit()
    assert run.has_own_ensemble(runs)
    ensemble = read_ensemble(runs)
    write_ensemble(runs, replace(ensemble, gate=Gate("detector"), min_scores={}))  # hylle gate, say
    assert run.has_own_ensemble(runs)
    write_ensemble(runs, replace(ensemble, detectors=[replace(ensemble.detectors[0], conf=0.5)]))
    assert not run.has_own_ensemble(runs)


@pytest.mark.parametrize("gain", [None, Interval(0.5, -np.inf, 1.0, 3)], ids=["no gain measured", "a gain"])
def test_a_kept_choice_is_read_as_it_was(tmp_path: Path, gain: Interval | None) -> None:
    (tmp_path / "cross_fit").mkdir()
    choice = Choice(Gate("raw", further=9), gain, Gate("agree"), {"raw": 0.5}, [Turn([1, 2], Gate("raw"))])
    assert kept_choice.read(tmp_path, "a") is None
    kept_choice.write(tmp_path, choice, "a")
    assert asdict(kept_choice.read(tmp_path, "a")) == asdict(choice)
    assert kept_choice.read(tmp_path, "b") is None


def test_boxes_are_merged_as_all_photos_choose_and_a_kept_ensemble_as_it_says(
    fit: Fit, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way, seen = "soft-nms 0.25, one view", []

    def choose(outputs: list[DetectorOutputs], ensemble: Ensemble, scenes: np.ndarray, rng: object) -> MergingChoice:
        seen.append(([len(own.photos) for own in outputs], len(scenes)))
        return MergingChoice(way, 1, 2, [], {way: 1.0})

    default = default_ensemble(runs, ["classifier_shelf"], read(runs.parent / "shop"))
    monkeypatch.setattr(run, "choose_merging", choose)
    first = fit()
    ensemble = read_ensemble(runs)
    assert ensemble.merge == replace(default.merge, method="soft_nms", sigma=0.25) and len(ensemble.detectors[0].views) == 1
    assert read_object(runs / "gate.json")["merging"]["way"] == way
    ((by_fold, scenes),) = seen
    assert sum(by_fold) == scenes == 10 and len(by_fold) == 3
    one_view = pooled.pool(ensemble, runs, cross_fit.deal(read(runs.parent / "shop"), runs, PROCEDURE, lambda line: None)[1:])
    for a, b in zip(first.pooled.evidence, one_view.evidence, strict=True):
        assert np.array_equal(a.merged.boxes, b.merged.boxes) and np.array_equal(a.merged.scores, b.merged.scores)
        assert np.array_equal(a.probabilities, b.probabilities)
    assert run.has_own_ensemble(runs) and fit().ensemble == first.ensemble and len(seen) == 2  # its own: chosen again
    by_hand = replace(ensemble, merge=replace(ensemble.merge, method="nms"))
    write_ensemble(runs, by_hand)
    assert fit().ensemble.merge == by_hand.merge and len(seen) == 2
    assert read_object(runs / "gate.json")["merging"] is None and not run.has_own_ensemble(runs)
