"""The trainings of a procedure in one run folder: reused where finished, gone on with where stopped.

None begins where the data set is no more what it was when the fit began.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from fitting.cross_fit import FOLDER
from fitting.origin import Origin
from fitting.procedure import SECOND, Procedure
from fusion.models import read_object
from runs import record
from stage1_detector.config import Config
from stage1_detector.detector_run import DetectorRun, train_detector
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.training_request import ClassifierRun, run_name


@dataclass
class Clock:
    """Seconds that each part took in this call, by its name: a training's is its folder below R.

    It is asked for the settings of each training right before; this one leaves them as they are.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Times what is done inside; also where it fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def detector(self, name: str, config: Config) -> Config:
        """The settings of the detector's training in the folder R/NAME."""
        return config

    def classifier(self, name: str, config: ClassifierConfig) -> ClassifierConfig:
        """The settings of the classifier's training in the folder R/NAME."""
        return config


def classifier_name(procedure: Procedure) -> str:
    """The classifier's folder in a run folder; that of the first where there are two."""
    return run_name(None, procedure.crops)


def train_detectors(origin: Origin, runs: Path, folder: Path, procedure: Procedure, clock: Clock) -> None:
    """The detectors that leave a fold out, in its run FOLDER, which is RUNS or below it."""
    prefix = prefix_of(runs, folder)
    with clock.timed(f"{prefix}one"):
        config = clock.detector(f"{prefix}one", procedure.detector)
        origin.refuse_changed()
        train_detector(detector_request(origin.data, folder, "one", procedure.pretrained_path, procedure.trusted), config)
    if procedure.aware is not None:
        with clock.timed(f"{prefix}all"):
            start = record.weights_of(folder / "one")
            config = clock.detector(f"{prefix}all", procedure.aware)
            origin.refuse_changed()
            train_detector(detector_request(origin.data, folder, "all", start), config)


def train_fold_classifiers(origin: Origin, runs: Path, folder: Path, procedure: Procedure, clock: Clock) -> None:
    """The classifiers that leave a fold out, likewise; they learn what boxes the detector in FOLDER finds."""
    for own, config in procedure.classifiers.items():
        name = prefix_of(runs, folder) + own
        with clock.timed(name):
            config = clock.classifier(name, config)
            origin.refuse_changed()
            train_classifier(classifier_request(origin.data, folder, procedure, own), config)


def prefix_of(runs: Path, folder: Path) -> str:
    """What the names of the trainings in FOLDER begin with."""
    return "" if folder == runs else f"{folder.relative_to(runs).as_posix()}/"


def refit_detectors(origin: Origin, runs: Path, procedure: Procedure, clock: Clock) -> None:
    """The detectors that ship, in RUNS: trained on all photos, for as many epochs as the longest of the folds' trainings,
    unless the clock says otherwise.
    """
    with clock.timed("one"):
        request = replace(detector_request(origin.data, runs, "one", procedure.pretrained_path, procedure.trusted), refit=True)
        config = clock.detector("one", without_selection(procedure.detector, epochs_of_folds(runs, "one")))
        origin.refuse_changed()
        train_detector(request, config)
    if procedure.aware is not None:
        with clock.timed("all"):
            start = record.weights_of(runs / "one")
            request = replace(detector_request(origin.data, runs, "all", start), refit=True)
            config = clock.detector("all", without_selection(procedure.aware, epochs_of_folds(runs, "all")))
            origin.refuse_changed()
            train_detector(request, config)


def refit_classifiers(origin: Origin, runs: Path, procedure: Procedure, clock: Clock) -> None:
    """The classifiers that ship, likewise."""
    for name, config in procedure.classifiers.items():
        with clock.timed(name):
            request = replace(classifier_request(origin.data, runs, procedure, name), refit=runs / FOLDER)
            config = clock.classifier(name, replace(config, epochs=epochs_of_folds(runs, name), min_steps=0))
            origin.refuse_changed()
            train_classifier(request, config)


def without_selection(config: Config, epochs: int) -> Config:
    """`config` for so many epochs, of which the last one counts."""
    return replace(config, epochs=epochs, min_steps=0, patience=0)


def epochs_of_folds(runs: Path, name: str) -> int:
    """The most epochs of the folds' trainings in NAME, as their run.json tell: there may be more than the settings', where
    photos are few and `min_steps` counts.
    """
    records = sorted((runs / FOLDER).glob(f"*/{name}/run.json"))
    return max(int(read_object(path)["metrics"]["epochs"]) for path in records)


def detector_request(data: Path, runs: Path, classes: str, pretrained: Path | None, trusted: Path | None = None) -> DetectorRun:
    """A detector's training in RUNS, gone on with where it was stopped."""
    stopped = record.is_stopped(runs / classes)
    return DetectorRun(data=data, runs=runs, classes=classes, pretrained=pretrained, trust=trusted, resume=stopped)


def classifier_request(data: Path, runs: Path, procedure: Procedure, name: str) -> ClassifierRun:
    """The training of the classifier NAME in RUNS, gone on with where it was stopped.

    A second one starts from the best weights of its backbone that are here, or from none where the user wants none.
    """
    stopped, given = record.is_stopped(runs / name), procedure.crop_pretrained_path
    return ClassifierRun(
        data=data, runs=runs, crops=procedure.crops, resume=stopped, name=SECOND if name == SECOND else None,
        pretrained=given and Path("auto") if name == SECOND else given,
    )  # fmt: skip
