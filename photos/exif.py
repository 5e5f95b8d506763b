"""How a data set's labels mean photos that EXIF turns: on the pixels as stored, or as viewers show them.

The rule is that of `photos.photo_file`: the size in the JSON tells where EXIF swaps the sides, elsewhere the stored pixels are
meant. run.py has no JSON, so `ensemble.json` tells it which of the two the data set means.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from photos.data import DataError, Dataset, Photo
from photos.photo_file import read_header
from photos.turning import turn_boxes
from runs.counted import counted


class Turned(NamedTuple):
    """The photos of a data set that have an EXIF orientation other than 1, by what their labels mean.

    `stored` and `turned` have sides that EXIF swaps, of which the JSON has the stored or the turned size; `undecided` are half
    turned, mirrored or square, so that the JSON does not tell, or of no size there.
    """

    stored: list[Photo]
    turned: list[Photo]
    undecided: list[Photo]


def turned_photos(photos: Iterable[Photo]) -> Turned:
    """Reads the header of each photo. DataError for one that is damaged."""
    groups = Turned([], [], [])
    for photo in photos:
        header = read_header(photo.path)
        if header.orientation == 1:
            continue
        if header.turned() == (header.width, header.height) or not photo.tells_pixels:
            groups.undecided.append(photo)
        else:
            (groups.turned if (photo.width, photo.height) == header.turned() else groups.stored).append(photo)
    return groups


class Shown(NamedTuple):
    """A photo as viewers show it, turned by EXIF: boxes float32 (N, 4), size in pixels; `moved`: the boxes were turned too."""

    boxes: np.ndarray
    width: int
    height: int
    moved: bool


def as_shown(photo: Photo) -> Shown:
    """The photo's boxes as EXIF turns its pixels; as they are where they are of the turned pixels already. Reads the header."""
    header, size = read_header(photo.path), (photo.width, photo.height)
    of_turned = size == header.turned() != (header.width, header.height)
    if header.orientation == 1 or of_turned:
        return Shown(photo.boxes, *size, moved=False)
    return Shown(turn_boxes(photo.boxes, *size, header.orientation), *header.turned(), moved=True)


def convention(dataset: Dataset, otherwise: str = "stored") -> str:
    """The `exif` of an ensemble for this data set: "stored" or "turned"; `otherwise` where no photo tells.

    DataError where its labels mean some photos as stored and others turned.
    """
    groups = turned_photos(dataset.photos)
    if groups.stored and groups.turned:
        raise DataError(
            f"{dataset.root}: of the photos that EXIF turns, the labels give the stored size for {len(groups.stored)} (the "
            f"first is {groups.stored[0].path.name}) and the turned size for {len(groups.turned)} (the first is "
            f"{groups.turned[0].path.name}); run.py reads all photos by one rule, so store the latter turned and without EXIF, "
            "for example with `exiftran -ai`"
        )
    return "turned" if groups.turned else "stored" if groups.stored else otherwise


def refuse_other(photos: Sequence[Photo], exif: str) -> None:
    """DataError where the labels of `photos` mean other pixels than run.py reads by the ensemble's `exif`."""
    groups = turned_photos(photos)
    other = groups.turned if exif == "stored" else groups.stored
    if other:
        raise DataError(
            f'exif: ensemble.json has "{exif}", but the labels of {counted(len(other), "photo")} that EXIF turns (the first is '
            f"{other[0].path.name}) mean other pixels; `hylle gate` on this data set sets the rule"
        )


def summary(photos: Sequence[Photo]) -> Iterator[str]:
    """One line for each rule by which some photos that EXIF turns are read; none where EXIF turns no photo."""
    groups = turned_photos(photos)
    same_size = [photo for photo in groups.undecided if photo.tells_pixels]
    without = [photo for photo in groups.undecided if not photo.tells_pixels]
    rules = {
        "read as stored: the labels give the size of the stored pixels": groups.stored,
        "read turned: the labels give the size of the turned pixels": groups.turned,
        "read as stored, since the size in the labels does not tell (half turned, mirrored or square)": same_size,
        "read as stored, since the labels have no size that tells": without,
    }
    yield from (
        f"EXIF: {len(of_rule)} of {counted(len(photos), 'photo')} {'is' if len(of_rule) == 1 else 'are'} {rule}"
        for rule, of_rule in rules.items()
        if of_rule
    )
    if without:
        name = without[0].path.name
        yield f"EXIF: look at {name}: if its labels are for turned pixels, give its width and height as shown; and all like it"
    if groups.turned and same_size:
        name = same_size[0].path.name
        yield f"EXIF: look at {name}: if its labels are for turned pixels too, store it turned, without EXIF; and all like it"
