"""What a data set holds twice: boxes of one photo, products, and photos with the same bytes."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from fusion.boxes import area, close_pairs, intersections
from photos.data import Category, Photo, product_key

SAME_BOX = 0.95  # chosen: IoU from which two boxes of one photo are one box listed twice
HEAD = 1 << 16  # chosen: bytes that are compared before the whole of two files is

Progress = Callable[[int, int], None]  # steps done, steps in all
T = TypeVar("T")


class BoxPair(NamedTuple):
    """Two boxes of one photo in the same place, by their annotation ids and by their products' ids."""

    photo: str
    annotations: tuple[int, int]
    categories: tuple[int, int]


class RepeatedBoxes(NamedTuple):
    """Boxes in the same place (IoU of SAME_BOX or more): with one product's name, and with two."""

    one_name: tuple[BoxPair, ...]
    two_names: tuple[BoxPair, ...]


def boxes(photos: Sequence[Photo], categories: Sequence[Category]) -> RepeatedBoxes:
    """All pairs of boxes in the same place; categories whose names are equal (`product_key`) count as one name."""
    keys = [product_key(category.name) for category in categories]
    one, two = [], []
    for photo in photos:
        for i, j in _same_place(photo.boxes):
            a, b = int(photo.labels[i]), int(photo.labels[j])
            ids = int(photo.annotation_ids[i]), int(photo.annotation_ids[j])
            pair = BoxPair(photo.name, ids, (categories[a].id, categories[b].id))
            (one if a == b or (keys[a] and keys[a] == keys[b]) else two).append(pair)
    return RepeatedBoxes(tuple(one), tuple(two))


def _same_place(boxes: np.ndarray) -> list[tuple[int, int]]:
    """Positions i < j of boxes (N, 4) with an IoU of SAME_BOX or more, in order."""
    if len(boxes) < 2:
        return []
    i, j = close_pairs(boxes, SAME_BOX)  # (P,) each
    shared = intersections(boxes[i].astype(np.float64), boxes[j].astype(np.float64))  # (P,)
    same = shared >= SAME_BOX * (area(boxes[i]) + area(boxes[j]) - shared)
    return sorted(zip(i[same].tolist(), j[same].tolist(), strict=True))


def products(categories: Sequence[Category]) -> tuple[tuple[int, ...], ...]:
    """Ids of categories that are one product by `product_key`, in order; categories without a name are none.

    >>> products([Category(1, "Te"), Category(4, "kaffe"), Category(7, "TE "), Category(8, ""), Category(9, "")])
    ((1, 7),)
    """
    named = [category for category in categories if product_key(category.name)]
    return tuple(tuple(c.id for c in group) for group in _groups(named, lambda c: product_key(c.name)))


def files(paths: Sequence[Path], progress: Progress | None = None) -> tuple[tuple[Path, ...], ...]:
    """Groups of files with the same bytes. Files are compared by size, then by their first HEAD bytes, then as a whole.

    Links to one file are read once. OSError where a file cannot be read.
    """
    inodes = defaultdict(list)
    for path in paths:
        status = path.stat()
        inodes[status.st_dev, status.st_ino, status.st_size].append(path)
    unlike = list(inodes)
    groups = _groups(unlike, lambda inode: inode[2])
    total, done = 2 * sum(map(len, groups)), 0
    for digest in (_of_head, _of_file):
        split = []
        for group in groups:
            split += _groups(group, lambda inode, digest=digest: digest(inodes[inode][0]))
            done += len(group)
            if progress:
                progress(done, total)
        groups = split
    joined = {inode for group in groups for inode in group}
    alone = [(inode,) for inode in unlike if inode not in joined]
    same = [tuple(path for inode in group for path in inodes[inode]) for group in [*groups, *alone]]
    return tuple(sorted(group for group in same if len(group) > 1))


def _groups(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Two or more items with one key each, in order of first appearance."""
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [group for group in groups.values() if len(group) > 1]


def _of_head(path: Path) -> bytes:
    """SHA-256 of the first HEAD bytes of a file."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(HEAD)).digest()


def _of_file(path: Path) -> bytes:
    """SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
