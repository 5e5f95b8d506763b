"""The model that predicts: a run folder, a submission zip or the starter, loaded, with its products' names.

Of a zip only the models and the numbers of ensemble.json are used; its code is neither run nor imported.
"""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import cv2

from fusion.ensemble import Ensemble, read_ensemble
from fusion.models import read_object, read_sidecar
from fusion.pipeline import Pipeline
from runs import gpu_sessions
from runs.command import say
from runs.first_command import DETECTORS
from runs.model_files import files_of, refuse_changed
from runs.named_file import naming
from runs.record import digest, fingerprint
from runs.typed import typed
from submission.unpacking import unpack

STARTER = "starter"  # the word that asks for the detector that the project brings
NAMELESS = "product"  # what everything is called where no model knows names
MIN_SCORE = 0.25  # taken: the default of ultralytics' predict, where no floor was fitted
ONNXRUNTIME = "onnxruntime"
GATE = "gate.json"  # why the gate decides as it does; a run folder has it, a zip has not


class Recogniser(NamedTuple):
    """A loaded pipeline that gives each box once, and a name for each of its categories.

    `knows_names` is False where no model tells products apart. `fingerprint` is that of all numbers and models. `engine`
    says what runs the models.
    """

    pipeline: Pipeline
    names: list[str]
    knows_names: bool
    fingerprint: str
    engine: str = ONNXRUNTIME


class Floor(NamedTuple):
    """The least score of a box that counts, and where it is from."""

    score: float
    reason: str


# -- where the model is ----------------------------------------------------------------------------------------------------


def model_folder(model: str, scratch: Path, flag: str = "--model ") -> Path:
    """The folder with the models and ensemble.json that `model` means; a zip is unpacked below the folder SCRATCH.

    `flag` goes before the model where it is refused: empty for a command that takes it without a flag.

    Raises ValueError where it is neither a run folder, nor a submission zip, nor the word `starter`.
    """
    if model == STARTER:
        return starter_folder()
    path = Path(model)
    if path.is_dir():
        return run_folder(path, flag)
    if not zipfile.is_zipfile(path):
        what = "not a zip" if path.is_file() else "no such file or folder"
        raise ValueError(f"{flag}{model}: {what}; need a run folder, a submission zip, or the word {STARTER}")
    return unpacked(path, scratch)


def unpacked(archive: Path, scratch: Path) -> Path:
    """The folder below SCRATCH in which ARCHIVE is unpacked.

    Raises ValueError where it is damaged, larger than the judge allows, or no submission, or names a model outside of itself.
    """
    folder = scratch / "zip"
    scratch.mkdir(parents=True, exist_ok=True)
    unpack(archive, folder)
    try:
        files = files_of(read_ensemble(folder))
    except ValueError as error:
        raise ValueError(str(error).replace(str(folder), str(archive))) from None
    if outside := next((file for file in files if Path(file).is_absolute() or ".." in Path(file).parts), ""):
        raise ValueError(f"{archive}: ensemble.json names {outside}, which is not in the zip")
    return folder


def run_folder(runs: Path, flag: str) -> Path:
    """RUNS where it has an ensemble.json, or models beside each other; else the folder of its only detector.

    Raises ValueError where there is no model, or where two detectors wait for a gate to join them.
    """
    if (runs / "ensemble.json").is_file():
        refuse_changed(runs, read_ensemble(runs))
        return runs
    if any(runs.glob("*.onnx")):
        return runs
    detectors = [runs / name for name in DETECTORS if (runs / name / "model.onnx").is_file()]
    if len(detectors) == 1:
        return detectors[0]
    gate = typed("hylle gate --data D --runs", runs)
    if detectors:
        raise ValueError(f"{flag}{runs}: two detectors and no ensemble.json; fit the gate first: {gate}")
    raise ValueError(f"{flag}{runs}: no ensemble.json and no detector in it; train one, then {gate}, or use {STARTER}")


def starter_folder() -> Path:
    """The starter as a run folder in the user's cache, exported when it is first asked for by this version of the code.

    Raises OSError where nothing can be written there.
    """
    import fusion
    from stage1_detector import starter

    # what exports it, and what its sidecar and ensemble.json say
    folders = (Path(starter.__file__).parent, Path(fusion.__path__[0]))  # fusion has no file of its own
    code = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hylle"
    folder = base / f"starter-{fingerprint(starter.STARTER, *code)}"
    if not (folder / "ensemble.json").is_file():
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as unfinished, naming(folder):
            starter.write_run_folder(Path(unfinished) / "runs")
            shutil.rmtree(folder, ignore_errors=True)  # of which a part was removed
            with suppress(OSError):  # another process has put it there meanwhile
                (Path(unfinished) / "runs").rename(folder)
    return folder


# -- what it is ------------------------------------------------------------------------------------------------------------


def load_recogniser(folder: Path, exif: str | None = None) -> Recogniser:
    """Load the models in FOLDER, with the threads that run.py takes; `exif`, if given, replaces that of ensemble.json.

    The second names that run.py lists for a box, which rank below all first ones, are left out. Raises ValueError where a
    model is missing or broken.
    """
    ensemble = read_ensemble(folder)
    ensemble = replace(ensemble, gate=replace(ensemble.gate, further=0), exif=exif or ensemble.exif)
    gpu_sessions.install(say)
    pipeline = Pipeline(ensemble, folder)
    cv2.setNumThreads(ensemble.threads or cv2.getNumberOfCPUs())
    pipeline.warm_up()
    knows_names = any(model.sidecar.categories is not None for model in [*pipeline.detectors, *pipeline.classifiers])
    names = shown_names(ensemble) if knows_names else [NAMELESS] * len(ensemble.categories)
    return Recogniser(pipeline, names, knows_names, _fingerprint(ensemble, folder))


def shown_names(ensemble: Ensemble) -> list[str]:
    """The name of each category; "id 60" where ensemble.json has none for it.

    >>> shown_names(Ensemble([7, 60], [], names=["tea", " "])), shown_names(Ensemble([60], []))
    (['tea', 'id 60'], ['id 60'])
    """
    names = ensemble.names or [""] * len(ensemble.categories)
    return [name if name.strip() else f"id {i}" for i, name in zip(ensemble.categories, names, strict=True)]


def _fingerprint(ensemble: Ensemble, folder: Path) -> str:
    sidecars = [(folder / file).with_suffix(".json") for file in files_of(ensemble)]
    graphs = [path.with_name(read_sidecar(path).graph or path.with_suffix(".onnx").name) for path in sidecars]
    return digest([asdict(ensemble), fingerprint(*sidecars, *graphs)])


def told_without(purpose: str, fitted: Mapping[str, float], folder: Path | None) -> str:
    """Why there is no floor for `purpose`, as FOLDER/gate.json tells; else which are `fitted`, and where to look."""
    if folder is not None and (why := missing_floors(folder / GATE).get(purpose)):
        return f"no floor for it, {why} ({folder / GATE})"
    known = ", ".join(name.removeprefix("precision ") for name in fitted if name != "f1") or "none"
    where = "hylle gate fits 0.9 and 0.95 where held-out photos show them, and else says why in gate.json of the run folder"
    return f"ensemble.json has a floor for {known}; {where}"


def missing_floors(path: Path) -> dict[str, str]:
    """Why `hylle gate` fitted no floor, by what it would be for, as the file PATH tells; empty where it does not."""
    try:
        return dict(read_object(path)["operating_points"]["missing"])
    except (OSError, ValueError, KeyError, TypeError):  # none in a zip, another form in earlier versions
        return {}


def choose_floor(ensemble: Ensemble, min_score: float | None, precision: float | None, folder: Path | None = None) -> Floor:
    """The floor that the flags ask for: `min_score` itself, or the fitted one for `precision`; without them the best by F1.

    Raises ValueError where no floor was fitted for that precision, with the reason that FOLDER/gate.json of the model tells.
    """
    if min_score is not None:
        return Floor(min_score, "--min-score")
    fitted = ensemble.min_scores
    if precision is not None:
        key = f"precision {precision:g}"
        if key not in fitted:
            raise ValueError(f"--precision {precision:g}: {told_without(key, fitted, folder)}; --min-score takes any")
        return Floor(fitted[key], f"fitted for {key}")
    if "f1" in fitted:
        return Floor(fitted["f1"], "fitted, the best by F1")
    return Floor(MIN_SCORE, "the default, since none was fitted")
