"""Checks of trainings: photos per second in bf16, what happens where memory runs out, and a whole fit."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from experiments.figures.records import Estimate, Measured
from experiments.gpu import drawn_photos
from experiments.gpu.scale import Detector, Work
from fusion.models import read_object
from photos.data import read
from runs.record import ROOT
from stage1_detector import engine
from stage1_detector.config import DetectorConfig
from stage1_detector.ultralytics_engine import yolo
from stage2_classifier import fit as classifier_fit
from stage2_classifier import model as classifier_model
from stage2_classifier.config import ClassifierConfig, columns
from stage2_classifier.crops import TYPICAL_ERROR, shelf_regions

EPOCHS = 2  # chosen: the first epoch, in which processes start and caches fill, does not count
RATE = re.compile(r"  ([0-9.]+) photos/s")
TOLD = "out of memory"


def training_speed(place: int, work: Work) -> Iterator[Measured]:
    """Photos per second of the second epoch of the detector at `place`, in bf16 on a GPU, and its peak memory."""
    detector, lines = work.scale.detectors[place], list[str]()
    job = job_of(work, detector, work.scale.train_batch, lines)
    mode = yolo.ultralytics_arguments(job)["amp"] or "float32"
    if not work.rehearsed and mode != "bf16":
        raise ValueError(f"{torch.cuda.get_device_name(0)}: trainings would be in {mode}, must be bf16")
    yolo.fit(job)
    gigabytes = 0.0 if work.rehearsed else torch.cuda.max_memory_allocated() / 1e9
    photos, told = len(job.photos["train"]), [line for line in lines if line.startswith(TOLD)]
    setting = work.setting(
        f"{detector.name} at {job.config.size} px in {mode}, batch {job.config.batch}{f' ({told[-1]})' if told else ''}, epoch "
        f"{EPOCHS} of {photos} drawn shelves, validation apart; one epoch, so no interval"
    )
    key = f"gpu.train.{detector.name}"
    yield Measured(f"{key}.photos_s", Estimate(rate_of(lines), photos), "photos/s", setting)
    if gigabytes:
        yield Measured(f"{key}.peak_gb", Estimate(gigabytes, 1), "GB", setting)


def rate_of(lines: list[str]) -> float:
    """Photos per second in the last line of an epoch that a training told. Raises ValueError where there is none.

    >>> rate_of(["epoch 1/2  box_loss 1.5  2.0 photos/s  0.1 min left", "epoch 2/2  box_loss 1.2  12.5 photos/s  0.0 min left"])
    12.5
    """
    rates = [float(found[1]) for line in lines if (found := RATE.search(line))]
    if len(rates) < EPOCHS:
        raise ValueError(f"the training told the photos per second of {len(rates)} epochs, need {EPOCHS}")
    return rates[-1]


def job_of(work: Work, detector: Detector, batch: int, lines: list[str]) -> engine.Job[DetectorConfig]:
    """A class-agnostic training of EPOCHS epochs on the drawn shelves, whose lines are added to `lines`; nothing is scored."""
    photos = read(drawn_photos.shelves(work)).photos
    config = DetectorConfig(
        family=detector.family, model=detector.model, size=work.scale.size, epochs=EPOCHS, min_steps=0, batch=batch,
        device=work.device, warmup_epochs=0.0, patience=0,
    )  # fmt: skip
    out = work.out / "trainings" / f"{detector.name}_{batch}"
    return engine.Job(
        config, {"train": photos, "valid": photos[:1]}, ["product"], out, lines.append, lambda network: {"det_map50": 0.0}
    )


def memory(work: Work) -> Iterator[Measured]:
    """Both stages are given a few GB of the GPU's memory and a batch that needs more: they go on with smaller batches.

    In a rehearsal memory is not cut, as torch cannot on a CPU: the trainings run as they are.
    """
    batch, crops = work.scale.memory_batches
    detector = Detector("yolo", work.scale.memory_detector)
    first: dict[str, Any] = {"detector": batch, "classifier": crops}
    for stage, train in (("detector", train_detector), ("classifier", train_classifier)):
        lines: list[str] = []
        with memory_of(work):
            train(work, detector, first[stage], lines)
        told = [line for line in lines if line.startswith(TOLD)]
        if not told and not work.rehearsed:
            raise ValueError(f"{stage}: a batch of {first[stage]} fits into {work.scale.memory_gb} GB: memory never ran out")
        setting = work.setting(
            f"{stage} with a batch of {first[stage]} and {work.scale.memory_gb} GB: {told[-1] if told else 'not cut'}; "
            "a count, so no interval"
        )
        yield Measured(f"gpu.memory.{stage}.smaller_batches", Estimate(len(told), 1), "count", setting)


@contextmanager
def memory_of(work: Work) -> Iterator[None]:
    """torch may use `work.scale.memory_gb` of the first GPU's memory; in a rehearsal nothing changes."""
    if work.rehearsed:
        yield
        return
    whole = torch.cuda.get_device_properties(0).total_memory / 1e9
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, work.scale.memory_gb / whole), 0)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)


def train_detector(work: Work, detector: Detector, batch: int, lines: list[str]) -> None:
    """Train a detector as `hylle train-detector` does."""
    yolo.fit(job_of(work, detector, batch, lines))


def train_classifier(work: Work, detector: Detector, batch: int, lines: list[str]) -> None:
    """Train `work.scale.backbone` for one epoch as `hylle train-classifier` does; `detector` is not used."""
    dataset, size = read(drawn_photos.shelves(work)), work.scale.crop_size
    config = ClassifierConfig(model=work.scale.backbone, size=size, epochs=1, min_steps=0, batch=batch)
    regions = shelf_regions(dataset.photos, size)[: 4 * batch]
    network = classifier_model.build(config, columns(config, [category.name for category in dataset.categories]))
    crops = classifier_fit.TrainingCrops(regions, np.array(TYPICAL_ERROR))
    last = work.out / "trainings" / "classifier.pt"
    last.parent.mkdir(parents=True, exist_ok=True)
    classifier_fit.fit(network, crops, config, last, lines.append)


def whole_fit(work: Work) -> Iterator[Measured]:
    """`hylle fit` on the drawn shelves within its minutes; in a rehearsal its plan alone."""
    data, out, flags = drawn_photos.shelves(work), work.out / "fit", work.scale.fit_flags
    minutes = float(flags[flags.index("--minutes") + 1])
    started, log = time.monotonic(), work.out / "fit.log"
    with log.open("w") as file:
        words = [sys.executable, "-m", "hylle", "fit", str(data), "--out", str(out), *flags]
        code = subprocess.run(words, cwd=ROOT, stdout=file, stderr=file, check=False).returncode
    taken = (time.monotonic() - started) / 60
    lines = log.read_text().strip().splitlines() or ["no word"]
    if code:
        raise ValueError(f"hylle fit: exit code {code}: {lines[-1][:300]}")
    if "--plan" not in flags and not (out / "submission.zip").is_file():
        raise ValueError(f"hylle fit: no {out / 'submission.zip'}: {lines[-1][:300]}")
    setting = f"hylle fit {' '.join(flags)} on {work.scale.shelves} drawn shelves"
    once = work.setting(f"{setting}, its start in it; one fit, so no interval")
    yield Measured("gpu.fit.minutes_over_asked", Estimate(taken / minutes, 1), "ratio", once)
    if "--plan" not in flags:
        told = read_object(out / "fitted.json")
        score, over = told["cross_fitted"]["score"], told["resampled"]
        estimate = Estimate(score["value"], score["n_groups"], score["low"], score["high"])
        yield Measured(
            "gpu.fit.score", estimate, "score", f"{setting}, judged by models that did not see their scenes; over {over}"
        )
