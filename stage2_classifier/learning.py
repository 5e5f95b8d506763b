"""Gather the crops of the train photos, train the classifier on them, calibrate it on held-out crops, and export it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from photos.data import Dataset, Photo
from photos.folds import Folds
from photos.studio import studio_folder
from runs import gpu_memory, record
from runs.command import say, say_progress
from runs.distributed import SINGLE_PROCESS, Distributed
from runs.stopwatch import Stopwatch
from stage2_classifier import cross_fitting, held_out, pooled_folds, reliability, scaling, studio_prototypes
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.crops import TYPICAL_ERROR, CropFormat, Region, crops_of, megabytes, shelf_regions, studio_regions
from stage2_classifier.export import export_classifier
from stage2_classifier.fit import TrainingCrops, fit
from stage2_classifier.held_out import HeldOut
from stage2_classifier.model import Classifier, normalised, to_input, training_device
from stage2_classifier.out_of_fold import (
    NO_BOXES,
    Plan,
    background,
    detected_boxes,
    measured_error,
    out_of_fold,
    with_detected,
)
from stage2_classifier.training_request import ClassifierRun

PARITY_CROPS = 16  # chosen: on which ONNX and torch are compared


def learn(
    model: Classifier,
    request: ClassifierRun,
    config: ClassifierConfig,
    parts: Folds,
    distributed: Distributed = SINGLE_PROCESS,
) -> dict[str, Any]:
    """Train `model`, export it to model.onnx in the folder of `request`, and return the metrics.

    Of several processes the main one reads the boxes, speaks, calibrates and writes; the others return no metrics.
    """
    title, out = request.title, request.out
    watch = Stopwatch(out, request.resume)
    photos = distributed.broadcast(photos_to_learn_from(request, config, parts, model) if distributed.is_main else NO_PHOTOS)
    crops = TrainingCrops(gather(request, parts.dataset, photos.train, config), photos.error, distributed)

    def progress(line: str) -> None:
        if distributed.is_main:
            say_progress(f"{title}: {line}")
            record.note(out, line, watch.seconds)

    if distributed.is_main:
        size = f"{len(crops.regions)} crops, {megabytes(crops.regions):.0f} MB"
        say(f"{title}: cached {size}{in_each(distributed)}; box error {np.round(photos.error, 3).tolist()}")
        record.note(out, f"cached {size}", watch.seconds)
    fitted = fit(model, crops, config, out / "last.pt", progress, request.resume)
    if not distributed.is_main:
        return {}
    if request.refit:
        metrics = finish_refit(fitted.model, request, config, parts, crops)
    else:
        metrics = finish(fitted.model, out, config, parts, photos.valid, photos.error)
    if request.crops == "both":
        keep_prototypes(out, photos, crops.regions, config, model.columns.names)
    say(
        f"{title}: {accuracy_in_words(metrics)}, calibrated by {metrics['calibration']}, "
        f"{fitted.loader_share:.1%} of the steps' time spent on waiting for crops"
    )
    if metrics["calibration"] in scaling.CHANGES_NAMES and not request.refit:
        say(f"{title}: {flattery(metrics)}; the gate is fitted on the latter")
    metrics |= {"loader_share": fitted.loader_share, "epochs": fitted.epochs}
    return metrics | {"minutes": watch.seconds / 60}


def in_each(distributed: Distributed) -> str:
    """What a line about memory adds where several processes train.

    >>> in_each(Distributed()), in_each(Distributed(0, 2))
    ('', ' in each of 2 processes')
    """
    return f" in each of {distributed.world_size} processes" if distributed.world_size > 1 else ""


class TrainingPhotos(NamedTuple):
    """The photos to learn from and to calibrate on, with the boxes that detectors add to them, and the box error (4,)."""

    train: Sequence[Photo]
    valid: Sequence[Photo]
    error: np.ndarray


NO_PHOTOS = TrainingPhotos((), (), np.zeros(4))


def photos_to_learn_from(request: ClassifierRun, config: ClassifierConfig, parts: Folds, model: Classifier) -> TrainingPhotos:
    """The photos, with detectors' boxes, of a training that `request` asks for: a refit or one with a valid part."""
    if request.refit:
        return photos_of_refit(request.refit, parts, model.columns, config)
    return photos_with_detections(request.out.parent, parts, model.columns, config, request.plan)


def photos_with_detections(runs: Path, parts: Folds, outputs: Columns, config: ClassifierConfig, plan: Plan) -> TrainingPhotos:
    """What detectors find on the photos: R/one's, and by `plan` those of the folds, on scenes they were not trained on."""
    train, valid, detector = parts.photos("train"), parts.labelled("valid"), runs / "one" / "model.onnx"
    detections, on_valid = [NO_BOXES] * len(train), detected_boxes(detector, valid)
    if plan.folds:
        detections = out_of_fold(runs, parts, plan, lambda line: say_progress(f"classifier: {line}"))
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


def photos_of_refit(cross_fit: Path, parts: Folds, outputs: Columns, config: ClassifierConfig) -> TrainingPhotos:
    """All photos to learn from, none to calibrate on; boxes and their error are of the detectors that left the photo out."""
    train = parts.labelled("train")
    detections = pooled_folds.boxes_of_detectors(cross_fit, train, parts)
    error = measured_error(train, detections)
    return TrainingPhotos(background(train, detections, outputs, config.seed), (), error)


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


def keep_prototypes(out: Path, photos: TrainingPhotos, regions: list[Region], config: ClassifierConfig, names: int) -> None:
    """Write OUT/prototypes.npz of the model in OUT: of what it learned from, with cosines of the crops it is calibrated on."""
    crops, _ = crops_to_judge(photos.valid, photos.error, config, np.random.default_rng(config.seed))
    rng = np.random.default_rng(config.seed)
    studio_prototypes.write(out, studio_prototypes.measure(out, regions, crops, names, rng))


def finish(
    model: Classifier, out: Path, config: ClassifierConfig, parts: Folds, photos: Sequence[Photo], error: np.ndarray
) -> dict[str, Any]:
    """Calibrate on crops of held-out `photos`, export to OUT/model.onnx, and return the metrics."""
    rng = np.random.default_rng(config.seed)
    crops, labels = crops_to_judge(photos, error, config, rng)
    n_boxes = [len(photo.boxes) for photo in photos]
    groups = np.repeat([parts.scene[photo.id] for photo in photos], n_boxes)
    logits, photo_ids = predict(model, crops), np.repeat([photo.id for photo in photos], n_boxes)
    held_out.write(out, HeldOut(logits, labels, photo_ids))
    fitted = scaling.choose_scaling(logits, labels, groups, rng)
    crossed = cross_fitting.cross_fit(fitted.method, logits, labels, groups, rng)
    cross_fitting.write(out, fitted, crossed, photo_ids)
    described = sidecar(model, config, parts.dataset) | fitted.sidecar()
    parity = export_classifier(model, out / "model.onnx", described, crops[:PARITY_CROPS])
    return {"parity": parity} | calibration_metrics(Valid(logits, labels, model.columns.names), fitted, crossed)


def crops_to_judge(
    photos: Sequence[Photo], error: np.ndarray, config: ClassifierConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Crops uint8 (N, size, size, 3) of the boxes on `photos`, shaken by their error, and the labels (N,)."""
    regions = shelf_regions(photos, config.size)
    form = CropFormat(config.size, config.margin, config.fit)
    labels = np.array([region.label for region in regions], np.int64)
    return crops_of(regions, np.arange(len(regions)), error, form, rng), labels


def finish_refit(
    model: Classifier, request: ClassifierRun, config: ClassifierConfig, parts: Folds, trained_on: TrainingCrops
) -> dict[str, Any]:
    """Export a classifier that all photos were trained on, calibrated by what the folds' classifiers make of crops held out.

    The metrics "held_out" are those of the folds' classifiers; this one is not scored, as nothing is held out from it.
    """
    assert request.refit is not None
    rng, out = np.random.default_rng(config.seed), request.out
    pooled = pooled_folds.read(request.refit, out.name, parts, model.columns.width)
    groups = np.array([parts.scene[photo] for photo in pooled.photos.tolist()])
    fitted = scaling.choose_scaling(pooled.logits, pooled.labels, groups, rng)
    crossed = cross_fitting.cross_fit(fitted.method, pooled.logits, pooled.labels, groups, rng)
    cross_fitting.write(out, fitted, None, pooled.photos)  # no photo of these is evidence from this classifier
    (out / held_out.NAME).unlink(missing_ok=True)
    form = CropFormat(config.size, config.margin, config.fit)
    picks = np.arange(min(PARITY_CROPS, len(trained_on.regions)))
    crops = crops_of(trained_on.regions, picks, trained_on.box_error, form, rng)
    parity = export_classifier(model, out / "model.onnx", sidecar(model, config, parts.dataset) | fitted.sidecar(), crops)
    of_folds = calibration_metrics(Valid(pooled.logits, pooled.labels, model.columns.names), fitted, crossed)
    return {"parity": parity, "calibration": fitted.method, "temperature": fitted.temperature, "held_out": of_folds}


def accuracy_in_words(metrics: dict[str, Any]) -> str:
    """How many crops that were not trained on are named rightly, and by whom.

    >>> accuracy_in_words({"valid_accuracy": 0.8}), accuracy_in_words({"held_out": {"valid_accuracy": 0.8}})
    ('valid accuracy 0.800', "trained on all photos; the folds' classifiers name 0.800 of the crops left out rightly")
    """
    if "held_out" in metrics:
        share = metrics["held_out"]["valid_accuracy"]
        return f"trained on all photos; the folds' classifiers name {share:.3f} of the crops left out rightly"
    return f"valid accuracy {metrics['valid_accuracy']:.3f}"


def sidecar(model: Classifier, config: ClassifierConfig, dataset: Dataset) -> dict[str, Any]:
    """What run.py must know about the classifier, but for its calibration."""
    return {
        "task": "classifier",
        "family": "timm",
        "categories": [c.id for c in dataset.categories],
        "size": config.size,
        "mean": list(model.normalisation.mean),
        "std": list(model.normalisation.std),
        "margin": config.margin,
        "fit": config.fit,
        "background": model.columns.background,
    }


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
    """Logits (N, C) of uint8 crops (N, H, W, 3), computed where it was trained; `model` is on the CPU afterwards."""
    device = training_device()
    model.to(device)
    batches = (to_input(crops[i : i + batch]).to(device) for i in range(0, len(crops), batch))
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # whose 10 bits are not what ONNX computes with
        logits = np.concatenate([model(normalised(images, model.normalisation)).cpu().numpy() for images in batches])
    model.cpu()
    gpu_memory.release()
    return logits
