"""Gather the crops of the train photos, train the classifier on them, calibrate it on held-out crops, and export it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from photos.data import Dataset, Photo
from photos.folds import Folds
from photos.studio import studio_folder
from runs import record
from runs.command import say
from stage2_classifier import cross_fitting, reliability, scaling
from stage2_classifier.classifier_run import ClassifierRun
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.crops import TYPICAL_ERROR, CropFormat, Region, crops_of, megabytes, shelf_regions, studio_regions
from stage2_classifier.export import export_classifier
from stage2_classifier.fit import TrainingCrops, fit
from stage2_classifier.model import Classifier, normalised, to_input
from stage2_classifier.out_of_fold import (
    NO_BOXES,
    Plan,
    background,
    detected_boxes,
    measured_error,
    out_of_fold,
    with_detected,
)


def learn(model: Classifier, request: ClassifierRun, config: ClassifierConfig, parts: Folds) -> dict[str, Any]:
    """Train `model`, export it to model.onnx in the folder of `request`, and return the metrics."""
    started, title, out = time.time(), request.title, request.out
    photos = photos_with_detections(out.parent, parts, model.columns, config, request.plan)
    regions = gather(request, parts.dataset, photos.train, config)
    error = np.round(photos.error, 3).tolist()
    say(f"{title}: cached {len(regions)} crops, {megabytes(regions):.0f} MB; box error {error}")

    def progress(line: str) -> None:
        say(f"{title}: {line}")
        record.note(out, line)

    crops = TrainingCrops(regions, photos.error)
    fitted = fit(model, crops, config, out / "last.pt", progress, request.resume)
    metrics = finish(fitted.model, out, config, parts, photos.valid, photos.error)
    say(
        f"{title}: valid accuracy {metrics['valid_accuracy']:.3f}, calibrated by {metrics['calibration']}, "
        f"{fitted.loader_share:.1%} of the steps' time spent on waiting for crops"
    )
    if metrics["calibration"] in scaling.CHANGES_NAMES:
        say(f"{title}: {flattery(metrics)}; the gate is fitted on the latter")
    return metrics | {"loader_share": fitted.loader_share, "minutes": (time.time() - started) / 60}


class TrainingPhotos(NamedTuple):
    """The photos to learn from and to calibrate on, with the boxes that detectors add to them, and the box error (4,)."""

    train: Sequence[Photo]
    valid: Sequence[Photo]
    error: np.ndarray


def photos_with_detections(runs: Path, parts: Folds, outputs: Columns, config: ClassifierConfig, plan: Plan) -> TrainingPhotos:
    """What detectors find on the photos: R/one's, and by `plan` those of the folds, on scenes they were not trained on."""
    train, valid, detector = parts.photos("train"), parts.labelled("valid"), runs / "one" / "model.onnx"
    detections, on_valid = [NO_BOXES] * len(train), detected_boxes(detector, valid)
    if plan.folds:
        detections = out_of_fold(runs, parts, plan, lambda line: say(f"classifier: {line}"))
        error = measured_error(train, detections)
        train = tuple(with_detected(photo, boxes) for photo, boxes in zip(train, detections, strict=True))
    elif detector.is_file():
        error = measured_error(valid, on_valid)
        detections = detected_boxes(detector, train) if outputs.background else detections
    else:
        say(f"classifier: {detector} not found, the box error is a typical one, not measured")
        error = np.array(TYPICAL_ERROR)
    return TrainingPhotos(
        background(train, detections, outputs, config.seed), background(valid, on_valid, outputs, config.seed), error
    )


def gather(request: ClassifierRun, dataset: Dataset, photos: Sequence[Photo], config: ClassifierConfig) -> list[Region]:
    """The regions that `request.crops` asks for; boxes of no product, where `photos` have them, are always included."""
    crops, n_names = request.crops, len(dataset.categories)
    regions = shelf_regions(photos if crops != "studio" else [only_background(p, n_names) for p in photos], config.size)
    if crops != "shelf":
        regions += studio_regions(studio_folder(dataset.root, request.studio), dataset.categories, config.size)
    return regions


def only_background(photo: Photo, n_names: int) -> Photo:
    """`photo` with those boxes only that show no product: their label is the number of names."""
    keep = photo.labels == n_names
    return replace(photo, boxes=photo.boxes[keep], labels=photo.labels[keep], annotation_ids=photo.annotation_ids[keep])


def finish(
    model: Classifier, out: Path, config: ClassifierConfig, parts: Folds, photos: Sequence[Photo], error: np.ndarray
) -> dict[str, Any]:
    """Calibrate on crops of held-out `photos`, export to OUT/model.onnx, and return the metrics."""
    rng, held_out = np.random.default_rng(config.seed), shelf_regions(photos, config.size)
    form = CropFormat(config.size, config.margin, config.fit)
    crops = crops_of(held_out, np.arange(len(held_out)), error, form, rng)
    labels = np.array([region.label for region in held_out])
    n_boxes = [len(photo.boxes) for photo in photos]
    groups = np.repeat([parts.scene[photo.id] for photo in photos], n_boxes)
    logits = predict(model, crops)
    fitted = scaling.choose_scaling(logits, labels, groups, rng)
    crossed = cross_fitting.cross_fit(fitted.method, logits, labels, groups, rng)
    cross_fitting.write(out, fitted, crossed, np.repeat([photo.id for photo in photos], n_boxes))
    sidecar = {
        "task": "classifier",
        "family": "timm",
        "categories": [c.id for c in parts.dataset.categories],
        "size": config.size,
        "mean": list(model.normalisation.mean),
        "std": list(model.normalisation.std),
        "margin": config.margin,
        "fit": config.fit,
        "background": model.columns.background,
    }
    parity = export_classifier(model, out / "model.onnx", sidecar | fitted.sidecar(), crops[:16])
    return {"parity": parity} | calibration_metrics(Valid(logits, labels, model.columns.names), fitted, crossed)


class Valid(NamedTuple):
    """What the classifier makes of the valid crops: logits (N, C), labels (N,), and how many of the columns are names."""

    logits: np.ndarray
    labels: np.ndarray
    names: int

    def accuracy(self, logits: np.ndarray) -> float:
        """The share of the products whose true name has the highest of `logits` (N, C)."""
        return float((logits.argmax(1) == self.labels)[self.labels < self.names].mean())


def calibration_metrics(valid: Valid, fitted: scaling.Scaling, crossed: cross_fitting.CrossFitted | None) -> dict[str, Any]:
    """How right and how well calibrated the classifier is: as it is, as `fitted` on these crops, and cross-fitted by scene."""
    logits, labels, names = valid
    background, calibrated = labels >= names, fitted.scaled(logits)
    out_of_scene = None if crossed is None else crossed.scaled(logits)
    return {
        "calibration": fitted.method,
        "temperature": fitted.temperature,
        "valid_accuracy": valid.accuracy(logits),
        "valid_accuracy_calibrated": valid.accuracy(calibrated),
        "valid_accuracy_cross_fitted": None if out_of_scene is None else valid.accuracy(out_of_scene),
        "valid_background_accuracy": float((logits.argmax(1) == labels)[background].mean()) if background.any() else None,
        "ece_before": reliability.ece(logits, labels, 1.0),
        "ece_after": reliability.ece(calibrated, labels, 1.0),
        "ece_cross_fitted": None if out_of_scene is None else reliability.ece(out_of_scene, labels, 1.0),
    }


def flattery(metrics: dict[str, Any]) -> str:
    """What a calibration that changes names adds to valid accuracy, on the crops it was fitted on and on scenes left out.

    >>> flattery({"valid_accuracy": 0.8, "valid_accuracy_calibrated": 0.85, "valid_accuracy_cross_fitted": 0.81})
    'calibrated, valid accuracy 0.850 on the crops that the calibration was fitted on, 0.810 cross-fitted by scene (adds 0.040)'
    """
    own, crossed = metrics["valid_accuracy_calibrated"], metrics["valid_accuracy_cross_fitted"]
    where = "on the crops that the calibration was fitted on"
    return f"calibrated, valid accuracy {own:.3f} {where}, {crossed:.3f} cross-fitted by scene (adds {own - crossed:.3f})"


@torch.no_grad()
def predict(model: Classifier, crops: np.ndarray, batch: int = 64) -> np.ndarray:
    """Logits (N, C) of uint8 crops (N, H, W, 3)."""
    batches = (to_input(crops[i : i + batch]) for i in range(0, len(crops), batch))
    return np.concatenate([model(normalised(images, model.normalisation)).numpy() for images in batches])
