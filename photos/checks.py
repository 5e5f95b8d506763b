"""Checks of a labelled data set before it is used: each function checks one property of one record.

A check takes a record that has all its keys and returns what is there and what is wrong with it (the same text for all like
problems, with the remedy), or None. Where a value that it needs is itself broken it returns None: another check reports that.
Knows nothing about `Dataset`.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from photos.findings import Note, Problem
from photos.formats.coco import KEYS
from photos.formats.source import WHERE, Source
from photos.photo_file import DataError, is_cut_off, read_header
from photos.photo_folder import PhotoFolder

LIMIT = 1e9  # chosen: larger numbers in a box count as infinite
PATH = "hylle:path"  # key of an image record: its file, as `photos.located` found it; missing where there is none
FRACTIONS = 1.5  # chosen: above the largest fraction of a photo, as some boxes reach a little beyond it

Record = dict[str, Any]
Fault = tuple[str, str] | None  # what is there, and what is wrong with it
Check = Callable[[Record], Fault]

_SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}


def problems(sources: list[Source], folders: dict[Path, PhotoFolder]) -> list[Problem]:
    """Every problem of the set; `folders` are the photos, by `Source.base`."""
    listed = [problem for source in sources for problem in source.problems]
    return [*listed, *_category_problems(sources), *_image_problems(sources, folders), *_annotation_problems(sources)]


def where(kind: str, source: Source, record: Record, position: int = 0) -> str:
    """How a record of the list `kind` is told."""
    if WHERE in record:
        return str(record[WHERE])
    number = record.get("id", f"at position {position}")
    return f"{_SINGULAR[kind]} {number} ({source.name})"


def _walk(kind: str, source: Source, checks: Iterable[Check]) -> Iterator[Problem]:
    """Each failed check of each record in the list `kind`; no checks of a record that is malformed."""
    keys, checks = KEYS[kind], tuple(checks)
    for position, record in enumerate(source.lists[kind]):
        if not isinstance(record, dict):
            yield Problem(f"{_SINGULAR[kind]} at position {position} ({source.name})", f"got {record!r}", "need an object")
        elif missing := [key for key in keys if key not in record]:
            wrong = f"key {', '.join(missing)} is missing"
            yield Problem(where(kind, source, record, position), "", wrong)
        else:
            for check in checks:
                if fault := check(record):
                    yield Problem(where(kind, source, record, position), *fault)


def _category_problems(sources: list[Source]) -> Iterator[Problem]:
    for source in sources:
        yield from _walk("categories", source, (partial(_integer, "id"), _name, _unique("id")))


def _image_problems(sources: list[Source], folders: dict[Path, PhotoFolder]) -> Iterator[Problem]:
    missing = [
        image for s in sources for image in s.lists["images"] if _is_missing(image) and _is_nowhere(folders[s.base], image)
    ]
    total = sum(len(source.lists["images"]) for source in sources)
    none_there = bool(missing) and len(missing) == total
    unique_file = _unique(PATH, "file_name")  # over all files together: no photo is in two parts
    for source in sources:
        if not source.lists["images"] and not source.problems:
            yield Problem(source.name, "got 0 images", "need at least 1; export the set again, with its photos")
        files = () if none_there else (partial(_there, folders[source.base]),)
        checks = partial(_integer, "id"), _unique("id"), _size, unique_file, _file_name, *files, _pixels
        yield from _walk("images", source, checks)
    if none_there:
        base, name = sources[0].base, missing[0]["file_name"]
        yield Problem(str(base), f"none of the {total} photos is there, the first is {name}", "put the photos there")


def _annotation_problems(sources: list[Source]) -> Iterator[Problem]:
    for source in sources:
        images = {i["id"] for i in source.lists["images"] if _is_complete(i, "images")}
        categories = {c["id"] for c in source.lists["categories"] if _is_complete(c, "categories")}
        references = partial(_known_id, "image_id", images), partial(_known_category, categories)
        yield from _walk("annotations", source, (partial(_integer, "id"), _unique("id"), *references, _crowd, bbox_fault))
        yield from _fractions(source)
    if not any(source.problems or any(map(_is_product, source.lists["annotations"])) for source in sources):
        names = ", ".join(source.name for source in sources if source.name) or "labels"
        yield Problem(names, "got 0 boxes", "need at least 1; label products, or find them by `hylle predict` without labels")


def _is_missing(image: object) -> bool:
    return isinstance(image, dict) and isinstance(image.get("file_name"), str) and PATH not in image


def _is_nowhere(folder: PhotoFolder, image: Record) -> bool:
    try:
        return folder.locate(image["file_name"]) is None
    except ValueError:  # it is there more than once
        return False


def _is_product(record: object) -> bool:
    return not (isinstance(record, dict) and is_ignored(record))


def _is_complete(record: object, kind: str) -> bool:
    """Whether others may refer to `record`: all keys are there, the id is a whole number."""
    return isinstance(record, dict) and all(k in record for k in KEYS[kind]) and is_integer(record["id"])


def is_integer(value: object) -> bool:
    """Whether it is a whole number of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def is_number(value: object) -> bool:
    """Whether it is a number of JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_ignored(record: Record) -> bool:
    """Whether an annotation is a region to ignore: COCO's crowds, and what a tool marks by `ignore`."""
    return bool(record.get("iscrowd")) or bool(record.get("ignore"))


def _integer(key: str, record: Record) -> Fault:
    return None if is_integer(record[key]) else (f"{key}: got {record[key]!r}", "need an integer")


def _size(record: Record) -> Fault:
    for key in ("width", "height"):
        value = record.get(key)
        if not is_integer(value) or value <= 0:
            if value is None:  # the photo cannot be read, which _there or _pixels tells
                return None
            return f"{key}: got {value!r}", "need an integer > 0"
    return None


def _name(record: Record) -> Fault:
    if isinstance(record["name"], str):
        return None
    return f"name: got {record['name']!r}", "need a string (it may be empty)"


def _unique(key: str, shown: str = "") -> Check:
    """A check with memory: a record fails if an earlier one had the same value of `key`; told by the value of `shown`."""
    seen: set[str] = set()

    def check(record: Record) -> Fault:
        if key not in record:
            return None
        value = repr(record[key])
        repeated = value in seen
        seen.add(value)
        return (f"{shown or key} {record[shown or key]!r}", "used more than once; keep one of them") if repeated else None

    return check


def _known_id(key: str, known: Container[int], record: Record) -> Fault:
    value, kind = record[key], key.removesuffix("_id")
    if is_integer(value) and value in known:
        return None
    return f"{key} {value!r}", f"no {kind} has this id; add the {kind} or remove the annotation"


def _known_category(known: Container[int], record: Record) -> Fault:
    return None if is_ignored(record) else _known_id("category_id", known, record)


def _crowd(record: Record) -> Fault:
    for key in ("iscrowd", "ignore"):
        if record.get(key, 0) not in (0, 1, False, True, None):
            return f"{key}: got {record[key]!r}", "need 0 or 1"
    return None


def bbox_fault(record: Record) -> Fault:
    """What keeps a bbox from being a box, even after repair."""
    box = record["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return f"bbox {_shown(box)}", "need a list of 4 numbers x, y, width, height"
    if not all(-LIMIT < side < LIMIT for side in box[2:]):
        return f"bbox {_shown(box)}", "width and height must be finite; mend or remove the box"
    return None if all(-LIMIT < corner < LIMIT for corner in box[:2]) else (f"bbox {_shown(box)}", "x and y must be finite")


def _fractions(source: Source) -> Iterator[Problem]:
    """One problem where most boxes of a file look like fractions; where single ones do, a note of each.

    A box does whose numbers are all at most FRACTIONS, and not whole unless those of all boxes are.
    """
    rows = [
        (k, a) for k, a in enumerate(source.lists["annotations"]) if isinstance(a, dict) and "bbox" in a and not bbox_fault(a)
    ]
    boxes = np.array([record["bbox"] for _, record in rows], np.float64).reshape(-1, 4)
    small = (np.abs(boxes) <= FRACTIONS).all(1) & boxes.any(1)  # (N,)
    broken = small & (boxes % 1 != 0).any(1)
    which = small if small.all() else broken
    if which.sum() > len(which) / 2:
        first = _shown(boxes[which][0].tolist())
        got = f"{which.sum()} of {len(boxes)} boxes have numbers of at most {FRACTIONS:g}, the first is {first}"
        yield Problem(
            source.name, got, "these look like fractions of the photo; need pixels: multiply them by its width and height"
        )
    else:
        what = f"boxes with numbers of at most {FRACTIONS:g}, taken as pixels; fractions of the photo?"
        lines = (where("annotations", source, *reversed(rows[k])) for k in np.flatnonzero(broken))
        source.notes.extend(Note(line, what, repaired=False) for line in lines)


def _shown(box: object) -> str:
    text = repr(box)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _file_name(record: Record) -> Fault:
    name = record["file_name"]
    return None if isinstance(name, str) and name else (f"file_name: got {name!r}", "need the name of a photo")


def _there(folder: PhotoFolder, record: Record) -> Fault:
    """The photo of an image record exists, and only one file can be meant."""
    name = record["file_name"]
    if not _is_missing(record):
        return None
    try:
        folder.locate(name)
    except ValueError as error:
        return f"file_name {name!r}: {error}", "need its folder in the name"
    near = folder.near(name)
    there = f" (there is {', '.join(near[:3])})" if near else ""
    return f"{folder.base.name}/{name}", f"not found{there}; put it there or remove its record"


def _pixels(record: Record) -> Fault:
    """The photo can be read and has the size of the record, or that size turned by EXIF."""
    if PATH not in record:
        return None
    path = record[PATH]
    try:
        header = read_header(path)
    except DataError as error:
        return str(error), ""
    if is_cut_off(path):
        return f"{path.name}", "the photo is cut off (no end marker); get it again, or remove it and its boxes"
    size = (record.get("width"), record.get("height"))
    if size in ((header.width, header.height), header.turned()) or not all(map(is_integer, size)):
        return None
    got = f"{path.name}: the labels say {size[0]}x{size[1]}, the photo is {header.width}x{header.height}"
    return got, "label the photo as it is, or put the labelled photo there"
