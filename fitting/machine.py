"""Measure how fast this machine trains and looks, by short trainings with the engines of a fit, on its own photos."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch

from fitting.plan import SMALLEST_CANVAS
from fitting.procedure import Procedure, Say
from fitting.speeds import Curve, Speeds
from fitting.stage_settings import SMALL_CROP
from fusion.models import Model, Sidecar, read_object
from photos import fingerprint
from photos.data import Category, Dataset, Photo
from runs import fetched, random_state, record, versions
from runs.counted import counted
from runs.pickled_file import refuse_untrusted
from stage1_detector import engine, sidecar, start_share
from stage1_detector.config import Config
from stage1_detector.export import export_detector
from stage1_detector.families import FAMILIES, Network
from stage1_detector.pretrained import start as detector_start
from stage1_detector.validation import score
from stage2_classifier import fit, learning, model
from stage2_classifier.config import ClassifierConfig, columns
from stage2_classifier.crops import TYPICAL_ERROR, CropFormat, crops_of, shelf_regions
from stage2_classifier.export import export_classifier
from stage2_classifier.pretrained import start as classifier_start

NAME = "machine.json"
CROP_FLAG = "--crop-size"
SHORT_TRAINING = "machine_"  # a folder of a short training begins so
SHARE = 0.05  # chosen: of the minutes, spent on measuring at most, beyond the smallest measurement
BATCHES, EPOCHS = 2, 3  # chosen: of the detector's short training; the first epoch counts as its start
STEPS = 4  # chosen: of the classifier's, after a first one that warms up
CROP_PHOTOS = 4  # chosen: photos whose boxes are cut for it
CLASSIFIER_START = 12.0  # chosen: seconds of a classifier's export and calibration; corrected by the first that is trained


class DetectorTimes(NamedTuple):
    """What one short training took: seconds a photo and epoch, seconds a look at a photo, and seconds besides the epochs.

    `find` is the look of the network that trained, `find_exported` that of the model made of it.
    """

    learn: float
    find: float
    find_exported: float
    start: float


class ClassifierTimes(NamedTuple):
    """Seconds of a step, of a look at a crop by network and exported model, and of reading a photo."""

    step: float
    name: float
    name_exported: float
    read: float


def measured(runs: Path, photos: Sequence[Photo], procedure: Procedure, seconds: float, say: Say, crop_size: int = 0) -> Speeds:
    """The speeds of this machine, from RUNS/machine.json where they were measured on it before, else measured and kept there.

    `procedure` says of which detector and classifier, `crop_size` whether the user has said that of crops. Beyond the smallest
    measurement, at most about `seconds` are spent; what was kept of fewer holds unless these are enough for a second canvas.
    """
    key, path = made_from(procedure, photos, crop_size), runs / NAME
    if path.is_file() and (kept := read_object(path)).get("made_from") == key:
        speeds = parsed(kept["speeds"])
        if not 0 < speeds.second_canvas <= seconds:
            return replace(speeds, memory_gb=free_gb())
    for left_over in runs.glob(f"{SHORT_TRAINING}*"):  # by a measurement that was killed
        shutil.rmtree(left_over)
    labelled = [photo for photo in photos if len(photo.boxes)]
    say("machine: measuring short trainings of both stages")
    speeds = measure(runs, labelled, procedure, seconds, say, crop_size)
    record.write_json(path, {"made_from": key, "speeds": asdict(speeds)})
    return speeds


def refuse_unknown(procedure: Procedure, crop_size: int = 0) -> None:
    """Raises ValueError for networks that could not be built, weights that do not fit them, or a device that is not there; and
    for crops that the classifier cannot take, of the side that the user has said, or may be planned.
    """
    refuse_detector(procedure.detector, procedure.pretrained_path, procedure.trusted)
    if procedure.start_share:
        start = detector_start(procedure.pretrained_path, procedure.detector).path
        start_share.refuse(procedure.start_share, start, procedure.detector, ["product"])
    refuse_classifier(procedure.classifier, procedure.crop_pretrained_path)
    if procedure.second is not None:
        refuse_classifier(procedure.second, Path("auto"), "--second-classifier")
    for config in procedure.classifiers.values():
        for side in set(crop_sides(procedure, crop_size)) - {procedure.classifier.size}:
            model.refuse_size(replace(config, size=side), CROP_FLAG)


def crop_sides(procedure: Procedure, crop_size: int) -> list[int]:
    """The sides of crops that are measured: that of `procedure`, and, unless the user has said it, the one of short plans."""
    return sorted({crop_size or SMALL_CROP, procedure.classifier.size})


def refuse_detector(config: Config, given: Path | None, trusted: Path | None = None) -> None:
    """Raises ValueError for a detector that could not be built or have what is `given` to start from; runs `trusted` code."""
    start = detector_start(given, config).path
    if start is not None:
        fetched.refuse_changed(start)
        refuse_untrusted("--pretrained", start, trusted)
    FAMILIES[config.family].refuse(config, start, None)


def refuse_classifier(config: ClassifierConfig, given: Path | None, flag: str = "--classifier") -> None:
    """The same of a classifier, whose backbone the user says by `flag`."""
    start = classifier_start(given, config.model).path
    try:
        model.refuse_size(config, CROP_FLAG)
        trunk = model.build_trunk(config)
    except ValueError as error:  # what trains the classifier alone calls it its --model
        raise ValueError(str(error).replace("--model", flag, 1)) from None
    if start is not None:
        fetched.refuse_changed(start)
        model.load_pretrained(trunk, start)


def made_from(procedure: Procedure, photos: Sequence[Photo], crop_size: int) -> dict[str, Any]:
    """What the speeds hold for: this machine with so many threads, these versions, photos, and networks at these sizes."""
    detector, classifier = asdict(procedure.detector), procedure.classifier
    network = {name: detector[name] for name in ("family", "model", "backbone", "size", "batch", "device") if name in detector}
    return {
        "machine": record.machine(),
        "threads": torch.get_num_threads(),
        "versions": versions.installed(("onnxruntime", "torch", "ultralytics", "timm")),
        "detector": network,
        "classifier": [classifier.model, crop_sides(procedure, crop_size), classifier.batch],
        "second": procedure.second and procedure.second.model,
        "photos": fingerprint.of_photos(photos, None)["photos"],
        "measured": [field.name for field in fields(Speeds)],
    }


def parsed(values: dict[str, Any]) -> Speeds:
    """The speeds as they were kept."""
    return Speeds(**{name: Curve(**value) if isinstance(value, dict) else value for name, value in values.items()})


def measure(runs: Path, photos: Sequence[Photo], procedure: Procedure, seconds: float, say: Say, crop_size: int = 0) -> Speeds:
    """Train both stages for a few steps; at a second canvas only where that is foreseen to stay within `seconds`."""
    started, small = time.monotonic(), min(SMALLEST_CANVAS, procedure.detector.size)
    times = {small: detector_times(replace(procedure.detector, size=small), photos, runs)}
    spent, size = time.monotonic() - started, procedure.detector.size
    both = spent * (1 + (size / small) ** 2)
    if size > small and both <= seconds:
        times[size] = detector_times(procedure.detector, photos, runs)
    elif size > small:
        say(f"machine: measured at {small} px alone, to save time: {size} px are taken to cost by their pixels")
    sides = crop_sides(procedure, crop_size)
    steps = {side: classifier_times(replace(procedure.classifier, size=side), photos) for side in sides}
    last = steps[procedure.classifier.size]
    second = classifier_times(procedure.second, photos).step / last.step if procedure.second else 1.0
    return Speeds(
        learn=Curve.through(*((side, value.learn) for side, value in times.items())),
        find=Curve.through(*((side, value.find) for side, value in times.items())),
        find_exported=Curve.through(*((side, value.find_exported) for side, value in times.items())),
        detector_start=max(value.start for value in times.values()),
        step=Curve.through(*((side, value.step) for side, value in steps.items())),
        name=last.name,
        name_exported=last.name_exported,
        classifier_start=CLASSIFIER_START,
        read=last.read,
        memory_gb=free_gb(),
        device=device_name(),
        second=second,
        second_canvas=both if size not in times else 0.0,
    )


def free_gb() -> float:
    """GB of memory that are free now."""
    return float(psutil.virtual_memory().available) / 1e9


def device_name() -> str:
    """The GPU's name, or cpu with the count of its threads."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return f"cpu, {counted(torch.get_num_threads(), 'thread')}"


def detector_times(config: Config, photos: Sequence[Photo], runs: Path) -> DetectorTimes:
    """Train the detector itself on a few of `photos` from random weights, look at them, and export it."""
    shown = spread(photos, BATCHES * config.batch)
    parts = {"train": tuple(shown), "valid": tuple(shown)}
    config = replace(config, epochs=EPOCHS, min_steps=0, warmup_epochs=0.0, patience=0)
    described, family = sidecar.sidecar(config, None, parts), FAMILIES[config.family]
    n_names = 1 + max(int(photo.labels.max()) for photo in shown)
    stamps, looks, started = [], [], time.monotonic()

    def looked(network: torch.nn.Module) -> dict[str, float]:
        stamps.append(time.monotonic())
        if len(stamps) == EPOCHS:
            found = score(Network(network, config, Sidecar(**described)), tuple(shown), n_names)
            looks.append(time.monotonic() - stamps[-1])
            return found
        return {"det_map50": 0.0}

    with tempfile.TemporaryDirectory(dir=runs, prefix=SHORT_TRAINING) as folder:
        out = Path(folder)
        weights = family.fit(engine.Job(config, parts, ["product"], out, lambda line: None, looked))
        network = family.for_export(family.load(weights), config)
        export_detector(network, out / "model.onnx", described, tuple(shown))
        seconds = time.monotonic() - started
        exported = seconds_of_look(Model(out / "model.onnx"), shown, n_names)
    epochs = stamps[-1] - stamps[0]
    learn, start = epochs / (EPOCHS - 1) / len(shown), seconds - epochs - looks[0]
    return DetectorTimes(learn, looks[0] / len(shown), exported, start - learn * len(shown))


def seconds_of_look(model: Model, photos: Sequence[Photo], n_names: int) -> float:
    """Seconds that a model takes to look at one of the photos, which are scored, once it has looked at one."""
    score(model, tuple(photos[:1]), n_names)
    started = time.monotonic()
    score(model, tuple(photos), n_names)
    return (time.monotonic() - started) / len(photos)


def classifier_times(config: ClassifierConfig, photos: Sequence[Photo]) -> ClassifierTimes:
    """Cut crops of a few of `photos`, learn from them for a few steps, and name them."""
    shown, started = spread(photos, CROP_PHOTOS), time.monotonic()
    regions = shelf_regions(shown, config.size)
    read = (time.monotonic() - started) / len(shown)
    outputs = columns(config, [str(label) for label in range(1 + max(region.label for region in regions))])
    network, crops = model.build(config, outputs), fit.TrainingCrops(regions, np.array(TYPICAL_ERROR))
    with random_state.kept():
        training = fit.Training(network, config, 1 + STEPS)
        training.train_epoch(0, fit.batches(crops, config, outputs, 1, 0))
        started = time.monotonic()
        training.train_epoch(1, fit.batches(crops, config, outputs, STEPS, 1))
        step = (time.monotonic() - started) / STEPS
    form, rng = CropFormat(config.size, config.margin, config.fit), np.random.default_rng(config.seed)
    picks, started = np.resize(np.arange(len(regions)), config.batch), time.monotonic()
    cut = crops_of(regions, picks, crops.box_error, form, rng)
    cutting = time.monotonic() - started
    learning.predict(network.cpu().eval(), cut)
    named = time.monotonic() - started
    return ClassifierTimes(step, named / len(picks), (cutting + seconds_of_naming(network, config, cut)) / len(picks), read)


def seconds_of_naming(network: model.Classifier, config: ClassifierConfig, crops: np.ndarray) -> float:
    """Seconds that the model exported of a network takes to name crops (N, size, size, 3), once it has named them."""
    with tempfile.TemporaryDirectory() as folder:
        path, names = Path(folder) / "model.onnx", [Category(i, str(i)) for i in range(network.columns.names)]
        described = learning.sidecar(network, config, Dataset(Path(folder), tuple(names), ()))
        export_classifier(network, path, described, crops[: learning.PARITY_CROPS])
        exported = Model(path)
        exported(crops)
        started = time.monotonic()
        exported(crops)
    return time.monotonic() - started


def spread(photos: Sequence[Photo], count: int) -> list[Photo]:
    """At most `count` of the photos, from all over the set."""
    picks = np.unique(np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int))
    return [photos[pick] for pick in picks]
