"""A detector that all photos are trained on: nothing is scored, in either engine, and photos held out are refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from place import Place
from small_photos import photo
from torchvision_nets import SMALL, noise
from training_jobs import job_of

from fitting import cross_fit
from fitting.procedure import Procedure
from photos.data import read
from runs import checkpoint
from stage1_detector.config import DetectorConfig
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.families import TORCHVISION
from stage1_detector.recipes import recipe, rehearsal
from stage1_detector.torch_engine import loop
from stage1_detector.torch_engine.canvases import load_batches
from stage2_classifier.config import ClassifierConfig

QUICK = replace(rehearsal(recipe("small")), size=64, device="cpu")


@pytest.fixture
def all_in_train(place: Place) -> DetectorRun:
    """A run folder whose folds hold nothing out, and the refit asked for in it."""
    procedure = Procedure(DetectorConfig(), ClassifierConfig(), groups="photo")
    cross_fit.deal(read(place.data), place.root / "fit", procedure, lambda line: None)
    return DetectorRun(data=place.data, runs=place.root / "fit", refit=True)


def test_our_own_loop_trains_without_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "load_batches", lambda dataset, device: load_batches(dataset, device, workers=0))
    photos = {"train": tuple(noise(photo(tmp_path, i, [[5, 5, 30, 30]])) for i in range(3)), "valid": ()}
    config = replace(SMALL, size=64, batch=2, epochs=2, rois=16, proposals=30)
    weights = TORCHVISION.fit(job_of(config, photos, tmp_path / "out", score=None))
    assert weights.name == "last.pt" and not weights.with_name("best.pt").exists()
    assert checkpoint.read(weights, "--resume")["state"] == {"epoch": 2, "best": []}
    assert "valid" not in (tmp_path / "out" / "log.csv").read_text()


def test_photos_in_valid_are_refused(place: Place) -> None:
    request = DetectorRun(data=place.data, runs=place.runs, refit=True, force=True)
    with pytest.raises(ValueError, match="--refit: got folds with 2 photos in valid, must be none"):
        train_detector(request, QUICK)


def test_an_epoch_cannot_be_chosen_by_no_photos(all_in_train: DetectorRun) -> None:
    with pytest.raises(ValueError, match="--refit: got --patience 3, must be 0"):
        train_detector(all_in_train, replace(QUICK, patience=3))


def test_folds_without_valid_need_the_word_refit(all_in_train: DetectorRun) -> None:
    with pytest.raises(ValueError, match="part valid has 0 photos and 0 boxes"):
        train_detector(replace(all_in_train, refit=False), QUICK)


@pytest.mark.slow
def test_a_refit_is_not_scored_and_is_no_other_run(all_in_train: DetectorRun) -> None:
    model = train_detector(all_in_train, QUICK)
    run = json.loads(model.with_name("run.json").read_text())
    assert run["settings"]["refit"] is True
    assert run["metrics"]["valid"] == {} and run["metrics"]["parity"] and run["metrics"]["epochs"] == 1
    assert len(json.loads(model.with_name("trained_on.json").read_text())["train"]) == 10
    assert train_detector(all_in_train, QUICK) == model
