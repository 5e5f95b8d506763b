"""The tables of a finished run, made from its journal: what stands where, facings, gaps, problems, and all as COCO JSON."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from fusion.boxes import Floats, Ints, xywh_to_xyxy
from photos.formats.spreadsheet_text import as_text
from recognition.facings import gaps, places, shares
from recognition.journal import Entry, Journal
from runs.atomic_write import replacing

ENCODING = "utf-8-sig"  # with a byte order mark, without which Excel misreads letters such as Å
HEADERS = {
    "predictions.csv": ("photo", "product", "id", "score", "x0", "y0", "x1", "y1", "row", "place"),
    "facings.csv": ("photo", "product", "id", "facings", "rows", "share_by_count", "share_by_width"),
    "gaps.csv": ("photo", "row", "after_place", "x0", "y0", "x1", "y1", "fitting", "left", "right"),
    "problems.csv": ("photo", "problem"),
}
JSON = "predictions.json"


class Products(NamedTuple):
    """The products that a model knows: their category ids and names, in the order of its labels."""

    ids: list[int]
    names: list[str]

    def labels(self, ids: Sequence[int]) -> Ints:
        """The labels (N,) of category ids."""
        label = {i: k for k, i in enumerate(self.ids)}
        return np.array([label[i] for i in ids], np.int64)


class Totals(NamedTuple):
    """What a run came to.

    `photos` and frames have predictions, if only none; `failed` are photos and videos with a problem. `below` are boxes below
    the floor, `turned` photos that EXIF turns by a quarter, `empty` photos and frames without a facing, `facings` those of each
    product, by its id.
    """

    photos: int
    failed: int
    remarks: int
    boxes: int
    below: int
    turned: int
    empty: int
    facings: Counter[int]


class Shelf(NamedTuple):
    """The boxes of one photo in reading order: boxes (N, 4), labels (N,), row and place (N, 2), and scores."""

    boxes: Floats
    labels: Ints
    numbers: Ints
    scores: list[float]


def shelf_of(rows: Sequence[dict[str, Any]], products: Products) -> Shelf:
    """The predictions of one photo in reading order."""
    boxes = xywh_to_xyxy(np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4))
    labels, numbers = products.labels([row["category_id"] for row in rows]), places(boxes)
    order = np.lexsort((numbers[:, 1], numbers[:, 0]))
    return Shelf(boxes[order], labels[order], numbers[order], [rows[i]["score"] for i in order])


def write_tables(out: Path, journal: Journal, products: Products) -> Totals:
    """Write all tables into OUT, each whole or not at all; photos in the order of the journal.

    Names that spreadsheets would compute have a ' in front there (`photos.formats.spreadsheet_text`), not in the JSON.
    """
    count = Counter[str]()
    facings = Counter[int]()
    with replacing(*(out / name for name in (*HEADERS, JSON))) as paths, ExitStack() as stack:
        files = [stack.enter_context(path.open("w", encoding=ENCODING, newline="")) for path in paths[:-1]]
        boxes, facing_rows, gap_rows, problems = (csv.writer(file) for file in files)
        for writer, header in zip((boxes, facing_rows, gap_rows, problems), HEADERS.values(), strict=True):
            writer.writerow(header)
        for entry in journal.entries():
            told = [entry.problem] * bool(entry.problem) + entry.remarks
            problems.writerows(_shown((entry.name, text) for text in told))
            count.update(remarks=len(entry.remarks), turned=entry.turned, below=entry.below, failed=int(bool(entry.problem)))
            if entry.problem or is_video(entry):
                continue
            shelf = shelf_of(entry.rows, products)
            count.update(photos=1, boxes=len(shelf.boxes), empty=int(not len(shelf.boxes)))
            facings.update(products.ids[label] for label in shelf.labels.tolist())
            boxes.writerows(_shown(_box_rows(entry.name, shelf, products)))
            facing_rows.writerows(_shown(_facing_rows(entry.name, shelf, products)))
            gap_rows.writerows(_shown(_gap_rows(entry.name, shelf, products)))
        _write_coco(stack.enter_context(paths[-1].open("w", encoding="utf-8")), journal, products)
    return Totals(*(count[name] for name in Totals._fields[:-1]), facings)


def is_video(entry: Entry) -> bool:
    """Whether an entry is of a whole video, whose frames have entries of their own."""
    return entry.is_video and entry.name == entry.file


def _shown(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The rows with their texts as spreadsheets leave them."""
    return (tuple(as_text(cell) if isinstance(cell, str) else cell for cell in row) for row in rows)


def _box_rows(photo: str, shelf: Shelf, products: Products) -> Iterator[tuple[Any, ...]]:
    for box, label, (row, place), score in zip(
        shelf.boxes.round(3).tolist(), shelf.labels.tolist(), shelf.numbers.tolist(), shelf.scores, strict=True
    ):
        yield photo, products.names[label], products.ids[label], score, *box, row, place


def _facing_rows(photo: str, shelf: Shelf, products: Products) -> Iterator[tuple[Any, ...]]:
    for share in shares(shelf.boxes, shelf.labels, shelf.numbers[:, 0]):
        name, number = products.names[share.label], products.ids[share.label]
        yield photo, name, number, share.facings, share.rows, round(share.by_count, 4), round(share.by_width, 4)


def _gap_rows(photo: str, shelf: Shelf, products: Products) -> Iterator[tuple[Any, ...]]:
    label = {(row, place): k for (row, place), k in zip(shelf.numbers.tolist(), shelf.labels.tolist(), strict=True)}
    for gap in gaps(shelf.boxes, shelf.numbers):
        beside = (products.names[label[gap.row, place]] for place in (gap.after, gap.after + 1))
        yield photo, gap.row, gap.after, *gap.box.round(3).tolist(), gap.fitting, *beside


def _write_coco(file: IO[str], journal: Journal, products: Products) -> None:
    """The predictions as a COCO data set: images, categories with names, annotations with scores; a line for each record."""
    readable = [entry.name for entry in journal.entries() if not (entry.problem or is_video(entry))]
    number = {name: i for i, name in enumerate(readable, 1)}
    images = (
        {"id": number[entry.name], "file_name": entry.name, "width": entry.size[0], "height": entry.size[1]}
        for entry in journal.entries()
        if entry.name in number
    )
    categories = ({"id": i, "name": name} for i, name in zip(products.ids, products.names, strict=True))
    rows = ((number[entry.name], row) for entry in journal.entries() if entry.name in number for row in entry.rows)
    annotations = (
        {"id": i, "image_id": image, **row, "area": round(row["bbox"][2] * row["bbox"][3], 3), "iscrowd": 0}
        for i, (image, row) in enumerate(rows, 1)
    )
    lists = {"images": images, "categories": categories, "annotations": annotations}
    for i, (name, records) in enumerate(lists.items()):
        file.write((",\n" if i else "{\n") + f'"{name}": [')
        for k, record in enumerate(records):
            file.write(("," if k else "") + "\n" + json.dumps(record, ensure_ascii=False))
        file.write("]")
    file.write("}\n")
