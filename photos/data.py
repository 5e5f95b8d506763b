"""Read a labelled data set of shelf photos in any layout that labelling tools write, or refuse it with a list of its problems.

Where the labels lie `photos.formats` finds by looking; from there on all layouts are the same records, checked, repaired and
counted once. Labels are indices into `Dataset.categories`, which is ordered by category id; category ids themselves appear only
in the annotation files.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from photos.box_table import BoxTable, box_table
from photos.checks import PATH, problems
from photos.findings import note_lines, problem_lines
from photos.formats import layout as layouts
from photos.formats.source import PARTS, Layout
from photos.numbering import ambiguous_names, category_ids, photo_ids
from photos.photo_file import DataError, Progress, read_image
from photos.photo_folder import PhotoFolder
from photos.tidy import NAME, NO_SIZE, tidied

__all__ = ["PARTS", "Category", "DataError", "Dataset", "Photo", "dataset_of", "product_key", "read", "read_image", "refuse"]

SHOWN = 20  # chosen: problems listed before "and N more"


@dataclass(frozen=True)
class Category:
    """One product: its id in the JSON and its name (may be empty, as one in the contest's data is)."""

    id: int
    name: str


def product_key(name: str) -> str:
    """One form for all spellings of a product's name that differ in case, outer spaces or composed letters (NFC).

    >>> product_key(" Te\u0301 ") == product_key("t\u00e9")
    True
    """
    return unicodedata.normalize("NFC", name).strip().casefold()


def no_boxes() -> np.ndarray:
    """No boxes, float32 (0, 4)."""
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo and its annotations: boxes float32 (N, 4), labels and annotation_ids int64 (N,); N may be 0.

    `width` and `height` are those of the JSON, in whose pixels the boxes are: read it with `read_image(path, width, height)`.
    `name` is the photo's name in the data set, as in the JSON, with / between folders; unique. `ignored` float32 (K, 4) are
    regions (COCO's crowds, and what a tool marks to be ignored) that are neither learnt nor scored. `tells_pixels` is false
    where EXIF swaps the sides, and no size in the labels, of this photo or of others, tells which pixels they mean.
    """

    id: int
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    annotation_ids: np.ndarray
    part: str | None
    name: str = ""
    ignored: np.ndarray = field(default_factory=no_boxes)
    tells_pixels: bool = True


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled data set; photos in the order of the JSON (train, valid, test), categories by id.

    `notes` say what was repaired, skipped or renumbered in reading, one line for each kind, with a count; `layout` says how
    the labels lie in the folder.
    """

    root: Path
    categories: tuple[Category, ...]
    photos: tuple[Photo, ...]
    notes: tuple[str, ...] = ()
    layout: str = ""


def read(root: Path, strict: bool = False, progress: Progress | None = None) -> Dataset:
    """Read and check the set at `root`; `progress` is told of the photos whose headers were read.

    DataError with one line for each kind of problem (the first 20, then how many more); with `strict` also for what would
    otherwise be repaired and noted.
    """
    root = Path(root)
    return dataset_of(root, layouts.find(root, progress), strict, progress)


def dataset_of(root: Path, layout: Layout, strict: bool = False, progress: Progress | None = None) -> Dataset:
    """The data set in files that were read; else as `read`."""
    folders = {base: PhotoFolder(base) for base in dict.fromkeys(source.base for source in layout.sources)}
    sources = tidied(layout.sources, folders, progress)
    refuse(problem_lines([*problems(sources, folders)]))
    refuse(problem_lines(ambiguous_names(sources)))
    names, of_category, merged = category_ids(sources)
    ids, renumbered = photo_ids(sources)
    categories = tuple(Category(number, names[number]) for number in sorted(names))
    label = {category.id: k for k, category in enumerate(categories)}
    notes, wrong, photos = [note for source in sources for note in source.notes] + merged + renumbered, [], []
    for source, own, photo_id in zip(sources, of_category, ids, strict=True):
        table, repaired, outside = box_table(source, {number: label[new] for number, new in own.items()})
        notes += repaired
        wrong += outside
        photos += _photos(source.lists["images"], table, source.part, photo_id)
    refuse(problem_lines(wrong))
    if strict:
        refuse([f"--strict: {line}" for line in note_lines(note for note in notes if note.repaired)])
    return Dataset(root, categories, tuple(photos), tuple(note_lines(notes)), layout.text)


def refuse(lines: list[str]) -> None:
    """DataError with the problems, one line each (the first 20, then how many more), if there are any."""
    if lines:
        more = [f"... and {len(lines) - SHOWN} more problems"] if len(lines) > SHOWN else []
        raise DataError("\n".join(lines[:SHOWN] + more))


def _photos(images: list[dict[str, Any]], table: BoxTable, part: str | None, ids: dict[int, int]) -> Iterator[Photo]:
    """The photos of one file."""
    ends = np.searchsorted(table.photos, np.arange(len(images) + 1))
    for k, image in enumerate(images):
        own = slice(ends[k], ends[k + 1])
        product = ~table.ignored[own]
        boxes, labels, annotation_ids = (column[own][product] for column in (table.boxes, table.labels, table.ids))
        size, ignored = (image["width"], image["height"]), table.boxes[own][~product]
        named, tells_pixels = image[NAME], NO_SIZE not in image
        yield Photo(ids[image["id"]], image[PATH], *size, boxes, labels, annotation_ids, part, named, ignored, tells_pixels)
