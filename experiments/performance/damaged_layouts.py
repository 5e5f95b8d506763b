"""Ten ways in which an export is damaged on its way to us, each with the words that must be told of it, remedy included."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]


class Damage(NamedTuple):
    """What is done to a set in one of `layouts.LAYOUTS`, and words of the one line that must tell it."""

    layout: str
    spoil: Callable[[Path], object]
    told: str


def _change(path: Path, change: Callable[[Json], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _to_fractions(content: Json) -> None:
    size = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for row in content["annotations"]:
        width, height = size[row["image_id"]]
        x, y, w, h = row["bbox"]
        row["bbox"] = [x / width, y / height, w / width, h / height]


def _renumber_categories(content: Json) -> None:
    for row in content["annotations"]:
        row["category_id"] += 900


def _shift(content: Json) -> None:
    for row in content["annotations"][:12]:
        row["bbox"][0] = -5.0


def _flatten(content: Json) -> None:
    for row in content["annotations"][:20]:
        row["bbox"][2] = 0


def _first(folder: Path, pattern: str) -> Path:
    return sorted(folder.rglob(pattern))[0]


def _remove_photos(root: Path) -> None:
    for path in root.rglob("*.jpg"):
        path.unlink()


def _to_pixels(root: Path) -> None:
    for path in root.rglob("obj_train_data/*/*.txt"):
        lines = [
            re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]) * 900:.1f}", line) for line in path.read_text().splitlines()
        ]
        path.write_text("\n".join(lines) + "\n")


def _move_photos(root: Path) -> None:
    for part in ("train", "test"):
        (root / part).rename(root / f"{part}_of_the_shop")


def _number_as_text(path: Path) -> None:
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for row in lines[:20]:
        row[1] = "left"
    path.write_text("\n".join(",".join(row) for row in lines) + "\n")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
DAMAGES: dict[str, Damage] = {
    "half a JSON": Damage("COCO, one file", lambda root: _half(root / "annotations.json"), "broken JSON at line 1, column"),
    "no photos": Damage("COCO, split", _remove_photos, "none of the 25 photos is there, the first is"),
    "fractions": Damage(
        "COCO, one file",
        lambda root: _change(root / "annotations.json", _to_fractions),
        "these look like fractions of the photo; need pixels: multiply",
    ),
    "a photo cut off": Damage(
        "COCO, Roboflow",
        lambda root: _half(_first(root, "*.jpg")),
        "the photo is cut off (no end marker); get it again, or remove",
    ),
    "categories of another export": Damage(
        "COCO 2017",
        lambda root: [_change(path, _renumber_categories) for path in root.glob("annotations/instances_*.json")],
        "no category has this id; add the category or remove the annotation (225 like this",
    ),
    "boxes beyond the photo": Damage(
        "COCO, one file",
        lambda root: _change(root / "annotations.json", _shift),
        "boxes that reach up to 5.0 px out of their photos, clipped: 12 (annotation 0",
    ),
    "boxes without area": Damage(
        "COCO, one file",
        lambda root: _change(root / "annotations.json", _flatten),
        "boxes without width or height, dropped: 20 (annotation 0",
    ),
    "a HEIC photo": Damage(
        "COCO, CVAT",
        lambda root: _first(root, "*.jpg").write_bytes(HEIC),
        "got a HEIC or AVIF photo, need JPEG, PNG, WebP, BMP, TIFF",
    ),
    "pixels for fractions": Damage("YOLO, lists and polygons", _to_pixels, "are these pixels?: not a line of class, centre"),
    "paths of another machine": Damage("YOLO", _move_photos, "no photos where it says they are"),
    "half an XML": Damage("Pascal VOC", lambda root: _half(_first(root, "*.xml")), "broken XML; mend or remove it"),
    "words for numbers": Damage(
        "CSV, SKU-110K",
        lambda root: _number_as_text(root / "annotations" / "annotations_train.csv"),
        "mend or remove the row (20 like",
    ),
}
