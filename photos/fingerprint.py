"""Fingerprints of photos and labels: what a run, a cache or a gate was made from, so that what is stale is noticed.

Bytes of photos, boxes and names are told apart: a class-agnostic detector does not change with a name, raw outputs of a model
do not change with a box. A fingerprint is 16 hexadecimal digits of a SHA-256.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from photos.data import Category, Photo
from runs.record import digest


def of_photos(photos: Sequence[Photo], categories: Sequence[Category] | None) -> dict[str, str]:
    """The fingerprints of some photos: `photos` (their bytes), `boxes` and, where `categories` are given, `names`.

    The order of the photos, and of the boxes on one, does not count. `names` covers the ids and names of all categories, which
    are a model's outputs, also of those that no box has.
    """
    made = {
        "photos": digest(sorted([photo.id, of_file(photo.path)] for photo in photos)),
        "boxes": digest(sorted([photo.id, photo.width, photo.height, sorted(photo.boxes.tolist())] for photo in photos)),
    }
    if categories is None:
        return made
    named = sorted(
        [photo.id, sorted([*box, categories[label].id] for box, label in zip(photo.boxes.tolist(), photo.labels, strict=True))]
        for photo in photos
    )
    return made | {"names": digest([[[category.id, category.name] for category in categories], named])}


def of_file(path: Path) -> str:
    """The fingerprint of a file's bytes; read again only where its size or time of change is another. OSError if missing."""
    status = path.stat()
    return _of_file(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _of_file(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
