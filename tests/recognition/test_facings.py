"""Rows, shares and gaps of shelves that were counted by hand."""

import csv
from pathlib import Path

import numpy as np

from fusion.boxes import Detections
from recognition.facings import gaps, places, shares
from recognition.journal import Entry, Journal
from recognition.tables import Products, write_tables

# two boards: 10 px wide packs at 0, 10, 20 and 50; below, 20 px wide ones at 0 and 30, of another product the last
SHELF = np.array([[0, 0, 10, 20], [10, 0, 20, 20], [20, 0, 30, 20], [50, 0, 60, 20],
                  [0, 40, 20, 60], [30, 40, 50, 60]], np.float64)  # fmt: skip
LABELS = np.array([0, 0, 1, 0, 1, 2])


def test_an_empty_shelf_has_nothing() -> None:
    boxes = Detections.empty().boxes
    assert places(boxes).shape == (0, 2)
    assert shares(boxes, np.zeros(0, np.int64), np.zeros(0, np.int64)) == []
    assert gaps(boxes, places(boxes)) == []


def test_rows_and_places_are_numbered_from_the_upper_left() -> None:
    shuffled = np.array([5, 2, 0, 4, 3, 1])
    assert places(SHELF[shuffled]).tolist() == [[2, 2], [1, 3], [1, 1], [2, 1], [1, 4], [1, 2]]


def test_shares_are_those_counted_by_hand() -> None:
    rows = places(SHELF)[:, 0]
    first, second, third = shares(SHELF, LABELS, rows)
    assert first == (0, 3, 1, 3 / 6, 30 / 80)
    assert second == (1, 2, 2, 2 / 6, 30 / 80)
    assert third == (2, 1, 1, 1 / 6, 20 / 80)


def test_only_a_gap_wider_than_the_narrower_neighbour_is_one() -> None:
    (gap,) = gaps(SHELF, places(SHELF))
    assert (gap.row, gap.after, gap.fitting) == (1, 3, 2)
    assert gap.box.tolist() == [30, 0, 50, 20]


def test_space_that_a_taller_product_of_another_row_fills_is_no_gap() -> None:
    numbers = np.array([[1, 1], [1, 2], [2, 1]])
    apart = np.array([[0, 0, 10, 20], [40, 0, 50, 20], [12, 4, 38, 60]], np.float64)
    assert gaps(apart, numbers) == []
    apart[2] = [12, 30, 38, 60]  # it stands below: the space is free
    assert [gap.box.tolist() for gap in gaps(apart, numbers)] == [[10, 0, 40, 20]]
    apart[2] = [12, 4, 20, 60]  # it fills a part: the rest counts
    assert [(gap.box.tolist(), gap.fitting) for gap in gaps(apart, numbers)] == [([20, 0, 40, 20], 2)]


def test_products_of_one_name_are_counted_apart_as_in_the_table(tmp_path: Path) -> None:
    rows = [{"category_id": k, "bbox": [20 * k, 0, 10, 20], "score": 0.9} for k in (3, 3, 7, 9)]
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        journal.add(Entry("a.jpg", "a.jpg", [0, 0], size=[200, 30], rows=rows))
        totals = write_tables(tmp_path, journal, Products([3, 7, 9], ["Te", "Te", "Kaffe"]))
    with (tmp_path / "facings.csv").open(encoding="utf-8-sig", newline="") as file:
        table = {int(row["id"]): int(row["facings"]) for row in csv.DictReader(file)}
    assert totals.facings == table == {3: 2, 7: 1, 9: 1}
