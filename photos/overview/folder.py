"""The files of a data set's folder that belong to no photo of the set: photos that nobody lists, and what is neither."""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from photos.data import Dataset
from photos.photo_folder import PHOTO_SUFFIXES
from photos.studio import STUDIO
from runs.output_folder import is_output

LABELS = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".names", ".cache", ".md")  # and what tools write beside labels


class Unlisted(NamedTuple):
    """Photos below the folder that the set does not list, by name there; other files by suffix; files of studio photos."""

    photos: tuple[str, ...]
    others: dict[str, int]
    studio: int


def unlisted(dataset: Dataset) -> Unlisted:
    """What lies in the folder beside the photos and labels of the set. Hidden files are left out."""
    real = cache(os.path.realpath)
    listed = {(real(photo.path.parent), photo.path.name) for photo in dataset.photos}
    photos, others, studio = [], Counter[str](), 0
    for path in walk(dataset.root):
        suffix, name = path.suffix.lower(), path.relative_to(dataset.root)
        if (real(path.parent), path.name) in listed or suffix in LABELS:
            continue
        if name.parts[0] == STUDIO:
            studio += 1
        elif suffix in PHOTO_SUFFIXES:
            photos.append(name.as_posix())
        else:
            others[suffix] += 1
    return Unlisted(tuple(sorted(photos)), dict(sorted(others.items())), studio)


def walk(root: Path) -> Iterator[Path]:
    """Every file below `root` that is not hidden, nor in a folder of a run or predictions; linked folders too, each once."""
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        if Path(folder) != root and is_output(Path(folder)):
            below.clear()
            continue
        where = os.path.realpath(folder)
        below[:] = [] if where in seen else sorted(name for name in below if not name.startswith("."))
        if where not in seen:
            yield from (Path(folder) / name for name in names if not name.startswith("."))
        seen.add(where)
