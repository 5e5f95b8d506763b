"""The trained runs that are compared, and whether they can be: finished, with the same folds, all class-aware or none."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fusion.models import Model, read_object
from photos import folds
from photos.data import Dataset
from runs.record import fingerprint


class Run(NamedTuple):
    """A finished training: its name in the table, its folder, and the settings in its run.json."""

    name: str
    out: Path
    settings: dict[str, Any]


def name_and_folder(text: str) -> tuple[str, Path]:
    """The name, empty where none is given, and the folder of one of --runs. Raises ValueError for a name with other characters.

    >>> name_and_folder("small=runs/a"), name_and_folder("runs/a=b")
    (('small', PosixPath('runs/a')), ('', PosixPath('runs/a=b')))
    """
    name, sign, path = text.partition("=")
    if not sign or "/" in name:
        return "", Path(text)
    if not re.fullmatch(r"[\w.+-]+", name) or not path:
        raise ValueError(f"--runs: got {text!r}, need NAME=FOLDER with a name of letters, digits and _ . + -")
    return name, Path(path)


def run_of(text: str) -> Run:
    """The run that one of --runs means. Raises ValueError where there is none, or none that is finished."""
    name, path = name_and_folder(text)
    if not path.is_dir():
        raise ValueError(f"--runs: got {path}, which is no folder")
    folders = [path / classes for classes in ("one", "all") if (path / classes).is_dir()]
    if not folders and path.name not in ("one", "all"):
        raise ValueError(f"--runs: got {path}, which holds neither one/ nor all/ of stage1_detector.train")
    out = folders[0] if folders else path
    if not (out / "run.json").is_file() or not (out / "model.onnx").is_file():
        raise ValueError(f"--runs: {out} is not finished: it needs run.json and model.onnx")
    settings = read_object(out / "run.json")["settings"]
    return Run(name or name_of(settings), out, settings)


def name_of(settings: dict[str, Any]) -> str:
    """What a detector of these settings is called: its model YAML without the ending, or its family and backbone.

    >>> name_of({"family": "yolo", "model": "yolov8n.yaml"}), name_of({"family": "rcnn", "backbone": "resnet50"})
    ('yolov8n', 'rcnn-resnet50')
    """
    if "model" in settings:
        return Path(settings["model"]).stem
    return "-".join(settings[key] for key in ("family", "backbone") if key in settings)


def refuse_same_names(runs: Sequence[Run]) -> None:
    """Raises ValueError where two runs go by one name."""
    ((name, count),) = Counter(run.name for run in runs).most_common(1)
    if count > 1:
        raise ValueError(f"--runs: {count} are called {name}; tell them apart by NAME=FOLDER")


def shared_folds(runs: Sequence[Run], dataset: Dataset) -> folds.Folds:
    """The folds of all runs. Raises ValueError unless they are the same and each run was trained on them."""
    first = folds.load(runs[0].out.parent / folds.NAME, dataset)
    for run in runs:
        path = run.out.parent / folds.NAME
        part = folds.load(path, dataset).part
        others = sum(part[photo] != first.part[photo] for photo in part)
        if others:
            raise ValueError(f"--runs: {run.name} was dealt otherwise than {runs[0].name}: {others} photos are in another part")
        if run.settings["folds"] not in (folds.fingerprint(path), fingerprint(path)):  # the second: of an earlier version
            raise ValueError(f"--runs: {path} was made anew since {run.name} was trained, on other photos perhaps")
    return first


def refuse_mixed(models: dict[str, Model], dataset: Dataset) -> None:
    """Raises ValueError unless all are class-aware with the categories of the data set, or none is."""
    aware = [name for name, model in models.items() if model.sidecar.categories is not None]
    plain = [name for name in models if name not in aware]
    if aware and plain:
        raise ValueError(f"--runs: {aware[0]} tells names apart and {plain[0]} does not; compare those of --classes one or all")
    other = [name for name in aware if models[name].sidecar.categories != [category.id for category in dataset.categories]]
    if other:
        raise ValueError(f"--runs: {other[0]} knows other categories than the {len(dataset.categories)} of {dataset.root}")
