"""How scenes are found: what `--groups` asks for, and how it is recorded."""

import hashlib
from pathlib import Path

import numpy as np

from photos import scenes
from photos.data import DataError, Dataset
from runs import command


def find_scenes(dataset: Dataset, groups: str) -> np.ndarray:
    """The scenes that `--groups` asks for, int64 (n_photos,)."""
    if groups == "auto":
        return scenes.groups(dataset, progress=command.ticker("scenes: step"))
    return np.arange(len(dataset.photos)) if groups == "photo" else scenes.from_csv(Path(groups), dataset)


def groups_setting(groups: str) -> str:
    """`--groups` as a folds.json records it: a file by its name and content, not by its path. DataError for no such file."""
    if groups in ("auto", "photo"):
        return groups
    path = Path(groups)
    if not path.is_file():
        raise DataError(f"--groups: got {groups}, need auto, photo, or a CSV file with the columns file_name,scene")
    return file_setting(path)


def file_setting(path: Path) -> str:
    """A file as settings record it: by its name and content, not by where it lies."""
    return f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
