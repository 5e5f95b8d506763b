"""Fingerprints of photos and labels: what a run, a cache or a gate was made from, so that what is stale is noticed.

Bytes of photos, boxes and names are told apart: a class-agnostic detector does not change with a name, raw outputs of a model
do not change with a box. A fingerprint is 16 hexadecimal digits of a SHA-256.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from photos.data import Category, Photo
from photos.photo_folder import visible
from runs.record import digest


def of_photos(photos: Sequence[Photo], categories: Sequence[Category] | None) -> dict[str, str]:
    """The fingerprints of some photos: `photos` (their bytes), `boxes` and, where `categories` are given, `names`.

    The order of the photos, and of the boxes on one, does not count. `names` covers the ids and names of all categories, which
    are a model's outputs, also of those that no box has.
    """
    made = {
        "photos": digest(sorted([photo.id, of_file(photo.path)] for photo in photos)),
        "boxes": digest(sorted(_geometry(photo) for photo in photos)),
    }
    if categories is None:
        return made
    named = sorted(
        [photo.id, sorted([*box, categories[label].id] for box, label in zip(photo.boxes.tolist(), photo.labels, strict=True))]
        for photo in photos
    )
    return made | {"names": digest([[[category.id, category.name] for category in categories], named])}


def _geometry(photo: Photo) -> list[object]:
    """The size, boxes and regions to ignore of a photo; without any of the latter as earlier versions recorded it."""
    return [photo.id, photo.width, photo.height, sorted(photo.boxes.tolist()), *_regions(photo)]


def _regions(photo: Photo) -> list[object]:
    return [sorted(photo.ignored.tolist())] if len(photo.ignored) else []


def of_training(train: Sequence[Photo], valid: Sequence[Photo], categories: Sequence[Category] | None) -> dict[str, str]:
    """What a training is made from, as its run.json records it: "train photos", "train boxes", ..., "valid photos", ...

    The names are left out where `categories` is None, as of a detector that finds products of one class. A photo's bytes, its
    boxes and its names are told apart, so that a run is made anew only where what it depends on has changed.
    """
    parts = {"train": of_photos(train, categories), "valid": of_photos(valid, categories)}
    return {f"{part} {kind}": value for part, made in parts.items() for kind, value in made.items()}


def of_labelled(photos: Iterable[Photo]) -> str:
    """One fingerprint of photos and their labels: what is composed of them is made of their pixels, boxes and names."""
    rows = ([p.id, p.path.name, of_file(p.path), p.boxes.tolist(), p.labels.tolist(), *_regions(p)] for p in photos)
    return digest(sorted(rows))


def of_photo(photo: Photo) -> str:
    """The fingerprint of what a model is shown of a photo: its bytes, and the size that says which way up it is read."""
    return digest([of_file(photo.path), photo.width, photo.height])


def of_folder(folder: Path) -> str:
    """The fingerprint of all files below a folder, their names and bytes; hidden ones, as file managers leave, do not count."""
    files = [path for path in visible(folder, "**/*") if path.is_file()]
    return digest([[path.relative_to(folder).as_posix(), of_file(path)] for path in files])


def of_file(path: Path) -> str:
    """The fingerprint of a file's bytes; read again only where its size or time of change is another. OSError if missing."""
    status = path.stat()
    return _of_file(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _of_file(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
