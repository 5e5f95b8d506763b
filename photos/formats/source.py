"""What a reader makes of a layout: lists of records as COCO has them, not yet checked."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photos.findings import Note, Problem

PARTS = ("train", "valid", "test")
WHERE = "hylle:where"  # key of a record that a reader made: how it is told, such as "labels/a.txt, line 3"
_PART = re.compile(r"(train|valid|val|validation|test)(?![a-z])", re.IGNORECASE)
_SAME = {"val": "valid", "validation": "valid"}


@dataclass(frozen=True)
class Source:
    """One annotation file, or the label files of one part.

    Attributes:
        name: of the file, as problems tell it.
        part: of PARTS; None where the layout has no parts.
        lists: "images", "annotations" and "categories", each record as in a COCO file. An image may lack width and height;
            a record may have WHERE.
        base: folder that `Photo.name` is relative to, and that all photos lie in.
        folders: names of folders in `base` in which the photos of this source may lie.
        is_beside: the file lies beside its photos, in the first of `folders`: a name means a photo there before one in `base`.
        problems, notes: what the reader came upon.
    """

    name: str
    part: str | None
    lists: dict[str, list[Any]]
    base: Path
    folders: tuple[str, ...] = ()
    is_beside: bool = False
    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """The layout that a folder holds: `text` says it in a line, `sources` are its files, read."""

    text: str
    sources: list[Source]


def part_of(name: str) -> str | None:
    """The part that the name of a file or folder says; None where it says none.

    >>> [part_of(name) for name in ("train2017", "val", "Validation_1", "test", "default", "training-notes")]
    ['train', 'valid', 'valid', 'test', None, None]
    """
    found = _PART.match(name)
    return _SAME.get(found[1].lower(), found[1].lower()) if found else None


def part_of_folders(root: Path, path: Path) -> str | None:
    """The part that the first folder between `root` and a file says; None where none says one.

    >>> part_of_folders(Path("D"), Path("D/images/val/a.jpg")), part_of_folders(Path("D"), Path("D/a.jpg"))
    ('valid', None)
    """
    return next((part for name in path.relative_to(root).parts[:-1] if (part := part_of(name))), None)


def as_number(text: str) -> float:
    """The number that a text is; ValueError for none, and for 1_0, which Python would read as 10."""
    if "_" in text:
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def whole(value: Any) -> Any:
    """An id or size as an integer where it is one in other clothes; else as it is.

    >>> whole("3"), whole(3.0), whole(3.5), whole("a"), whole(True)
    (3, 3, 3.5, 'a', True)
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip():
        try:
            return whole(as_number(value)) if not value.strip().lstrip("+-").isdecimal() else int(value)
        except ValueError:
            return value
    return value
