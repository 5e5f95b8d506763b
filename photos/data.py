"""Read a labelled data set of shelf photos (COCO JSON beside `images/`), or refuse it with a list of all its problems.

Two layouts: ROOT/annotations.json (the contest's; photos belong to no part yet) and any of ROOT/{train,valid,test}.json
(split; the file's name is the photo's part). Labels are indices into `Dataset.categories`, which is ordered by category id;
category ids themselves appear only in JSON.
"""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from photos.checks import KEYS, Source, edges, problems
from photos.photo_file import DataError, find_photo, read_image, same_name

__all__ = ["PARTS", "Category", "DataError", "Dataset", "Photo", "product_key", "read", "read_image", "refuse"]

PARTS = ("train", "valid", "test")
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
    regions (COCO's crowds, and what a tool marks to be ignored) that are neither learnt nor scored.
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


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled data set; photos in the order of the JSON (train, valid, test), categories by id.

    `notes` say what was repaired, skipped or renumbered in reading, one line for each kind, with a count.
    """

    root: Path
    categories: tuple[Category, ...]
    photos: tuple[Photo, ...]
    notes: tuple[str, ...] = ()


def read(root: Path, strict: bool = False) -> Dataset:
    """Read and check the set at `root`; DataError with one line for each problem (the first 20, then how many more)."""
    root = Path(root)
    sources = [_load(path) for path in _json_files(root)]
    refuse(problems(root, sources))
    categories = tuple(Category(c["id"], c["name"]) for c in sorted(sources[0].lists["categories"], key=lambda c: c["id"]))
    index = {category.id: i for i, category in enumerate(categories)}
    return Dataset(root, categories, tuple(photo for source in sources for photo in _photos(root, source, index)))


# -- files ---------------------------------------------------------------------------------------------------------------


def _json_files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"{root}: {'a file, need a folder' if root.exists() else 'no such folder'}")
    whole, parts = root / "annotations.json", [path for part in PARTS if (path := root / f"{part}.json").is_file()]
    if whole.is_file() and parts:
        raise DataError(f"{root}: got both annotations.json and {parts[0].name}, need one layout")
    if not whole.is_file() and not parts:
        raise DataError(f"{root}: no annotations.json and none of train.json, valid.json, test.json")
    if not (root / "images").is_dir():
        raise DataError(f"{root}: no folder images/ beside the JSON")
    return parts or [whole]


def _load(path: Path) -> Source:
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: broken JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: broken JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: got a {type(content).__name__} at the top, need an object with the lists {', '.join(KEYS)}")
    missing = [key for key in KEYS if not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"{path}: no list {', '.join(missing)} (need {', '.join(KEYS)})")
    part = path.stem if path.stem in PARTS else None
    return Source(path.name, part, {key: content[key] for key in KEYS})


def refuse(lines: list[str]) -> None:
    """DataError with the problems, one line each (the first 20, then how many more), if there are any."""
    if lines:
        more = [f"... and {len(lines) - SHOWN} more problems"] if len(lines) > SHOWN else []
        raise DataError("\n".join(lines[:SHOWN] + more))


def _photos(root: Path, source: Source, index: dict[int, int]) -> Iterator[Photo]:
    labelled = defaultdict(list)
    for record in source.lists["annotations"]:
        labelled[record["image_id"]].append(record)
    for image in source.lists["images"]:
        records, size = labelled[image["id"]], (image["width"], image["height"])
        boxes = np.array([edges(r["bbox"], *size) for r in records], np.float32).reshape(-1, 4)  # (N, 4)
        labels = np.array([index[r["category_id"]] for r in records], np.int64)  # (N,)
        ids = np.array([r["id"] for r in records], np.int64)  # (N,)
        name = same_name(image["file_name"])
        yield Photo(image["id"], find_photo(root / "images", name), *size, boxes, labels, ids, source.part, name)
