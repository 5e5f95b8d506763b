"""What the models of a run were trained on, with what, and for how long."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fitting.cross_fit import holds_out
from fusion.models import read_object
from photos.folds import Folds
from reporting.held_out import HeldOut
from runs.model_files import files_of
from runs.status import reached


class Training(NamedTuple):
    """One model: its folder, its job, the network, its canvas or crops in pixels, epochs, minutes, and what it reached."""

    folder: str
    job: str
    network: str
    size: int
    epochs: int
    minutes: float | None
    reached: str
    commit: str
    machine: str


class Taught(NamedTuple):
    """The trainings, the photos and boxes of each part, and what is not known."""

    trainings: list[Training]
    parts: list[tuple[str, int, int, int]]
    absent: list[str]


def taught(held_out: HeldOut) -> Taught:
    """What the run in its folder tells of its trainings."""
    folders = list(dict.fromkeys(str(Path(file).parent) for file in files_of(held_out.ensemble)))
    trainings, absent = [], []
    for folder in folders:
        path = held_out.runs / folder / "run.json"
        if path.is_file():
            trainings.append(training(folder, job_of(folder, held_out), read_object(path)))
        else:
            absent.append(f"how {folder} was trained is not known: there is no {folder}/run.json")
    return Taught(trainings, parts_of(held_out.folds), absent)


def job_of(folder: str, held_out: HeldOut) -> str:
    """What a model does in the ensemble."""
    if any(Path(namer.file).parent == Path(folder) for namer in held_out.ensemble.classifiers):
        return "names crops"
    own = [member for member in held_out.ensemble.detectors if Path(member.file).parent == Path(folder)]
    finds, names = any(member.weight for member in own), any(member.evidence_weight for member in own)
    return "finds and names" if finds and names else "gives names as evidence" if names else "finds products"


def training(folder: str, job: str, run: Mapping[str, Any]) -> Training:
    """One training from its run.json."""
    settings, metrics = run.get("settings", {}), run.get("metrics", {})
    minutes = metrics.get("minutes")
    told = reached({name: value for name, value in metrics.items() if name != "minutes"})
    return Training(
        folder,
        job,
        f"{settings.get('family', '')} {settings.get('model', '')}".strip(),
        settings.get("size", 0),
        metrics.get("epochs", settings.get("epochs", 0)),  # done, which --min-steps may make more than were asked for
        minutes if isinstance(minutes, float | int) else None,
        told or "not scored: trained on every photo",
        run.get("commit", "unknown"),
        run.get("machine", "unknown"),
    )


def parts_of(folds: Folds) -> list[tuple[str, int, int, int]]:
    """(part, photos, boxes, scenes) of each part that has photos."""
    in_turn = folds.settings.pooled and not holds_out(folds)
    words = {"train": "all but test, in folds" if in_turn else "train", "valid": "valid", "test": "test"}
    rows = []
    for part, word in words.items():
        photos = folds.photos(part)
        if photos:
            rows.append((word, len(photos), sum(len(p.boxes) for p in photos), len({folds.scene[p.id] for p in photos})))
    return rows
