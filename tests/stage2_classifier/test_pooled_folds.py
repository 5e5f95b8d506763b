"""A refitted classifier is calibrated by the crops that the folds' classifiers left out, each photo once."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from constant_models import CANDIDATES, save_model
from place import IDS, Place

from fitting import cross_fit
from fitting.procedure import Procedure
from photos.data import read
from photos.folds import Folds
from runs.normalisation import IMAGENET
from stage1_detector.config import DetectorConfig
from stage2_classifier import cross_fitting, held_out, learning, pooled_folds, scaling
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.config import ClassifierConfig, Columns, recipe
from stage2_classifier.crops import shelf_regions
from stage2_classifier.fit import TrainingCrops
from stage2_classifier.held_out import HeldOut
from stage2_classifier.training_request import ClassifierRun

NAME, C = "classifier_shelf", len(IDS)


@pytest.fixture
def fitted(place: Place) -> tuple[Path, list[Folds]]:
    """A run folder with folds whose classifiers left out the crops of their photos; the whole and the folds."""
    runs, rng = place.root / "fit", np.random.default_rng(0)
    procedure = Procedure(DetectorConfig(), ClassifierConfig(), groups="photo")
    whole, *by_fold = cross_fit.deal(read(place.data), runs, procedure, lambda line: None)
    for k, fold in enumerate(by_fold):
        folder = runs / "cross_fit" / str(k)
        save_model(folder / "one", CANDIDATES, task="detector")
        save_model(folder / NAME, np.arange(C), task="classifier", family="timm", categories=IDS)
        photos = fold.photos("valid")
        labels, ids = np.concatenate([p.labels for p in photos]), np.repeat([p.id for p in photos], 2)
        logits = rng.normal(0, 3, (len(labels), C)) + 2 * np.eye(C)[labels]
        held_out.write(folder / NAME, HeldOut(logits, labels, ids))
    return runs, [whole, *by_fold]


def rewrite(folder: Path, **values: np.ndarray) -> None:
    held_out.write(folder, held_out.read(folder)._replace(**values))


def test_no_folds_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder of the folds' run folders"):
        pooled_folds.run_folders(tmp_path)


def test_the_calibration_is_that_of_the_joined_logits(
    fitted: tuple[Path, list[Folds]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, (whole, *_) = fitted
    monkeypatch.setattr(learning, "export_classifier", lambda model, path, sidecar, crops: sidecar)
    model, config = SimpleNamespace(columns=Columns(C), normalisation=IMAGENET), recipe("demo", quick=True)
    request = ClassifierRun(data=whole.dataset.root, runs=runs, refit=runs / "cross_fit")
    crops = TrainingCrops(shelf_regions(whole.photos("train")[:1], config.size), np.zeros(4))
    metrics = learning.finish_refit(model, request, config, whole, crops)
    by_hand = [np.load(runs / "cross_fit" / str(k) / NAME / "held_out.npz") for k in range(3)]
    logits, labels, photos = (np.concatenate([fold[name] for fold in by_hand]) for name in ("logits", "labels", "photos"))
    scenes = np.array([whole.scene[photo] for photo in photos.tolist()])
    expected = scaling.choose_scaling(logits, labels, scenes, np.random.default_rng(config.seed))
    written = metrics["parity"]
    assert (written["temperature"], written["scale"], written["bias"]) == (expected.temperature, expected.scale, expected.bias)
    assert expected.temperature != scaling.fit_scaling(expected.method, logits[:6], labels[:6]).temperature
    assert len(labels) == 20 and "valid_accuracy" not in metrics
    assert metrics["held_out"]["valid_accuracy"] == (logits.argmax(1) == labels).mean()
    assert not (runs / NAME / cross_fitting.NAME).exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"photos": np.full(8, 1)}, "must be each of the 10 with boxes once", id="a photo of another fold"),
        pytest.param({"logits": np.zeros((8, 5))}, r"have \[3, 5\] columns, must be 3", id="other columns"),
    ],
)
def test_folds_of_other_photos_or_names_are_refused(
    fitted: tuple[Path, list[Folds]], values: dict[str, np.ndarray], message: str
) -> None:
    runs, (whole, *by_fold) = fitted
    k = next(k for k, fold in enumerate(by_fold) if len(fold.photos("valid")) == 4)
    rewrite(runs / "cross_fit" / str(k) / NAME, **values)
    with pytest.raises(ValueError, match=message):
        pooled_folds.read(runs / "cross_fit", NAME, whole, C)


def test_boxes_are_those_of_the_detector_that_left_the_photo_out(fitted: tuple[Path, list[Folds]]) -> None:
    runs, (whole, *by_fold) = fitted
    shifted = CANDIDATES.copy()
    shifted[0] += 9  # the third fold's detector finds its boxes 9 px further to the right
    save_model(runs / "cross_fit" / "2" / "one", shifted, task="detector")
    photos = whole.photos("train")
    boxes = pooled_folds.boxes_of_detectors(runs / "cross_fit", photos, whole)
    left_out = {photo.id for photo in by_fold[2].photos("valid")}
    mean = {photo.id: float(b[:, 0].mean()) for photo, b in zip(photos, boxes, strict=True)}
    assert min(mean[i] for i in left_out) > max(mean[i] for i in mean if i not in left_out)


def test_a_refit_with_photos_held_out_is_refused(fitted: tuple[Path, list[Folds]], place: Place) -> None:
    runs, _ = fitted
    request = ClassifierRun(data=place.data, runs=place.runs, name="again", refit=runs / "cross_fit", force=True)
    with pytest.raises(ValueError, match=r"again/model\.onnx not found"):
        train_classifier(request, recipe("demo", quick=True))
    request = ClassifierRun(data=place.data, runs=place.runs, refit=runs / "cross_fit", force=True)
    with pytest.raises(ValueError, match="--refit: got folds with 2 photos in valid, must be none"):
        train_classifier(request, recipe("demo", quick=True))
