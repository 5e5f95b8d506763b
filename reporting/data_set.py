"""Where the photos are that a run was made from."""

from collections.abc import Iterator
from pathlib import Path

from fusion.models import read_object
from photos import folds
from photos.data import read
from photos.folds import Folds

FITTED = "fitted.json"  # of `hylle fit`; tells the folder of the data set as it was then


def folds_of(runs: Path, data: Path | None) -> Folds:
    """RUNS/folds.json and its data set: in `data`, or where the run tells, in R, beside it or in this folder.

    Raises ValueError, or FileNotFoundError, where the run or its photos are not there, or are others.
    """
    path = runs / folds.NAME
    if not path.is_file():
        raise ValueError(f"report: {path} not found: got {runs}, need a run folder of hylle fit or hylle folds")
    if data is not None:
        return folds.load(path, read(data))
    tried: list[str] = []
    for folder in candidates(runs):
        try:
            return folds.load(path, read(folder))
        except (ValueError, OSError) as error:
            tried.append(f"{folder} ({str(error).splitlines()[0]})")
    where = f"; not these: {'; '.join(tried)}" if tried else ""
    raise ValueError(f"report: the data set of {runs} is not where it was: pass --data D{where}")


def candidates(runs: Path) -> Iterator[Path]:
    """The folders that may hold the data set, each once: those that are there."""
    told = read_object(runs / FITTED).get("data") if (runs / FITTED).is_file() else None
    name = read_object(runs / folds.NAME).get("data")
    by_name = [runs / name, runs.resolve().parent / name, Path(name)] if isinstance(name, str) and name else []
    yield from dict.fromkeys(path.resolve() for path in [*([Path(told)] if told else []), *by_name] if path.is_dir())
