"""Names that a spreadsheet would compute: text in the tables, as they are in the JSON and where a table is read again."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photos.data import read
from recognition.journal import Entry, Journal
from recognition.tables import HEADERS, JSON, Products, write_tables

NAMES = ["=HYPERLINK(1)", "-Cola", "+Energy", "@home", " =1", "'=x", "'Til", "7-Up", "Te"]
PHOTO = "=1.jpg"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The tables of a photo with two boxes of each product, one beside the other with a gap, and of one with a problem."""
    rows = [
        {"category_id": k, "bbox": [0, 30 * k, 5, 20] if left else [50, 30 * k, 5, 20], "score": 0.9}
        for k in range(len(NAMES))
        for left in (True, False)
    ]
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        journal.add(Entry(PHOTO, PHOTO, [0, 0], size=[99, 300], rows=rows))
        journal.add(Entry("@2.jpg", "@2.jpg", [0, 0], problem="-1: damaged"))
        write_tables(tmp_path, journal, Products([*range(len(NAMES))], NAMES))
    return tmp_path


def test_no_cell_of_a_table_begins_as_a_formula_and_numbers_stay(out: Path) -> None:
    for file in HEADERS:
        with (out / file).open(encoding="utf-8-sig", newline="") as table:
            rows = list(csv.DictReader(table))
        assert rows and not [cell for row in rows for cell in row.values() if cell.strip()[:1] in "=+-@"]
    with (out / "predictions.csv").open(encoding="utf-8-sig", newline="") as table:
        told = {int(row["id"]): row["product"] for row in csv.DictReader(table)}
    assert [told[k] for k in range(len(NAMES))] == [*(f"'{name}" for name in NAMES[:6]), *NAMES[6:]]
    coco = json.loads((out / JSON).read_text())
    assert [category["name"] for category in coco["categories"]] == NAMES and coco["images"][0]["file_name"] == PHOTO


def test_our_own_table_is_read_with_the_names_as_they_are(out: Path, tmp_path: Path) -> None:
    data = tmp_path / "D"
    (data / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((300, 99, 3), np.uint8)).save(data / "images" / PHOTO)
    (data / "predictions.csv").write_bytes((out / "predictions.csv").read_bytes())
    dataset = read(data)
    assert [photo.name for photo in dataset.photos] == [PHOTO]
    assert {category.name for category in dataset.categories} == {name.strip() for name in NAMES}


def test_the_table_of_another_is_read_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / "'=1.jpg")
    (tmp_path / "boxes.csv").write_text("photo,product,x0,y0,x1,y1\n'=1.jpg,'-Cola,1,1,9,9\n")
    dataset = read(tmp_path)
    assert ([photo.name for photo in dataset.photos], [c.name for c in dataset.categories]) == (["'=1.jpg"], ["'-Cola"])
