"""Apply reviewed proposals to a copy of a data set's annotations; the data set itself is never changed.

The copy holds the JSON files, changed, and links to everything else (the photos, the studio photos).
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from photos.box_table import SLACK as BEYOND
from photos.box_table import edges
from photos.data import DataError, Dataset, dataset_of
from photos.formats import coco
from photos.formats.coco import KEYS
from photos.formats.source import Layout, Source, part_of
from photos.photo_file import same_name
from photos.tidy import NUMBERS, whole_numbers
from runs import record
from runs.link import link_or_copy
from runs.new_folder import whole_folder
from runs.typed import typed
from stage2_classifier.label_review.suspicions import KINDS

FIELDS = ("id", "kind", "image_id", "annotation_id", "current", "proposed", "apply")
DECISIONS = "decisions.jsonl"  # beside the proposals that a person decided about in the browser
SLACK = 0.02  # pixels: derived; boxes are rounded to 0.01 on their way into proposals
Rows = list[dict[str, Any]]


def read_proposals(path: Path) -> Rows:
    """The proposals in PATH. Raises ValueError for another form, OSError for no file."""
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: broken JSON: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"{path}: got {type(rows).__name__}, need a list of objects, as stage2_classifier.label_review writes it"
        )
    for row in rows:
        missing = [key for key in FIELDS if key not in row]
        if missing:
            raise ValueError(f"{path}: proposal {row.get('id')}: no {', '.join(missing)}, need {', '.join(FIELDS)}")
        if row["kind"] not in KINDS or not isinstance(row["apply"], bool):
            got = f"kind {row['kind']!r}, apply {row['apply']!r}"
            raise ValueError(f"{path}: proposal {row['id']}: got {got}, need one of {', '.join(KINDS)}, and true or false")
    return rows


def relabel(dataset: Dataset, path: Path, out: Path) -> Counter[str]:
    """Write into OUT the data set with the proposals in PATH whose `apply` is true; returns how many of each kind.

    OUT is written whole or not at all. Raises ValueError for an OUT that holds anything, for what a stopped call left beside
    it, for proposals made from other annotations, and for boxes or names that the data set could not have.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(
            f"--out: got {out}, which {'is not empty' if out.is_dir() else 'is a file'}, need a new or empty folder"
        )
    if dataset.root.resolve() in out.resolve().parents:
        raise ValueError(f"--out: got {out}, which is inside the data set, need a folder beside it")
    chosen = [row for row in read_proposals(path) if row["apply"]]
    files = {name: _content(dataset.root / name) for name in file_names(dataset.root)}
    _refuse_renumbered(dataset, files)
    _refuse_twice(chosen)
    sizes = {photo.id: (photo.width, photo.height) for photo in dataset.photos}  # a file may have none
    for row in chosen:
        _apply(row, files, sizes, str(path))
    _refuse_unreadable(dataset, files)
    with whole_folder(out) as part:
        for entry in sorted(dataset.root.iterdir()):
            if entry.name not in files:
                link_or_copy(entry, part / entry.name)
        for name, content in files.items():
            record.write_json(part / name, content)
    return Counter(row["kind"] for row in chosen)


def file_names(root: Path) -> list[str]:
    """The annotation files of the data set at `root`. DataError where they are not COCO files in ROOT."""
    parts = [path.name for path in sorted(root.glob("*.json")) if part_of(path.stem) and coco.holds_part(path)]
    names = [coco.WHOLE] if (root / coco.WHOLE).is_file() else parts
    if not names:
        need = "annotations.json or train.json, valid.json, test.json"
        copy = typed("hylle data", root, "--to coco COPY")
        raise DataError(f"labels: {root} holds none of {need}; `{copy}` writes the set so")
    return names


def _content(path: Path) -> dict[str, Any]:
    """An annotation file with ids and sizes as integers, as proposals have them and as the reader takes "3"."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    for kind, keys in NUMBERS.items():
        for row in content[kind]:
            row.update(whole_numbers(row, keys))
    return content


def _refuse_renumbered(dataset: Dataset, files: dict[str, dict[str, Any]]) -> None:
    """DataError where proposals, whose ids are those of the set as it was read, mean other ids than the files have."""
    own = [(image["id"], same_name(str(image["file_name"]))) for content in files.values() for image in content["images"]]
    what = "ids or file names"
    if sorted(own, key=str) == sorted(((photo.id, photo.name) for photo in dataset.photos), key=str):
        what, names = "category ids", {category.id: category.name for category in dataset.categories}
        if all(names.get(row["id"]) == row["name"] for content in files.values() for row in content["categories"]):
            return
    copy = typed("hylle data", dataset.root, "--to coco COPY")
    raise DataError(
        f"labels: the {what} in {', '.join(files)} were changed in reading; `{copy}` writes the set as it was read, rank and "
        "apply there"
    )


def _refuse_unreadable(dataset: Dataset, files: dict[str, dict[str, Any]]) -> None:
    """DataError where the changed set could not be read."""
    base = coco.base_of(dataset.root)
    sources = [Source(name, part_of(name), {key: content[key] for key in KEYS}, base) for name, content in files.items()]
    dataset_of(dataset.root, Layout("", sources))


def _refuse_twice(chosen: Rows) -> None:
    counts = Counter((row["image_id"], row["annotation_id"]) for row in chosen if row["annotation_id"] is not None)
    for (_, annotation), n in counts.items():
        if n > 1:
            raise ValueError(f"annotation {annotation}: {n} proposals with apply true, need at most 1")


def _apply(row: dict[str, Any], files: dict[str, dict[str, Any]], sizes: dict[int, tuple[int, int]], where: str) -> None:
    """Change the lists in `files` as one proposal says, of photos of these `sizes` (width, height) by id.

    ValueError, with the proposal's number in front, where it cannot be applied.
    """
    prefix = f"{where}: proposal {row['id']}"
    content = next((c for c in files.values() if any(i["id"] == row["image_id"] for i in c["images"])), None)
    if content is None:
        raise ValueError(f"{prefix}: image_id {row['image_id']} is not in the data set; was it made from another?")
    box, category = _proposed(row, sizes[row["image_id"]], prefix)
    if row["annotation_id"] is None:
        new = 1 + max((a["id"] for c in files.values() for a in c["annotations"]), default=0)
        area = {"area": box[2] * box[3], "iscrowd": 0}
        content["annotations"].append({"id": new, "image_id": row["image_id"], "category_id": category, "bbox": box} | area)
        return
    size = sizes[row["image_id"]]
    annotation = _current(row, content["annotations"], size, prefix)
    if row["proposed"] is None:
        content["annotations"].remove(annotation)
        return
    annotation.update(category_id=category)
    if not _same(box, annotation["bbox"], size):
        annotation.update(bbox=box, area=box[2] * box[3])


def _proposed(row: dict[str, Any], size: tuple[int, int], prefix: str) -> tuple[list[float], Any]:
    """Box and category id that a proposal asks for; [] and None for one that deletes.

    ValueError for one of another form, or for a box that reading a photo of this `size` would cut or drop.
    """
    proposed = row["proposed"]
    if proposed is None and row["annotation_id"] is not None:
        return [], None
    if not isinstance(proposed, dict) or not _is_box(proposed.get("bbox")):
        raise ValueError(
            f"{prefix}: proposed: got {proposed!r}, need an object with bbox [x, y, width, height] and category_id"
        )
    x, y, width, height = box = proposed["bbox"]
    beyond = max(-x, -y, x + width - size[0], y + height - size[1])
    [(left, top, right, bottom)] = edges([box], [size[0]], [size[1]])
    if beyond > BEYOND or right <= left or bottom <= top:
        wrong = f"reaches {beyond:.1f} px out of its photo" if beyond > BEYOND else "has no area there"
        raise ValueError(f"{prefix}: proposed: bbox {box} {wrong}, {size[0]} x {size[1]} pixels; mend it or do not apply it")
    return box, proposed.get("category_id")


def _current(row: dict[str, Any], annotations: Rows, size: tuple[int, int], prefix: str) -> dict[str, Any]:
    """The annotation a proposal is about. ValueError where it is gone, or was changed since the proposal was made."""
    image, number, current = row["image_id"], row["annotation_id"], row["current"]
    now = next((a for a in annotations if a["id"] == number and a["image_id"] == image), None)
    if now is None:
        raise ValueError(f"{prefix}: image {image} has no annotation {number}; was it made from another set?")
    same = isinstance(current, dict) and _is_box(current.get("bbox")) and current.get("category_id") == now["category_id"]
    if not same or not _same(current["bbox"], now["bbox"], size):
        raise ValueError(
            f"{prefix}: annotation {number} is {now['bbox']} of category {now['category_id']}, but the proposal was made "
            f"from {current!r}; rank again"
        )
    return now


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(v, int | float) for v in value)


def _same(a: list[float], b: list[float], size: tuple[int, int]) -> bool:
    """Whether two boxes are equal once cut to the photo, as `photos.data` cuts them."""
    one, other = edges([a, b], [size[0]] * 2, [size[1]] * 2)  # (4,) each
    return bool(np.allclose(one, other, rtol=0, atol=SLACK))
