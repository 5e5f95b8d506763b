"""The model files that an ensemble.json was made for: whether those that lie beside it now are the same.

A model that was trained again under the same name is another one: a gate that was fitted to the old one does not fit it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusion.ensemble import Ensemble
from runs.record import digest, fingerprint
from runs.typed import typed

METHOD = (
    "detectors",
    "classifiers",
    "merge",
    "gate",
    "naming_floor",
    "sizes",
    "min_scores",
)  # fields that say how it finds and names
ADDED = {"naming_margin": 1.0, "naming_typical": 0.0}  # more of them, with the values of runs that were made without them


def model_in(runs: Path, folder: str) -> str:
    """The file of the model in a folder of RUNS as ensemble.json names it, however the folder is written.

    Raises ValueError where the folder is not in RUNS.

    >>> model_in(Path("R"), "arcface/"), model_in(Path("R"), "./one//two/..")
    ('arcface/model.onnx', 'one/model.onnx')
    """
    inside = os.path.relpath(runs / folder, runs)
    if Path(inside).parts[:1] in ((), (os.pardir,)):
        raise ValueError(f"{folder}: not a folder in {runs}; need the name of one, such as classifier_shelf")
    return f"{inside}/model.onnx"


def files_of(ensemble: Ensemble) -> list[str]:
    """The model files of an ensemble, each once."""
    return list(dict.fromkeys(model.file for model in (*ensemble.detectors, *ensemble.classifiers)))


def method_of(ensemble: Ensemble) -> str:
    """The fingerprint of how an ensemble finds and names: what is measured of one holds for no other.

    Its models' files count by their names; `made_from` tells whether they are the same.
    """
    values = asdict(ensemble)
    return digest([values[name] for name in METHOD] + [values[name] for name in ADDED if values[name] != ADDED[name]])


def measured_of(runs: Path, ensemble: Ensemble) -> dict[str, Any]:
    """What figures are of, to be kept beside them: the method, and the models of the run folder."""
    return {"method": method_of(ensemble), "models": fingerprints(runs, files_of(ensemble))}


def is_stale(told: Mapping[str, Any], runs: Path, ensemble: Ensemble) -> bool:
    """Whether figures are of another ensemble than `ensemble`, as `told` says under "measured"; False where it says nothing."""
    return "measured" in told and told["measured"] != measured_of(runs, ensemble)


def fingerprint_of(model: Path) -> str:
    """The fingerprint of a model and its sidecar; empty where one of them is missing."""
    paths = (model, model.with_suffix(".json"))
    return fingerprint(*paths) if all(path.is_file() for path in paths) else ""


def fingerprints(runs: Path, files: Iterable[str]) -> dict[str, str]:
    """The fingerprint of each model of a run folder, by its file."""
    return {file: fingerprint_of(runs / file) for file in files}


def refuse_changed(runs: Path, ensemble: Ensemble, files: Iterable[str] | None = None) -> None:
    """Raises ValueError where a model is another than the one that RUNS/ensemble.json was fitted to.

    `files` are those that count; all of the ensemble by default. One that was written by hand records none.
    """
    recorded = ensemble.made_from
    for file in files_of(ensemble) if files is None else files:
        if file in recorded and (now := fingerprint_of(runs / file)) != recorded[file]:
            train = "" if now else "train it, then "
            raise ValueError(
                f"{runs / file} {'changed' if now else 'is gone'} since the gate in {runs / 'ensemble.json'} was fitted to it: "
                f"{train}{typed('hylle gate --data D --runs', runs)} fits it again"
            )


def with_change(made_from: Mapping[str, str], file: str, before: str, after: str) -> dict[str, str]:
    """`made_from` after a model was changed on purpose, where it was of the model `before`.

    >>> with_change({"a.onnx": "1", "b.onnx": "2"}, "a.onnx", "1", "3"), with_change({"a.onnx": "0"}, "a.onnx", "1", "3")
    ({'a.onnx': '3', 'b.onnx': '2'}, {'a.onnx': '0'})
    """
    return {name: after if (name, value) == (file, before) else value for name, value in made_from.items()}
