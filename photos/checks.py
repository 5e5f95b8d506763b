"""Checks of a labelled data set before it is used: each function checks one property of one JSON record.

A check takes a record that has all its keys and returns what is wrong, the text after `annotation 17 (train.json): `, or None.
Where a value that it needs is itself broken it returns None, since another check reports that. Knows nothing about `Dataset`.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from photos.photo_file import DataError, find_photo, is_cut_off, read_header, same_name

SLACK = 1.0  # chosen: pixels a box may reach beyond its photo (rounding of label tools); it is clipped
LIMIT = 1e9  # chosen: larger numbers in a box count as infinite

Record = dict[str, Any]
Check = Callable[[Record], str | None]

KEYS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
_SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}


@dataclass(frozen=True)
class Source:
    """One JSON file as loaded: its name, the part it is (None: the whole set), and the three lists of KEYS, unchecked."""

    name: str
    part: str | None
    lists: dict[str, list[Any]]


def problems(root: Path, sources: list[Source]) -> list[str]:
    """Every problem of the set at `root`, one line each."""
    return [*_category_problems(sources), *_image_problems(root, sources), *_annotation_problems(sources)]


def _walk(kind: str, source: Source, checks: Iterable[Check]) -> Iterator[str]:
    """One line for each failed check of each record in the list `kind`; no checks of a record that is malformed."""
    keys, checks = KEYS[kind], tuple(checks)
    for position, record in enumerate(source.lists[kind]):
        label = f"{_SINGULAR[kind]} at position {position} ({source.name})"
        if not isinstance(record, dict):
            yield f"{label}: got {record!r}, need an object"
            continue
        if "id" in record:
            label = f"{_SINGULAR[kind]} {record['id']} ({source.name})"
        if missing := [key for key in keys if key not in record]:
            yield f"{label}: key {', '.join(missing)} is missing"
            continue
        yield from (f"{label}: {text}" for check in checks if (text := check(record)))


def _category_problems(sources: list[Source]) -> Iterator[str]:
    for source in sources:
        yield from _walk("categories", source, (partial(_integer, "id"), partial(_text, "name"), _unique("id")))
    names = [{c["id"]: c["name"] for c in source.lists["categories"] if _is_complete(c, "categories")} for source in sources]
    for source, own in zip(sources[1:], names[1:], strict=True):
        different = sorted(i for i in names[0].keys() | own.keys() if names[0].get(i) != own.get(i))
        if different:
            i = different[0]
            yield (f"category {i} ({source.name}): {own.get(i)!r} here and {names[0].get(i)!r} in {sources[0].name}; "
                   f"{len(different)} differ, need the same categories in both")  # fmt: skip


def _image_problems(root: Path, sources: list[Source]) -> Iterator[str]:
    unique = _unique("id"), _unique("file_name", _as_one_name)  # over all files together
    checks = (partial(_integer, "id"), partial(_size, "width"), partial(_size, "height"), *unique, partial(_file, root))
    for source in sources:
        if not source.lists["images"]:
            yield f"{source.name}: got 0 images, need at least 1"
        yield from _walk("images", source, checks)


def _annotation_problems(sources: list[Source]) -> Iterator[str]:
    for source in sources:
        sizes = {i["id"]: (i["width"], i["height"]) for i in source.lists["images"] if _is_complete(i, "images")}
        categories = {c["id"] for c in source.lists["categories"] if _is_complete(c, "categories")}
        references = partial(_known_id, "image_id", sizes.keys()), partial(_known_id, "category_id", categories)
        checks = (partial(_integer, "id"), _unique("id"), *references, _crowd, _bbox, partial(_inside, sizes))
        yield from _walk("annotations", source, checks)
    if not any(source.lists["annotations"] for source in sources):
        yield f"{', '.join(source.name for source in sources)}: got 0 boxes, need at least 1"


def _is_complete(record: object, kind: str) -> bool:
    """Whether others may refer to `record`: all keys are there, the id and the size are whole numbers."""
    whole = ("id", "width", "height") if kind == "images" else ("id",)
    return isinstance(record, dict) and all(k in record for k in KEYS[kind]) and all(_is_integer(record[k]) for k in whole)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(key: str, record: Record) -> str | None:
    return None if _is_integer(record[key]) else f"{key}: got {record[key]!r}, need an integer"


def _size(key: str, record: Record) -> str | None:
    return None if _is_integer(record[key]) and record[key] > 0 else f"{key}: got {record[key]!r}, need an integer > 0"


def _text(key: str, record: Record) -> str | None:
    return None if isinstance(record[key], str) else f"{key}: got {record[key]!r}, need a string (it may be empty)"


def _unique(key: str, as_one: Callable[[Any], Any] = lambda value: value) -> Check:
    """A check with memory: a record fails if an earlier one had the same value of `key`; `as_one` makes equals the same."""
    seen: set[str] = set()

    def check(record: Record) -> str | None:
        value = repr(as_one(record[key]))
        repeated = value in seen
        seen.add(value)
        return f"{key} {record[key]!r}: used more than once" if repeated else None

    return check


def _as_one_name(name: Any) -> Any:
    return same_name(name) if isinstance(name, str) else name


def _known_id(key: str, known: Container[int], record: Record) -> str | None:
    value = record[key]
    return None if _is_integer(value) and value in known else f"{key} {value!r}: no {key.removesuffix('_id')} has this id"


def _crowd(record: Record) -> str | None:
    crowd = record.get("iscrowd", 0)
    return None if crowd in (0, False) else f"iscrowd: got {crowd!r}, need 0 (a crowd region is no product's box)"


def _bbox(record: Record) -> str | None:
    box = record["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return f"bbox {_shown(box)}: need a list of 4 numbers x, y, width, height"
    if not all(0 < side < LIMIT for side in box[2:]):
        return f"bbox {_shown(box)}: width and height must be finite and > 0"
    return None if all(abs(corner) < LIMIT for corner in box[:2]) else f"bbox {_shown(box)}: x and y must be finite"


def _inside(sizes: dict[int, tuple[int, int]], record: Record) -> str | None:
    """The box reaches beyond its photo by more than SLACK pixels, or lies wholly outside."""
    if not _is_integer(record["image_id"]) or record["image_id"] not in sizes or _bbox(record):
        return None
    (x, y, w, h), (width, height) = record["bbox"], sizes[record["image_id"]]
    x0, y0, x1, y1 = edges(record["bbox"], width, height)
    if min(x, y) < -SLACK or x + w > width + SLACK or y + h > height + SLACK or x1 <= x0 or y1 <= y0:
        return f"bbox {_shown(record['bbox'])}: outside its photo of {width}x{height}"
    return None


def edges(bbox: list[float], width: int, height: int) -> np.ndarray:
    """x y width height -> x0 y0 x1 y1, float32 (4,), clipped to a photo of `width` x `height` pixels."""
    x, y, w, h = bbox
    return np.clip([x, y, x + w, y + h], 0, (width, height) * 2).astype(np.float32)  # (4,)


def _shown(box: object) -> str:
    text = repr(box)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _file(root: Path, record: Record) -> str | None:
    """The photo of an image record has an allowed name, exists, is readable, and has the size of the record."""
    name = record["file_name"]
    if not isinstance(name, str) or Path(name).suffix.lower() not in (".jpg", ".jpeg"):
        return f"file_name: got {name!r}, need a name that ends in .jpg or .jpeg"
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return f"file_name: got {name!r}, need a path inside images/"
    path = find_photo(root / "images", name)
    if not path.is_file():
        return f"images/{name}: not found{_near(path)}"
    return _pixels(path, (record["width"], record["height"]))


def _pixels(path: Path, size: tuple[int, int]) -> str | None:
    try:
        header = read_header(path)
    except DataError as error:
        return str(error)
    if is_cut_off(path):
        return f"{path.name}: the photo is cut off (no end marker)"
    if size in ((header.width, header.height), header.turned()):
        return None
    return f"{path.name}: the JSON says {size[0]}x{size[1]}, the photo is {header.width}x{header.height}"


def _near(path: Path) -> str:
    """Photos whose name differs only in case or between .jpg and .jpeg: the usual slip when a photo is not found."""
    if not path.parent.is_dir():
        return ""
    same = sorted(p.name for p in path.parent.iterdir() if p.stem.lower() == path.stem.lower())
    return f" (there is {', '.join(same)})" if same else ""
