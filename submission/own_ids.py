"""A data set's own image ids for the predictions of run.py, which go by numbers in file names: joined by the file instead."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from photos.data import Photo
from photos.judge_ids import SHOWN, compare
from photos.photo_file import same_name

Images = Sequence[Mapping[str, Any]]  # of a COCO JSON


def copy_flat(photos: Sequence[Photo], folder: Path) -> dict[int, int]:
    """Copy `photos` into FOLDER, each under a number of its own as its name; returns the photo's id by that number.

    So photos of one base name in different folders stay apart, and those whose names hold no number, or that of another, are
    predicted too. run.py takes .jpg alone by name, and reads any format by content.
    """
    for number, photo in enumerate(photos):
        shutil.copyfile(photo.path, folder / f"{number}.jpg")
    return {number: photo.id for number, photo in enumerate(photos)}


def with_own_ids(rows: Iterable[dict[str, Any]], own: Mapping[int, int]) -> list[dict[str, Any]]:
    """Predictions under the ids of their photos; those on photos that `own` lacks are left out."""
    return [row | {"image_id": own[row["image_id"]]} for row in rows if row["image_id"] in own]


class Joined(NamedTuple):
    """The photos of a folder joined to the images of a COCO JSON: their ids by the numbers run.py gives them, and notes."""

    own: dict[int, int]
    notes: list[str]


def join(numbers: Mapping[int, Path], folder: Path, images: Images) -> Joined:
    """Join the photos that run.py finds in FOLDER, `numbers`, to `images` by their file names; without such a name by id.

    Folders in a `file_name` do not count, unless that of another image is the photo's name itself. An image whose base name
    others have too is left out, and told. So is what the judge's rule does to the ids of the joined photos.
    """
    by_path, by_base_name = _by_name(images, _path), _by_name(images, _base_name)
    own_images = {}
    for path in sorted(folder.iterdir()):
        alike = by_path.get(same_name(path.name)) or by_base_name.get(same_name(path.name), [])
        if len(alike) == 1:
            own_images[path.name] = alike[0]
    own = {number: int(own_images[path.name]["id"]) for number, path in numbers.items() if path.name in own_images}
    unnamed = {image["id"] for image in images if "file_name" not in image}
    own |= {number: number for number in numbers if number not in own and number in unnamed}
    notes = list(compare([_without_boxes(folder / name, image) for name, image in own_images.items()]).lines())
    scored = set(own.values())
    shared = [name for name, alike in by_base_name.items() if len(alike) > 1 and not all(i["id"] in scored for i in alike)]
    if shared:
        examples = ", ".join(shared[:SHOWN])
        notes.append(
            f"annotations: {len(shared)} base names stand for several images, at most one of which is scored: {examples}"
        )
    return Joined(own, notes)


def _by_name(images: Images, name_of: Callable[[Mapping[str, Any]], str]) -> dict[str, list[Mapping[str, Any]]]:
    """The images of each name; those without one are left out."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for image in images:
        if name := name_of(image):
            by_name.setdefault(name, []).append(image)
    return by_name


def _path(image: Mapping[str, Any]) -> str:
    name = str(image.get("file_name", "")).replace("\\", "/")
    return same_name(name) if name else ""


def _base_name(image: Mapping[str, Any]) -> str:
    return PurePosixPath(_path(image)).name


def _without_boxes(path: Path, image: Mapping[str, Any]) -> Photo:
    none = np.zeros(0, np.int64)
    return Photo(int(image["id"]), path, 0, 0, np.zeros((0, 4), np.float32), none, none, None, path.name)
