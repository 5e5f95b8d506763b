"""What an enrolling or an undoing is about to change, so that one that is stopped is put right by the next call."""

import shutil
from pathlib import Path
from typing import Any

from fusion.models import read_object
from runs import record
from runs.atomic_write import replacing
from runs.model_files import fingerprint_of

NAME = "enrolling.json"  # beside the model, while its files are changed
ENROLLED = "enrolled.json"  # beside the model: the names that it was taught
BEFORE = ".before_enroll"  # goes before the suffix of the files that are brought back


def backup(path: Path) -> Path:
    """Where the earlier file of PATH is kept."""
    return path.with_name(path.stem + BEFORE + path.suffix)


def files_of(folder: Path) -> list[Path]:
    """The graph and the sidecar in FOLDER."""
    return [folder / "model.onnx", folder / "model.json"]


def begin(folder: Path, model: str, enrolled: list[dict[str, Any]], ensemble: tuple[Any, Any]) -> None:
    """Note what `bring_back` is to reach: the fingerprint of the model, its enrolled names, and, of what ensemble.json holds,
    what is replaced by what.
    """
    replaced, by = ensemble
    record.write_json(folder / NAME, {"model": model, "enrolled": enrolled, "replaced": replaced, "by": by})


def end(folder: Path) -> None:
    """Note that nothing is to be brought back."""
    (folder / NAME).unlink()


def bring_back(folder: Path, ensemble: Path) -> bool:
    """Bring the classifier in FOLDER, its list of names and the file ENSEMBLE to what was noted; whether anything was.

    An ENSEMBLE that is not what was to be replaced stays. The backups go last, so that a call which is stopped is made again.
    Raises ValueError where neither the model nor its backup is the noted one.
    """
    if not (folder / NAME).is_file():
        return False
    noted, (model, sidecar) = read_object(folder / NAME), files_of(folder)
    if fingerprint_of(model) != noted["model"]:
        _restore(folder, noted["model"])
    if ensemble.is_file() and noted["by"] is not None and read_object(ensemble) == noted["replaced"]:
        record.write_json(ensemble, noted["by"])
    record.write_json(folder / ENROLLED, noted["enrolled"])
    for path in (model, sidecar):
        backup(path).unlink(missing_ok=True)
    end(folder)
    return True


def keep(folder: Path) -> None:
    """Copy the graph and the sidecar in FOLDER to their backups."""
    paths = files_of(folder)
    with replacing(*map(backup, paths)) as unfinished:
        for path, copy in zip(paths, unfinished, strict=True):
            shutil.copyfile(path, copy)


def _restore(folder: Path, model: str) -> None:
    """Copy the backups to the graph and the sidecar. Raises ValueError where they are not those of the fingerprint `model`."""
    paths = files_of(folder)
    if fingerprint_of(backup(paths[0])) != model:
        what = f"{folder}: an enrolling was stopped here, and neither the model nor its backup is what it was before"
        raise ValueError(f"{what}; train it again with --force, or remove {folder / NAME} if the model is right")
    with replacing(*paths) as unfinished:
        for path, copy in zip(paths, unfinished, strict=True):
            shutil.copyfile(backup(path), copy)
