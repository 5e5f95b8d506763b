"""How long the run took, part by part, and how long a photo takes now on this machine."""

import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fusion.models import read_object
from fusion.pipeline import Pipeline, merge
from photos.data import read_image
from reporting.held_out import HeldOut
from reporting.trainings import Training
from runs import record
from runs.typed import typed

PHOTOS = 3  # chosen: timed; the first one warms the models up and does not count where there are more
MOST_SECONDS = 4.0  # chosen: of timing, after which no further photo is begun
ZIP = "submission.zip"


class Stage(NamedTuple):
    """A part of the work and its seconds."""

    name: str
    seconds: float


class Speed(NamedTuple):
    """Seconds of the parts of the training, median seconds of the steps for a photo, where that was, the zip's bytes."""

    training: list[Stage]
    photo: list[Stage]
    photos_timed: int
    machine: str
    zip_bytes: int | None
    sandbox: dict[str, float]
    absent: list[str]


def speed_of(held_out: HeldOut, trainings: list[Training]) -> Speed:
    """What the run tells, and a measurement of a few photos."""
    runs, absent = held_out.runs, []
    stages = stages_of(runs) or [Stage(t.folder, 60 * t.minutes) for t in trainings if t.minutes is not None]
    if not stages:
        absent.append("how long the trainings took is not recorded")
    archive = runs / ZIP
    zip_bytes = archive.stat().st_size if archive.is_file() else None
    if zip_bytes is None:
        build = typed("hylle build --runs", runs, "--out", archive)
        absent.append(f"there is no zip in the run folder: {build} makes one")
    tried = sandbox_times(runs, archive)
    if not tried:
        absent.append("the run folder holds no times of the judge's sandbox: hylle sandbox ZIP --images DIR tells them")
    timed, count = time_photos(held_out)
    return Speed(stages, timed, count, processor(), zip_bytes, tried, absent)


def sandbox_times(runs: Path, archive: Path) -> dict[str, float]:
    """Seconds of each part in the judge's sandbox, by RUNS/sandbox.json; none where that is of another zip than ARCHIVE."""
    path = runs / "sandbox.json"
    if not (path.is_file() and archive.is_file()):
        return {}
    told = read_object(path)
    is_of_another = "zip" in told and told["zip"] != record.fingerprint(archive)
    return {} if is_of_another else dict(told.get("by_part", {}))


def processor() -> str:
    """What the photos were timed on: `runs.record.machine` would load torch, which takes seconds."""
    return f"{os.cpu_count()} cores {platform.machine()}, by onnxruntime"


def stages_of(runs: Path) -> list[Stage]:
    """The parts of a fit in their order; none of other runs."""
    path = runs / "plan.json"
    if path.is_file():
        parts = read_object(path).get("parts", {})
        return [Stage(name, float(part["seconds"])) for name, part in parts.items() if part.get("seconds")]
    path = runs / "fitted.json"
    seconds = read_object(path).get("seconds", {}) if path.is_file() else {}
    return [Stage(name, float(value)) for name, value in seconds.items()]


def time_photos(held_out: HeldOut) -> tuple[list[Stage], int]:
    """Median seconds of reading, finding and naming for a photo, by the models that ship, and how many photos count."""
    pipeline = Pipeline(held_out.ensemble, held_out.runs)
    rows: list[tuple[float, float, float]] = []
    begun = time.perf_counter()
    for photo in held_out.photos[: PHOTOS + 1]:
        if rows and time.perf_counter() - begun > MOST_SECONDS:
            break
        started = time.perf_counter()
        image = read_image(photo.path, photo.width, photo.height)
        read = time.perf_counter()
        merged = merge(pipeline.detect(image), held_out.ensemble)
        found = time.perf_counter()
        pipeline.name(image, merged)
        rows.append((read - started, found - read, time.perf_counter() - found))
    counted = rows[1:] or rows
    medians = np.median(np.array(counted).reshape(-1, 3), axis=0).tolist() if counted else []
    names = ("read the photo", "find products", "name products")
    return [Stage(name, value) for name, value in zip(names, medians, strict=False)], len(counted)
