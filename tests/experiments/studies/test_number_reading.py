"""Numbers are read in order, and the search for a threshold says what one works out by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from experiments.studies.number_reading import (
    THRESHOLDS,
    Row,
    best,
    draw,
    number,
    search,
    sequence_accuracy,
    truth_number,
    write_predictions,
)
from fusion.boxes import Detections
from photos.data import Category, Photo

NAMES = "0123456789"
CATEGORIES = [Category(100 + digit, name) for digit, name in enumerate(NAMES)]


def photo(boxes: list[list[float]], labels: list[int], number: int = 1) -> Photo:
    truth = np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)
    return Photo(number, Path("none.jpg"), 400, 400, *truth, np.arange(len(labels)), None)


def detections(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64))


def strip(slope: float, n: int = 5) -> list[list[float]]:
    """Boxes of n digits side by side; `slope`: by how much the row falls."""
    return [[20.0 * i, 100 + 20 * slope * i, 20.0 * i + 14, 124 + 20 * slope * i] for i in range(n)]


def test_nothing() -> None:
    assert number(Detections.empty(), NAMES, 0.5) == truth_number(photo([], []), NAMES) == "-1"
    assert math.isnan(sequence_accuracy([], [], NAMES, 0.5))
    assert search([], [], NAMES, []) == []
    assert [row.threshold for row in search([], [], NAMES)] == list(THRESHOLDS)


def test_the_thresholds_are_the_starters() -> None:
    assert THRESHOLDS == (0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


UP, DOWN = math.tan(math.radians(-12)), math.tan(math.radians(12))


@pytest.mark.parametrize(
    ("found", "want"),
    [
        pytest.param(detections(strip(0), [3, 1, 4, 1, 5], [0.9] * 5), "31415", id="level"),
        pytest.param(detections(strip(UP)[::-1], [5, 1, 4, 1, 3], [0.9] * 5), "31415", id="tilted, listed from the right"),
        pytest.param(detections(strip(DOWN), [0, 0, 7, 0, 0], [0.9] * 5), "00700", id="tilted the other way, noughts in front"),
        pytest.param(
            detections(strip(0), [3, 1, 4, 1, 5], [0.9, 0.5, 0.51, 0.2, 0.9]), "345", id="some not above the threshold"
        ),
        pytest.param(detections(strip(0), [3, 1, 4, 1, 5], [0.5] * 5), "-1", id="none above it"),
        pytest.param(
            detections([*strip(0), [41, 100, 55, 124]], [3, 1, 4, 1, 5, 9], [0.9, 0.9, 0.6, 0.9, 0.9, 0.7]),
            "31915",
            id="two names on one digit, the better counts",
        ),
        pytest.param(
            detections([*strip(0), [41, 100, 55, 124]], [3, 1, 4, 1, 5, 9], [0.9, 0.9, 0.6, 0.9, 0.9, 0.4]),
            "31415",
            id="two names on one digit, one below the threshold",
        ),
        pytest.param(
            detections([*strip(0, 2), [6, 100, 20, 124]], [3, 1, 4], [0.9, 0.9, 0.9]), "341", id="neighbours that overlap less"
        ),
        pytest.param(
            detections([[0, 40, 14, 64], [20, 40, 34, 64], [0, 0, 14, 24], [20, 0, 34, 24]], [3, 4, 1, 2], [0.9] * 4),
            "1234",
            id="two rows",
        ),
    ],
)
def test_number(found: Detections, want: str) -> None:
    assert number(found, NAMES, 0.5) == want


def test_names_of_several_letters_are_joined() -> None:
    assert number(detections(strip(0, 3), [1, 0, 1], [0.9] * 3), ["left ", "right "], 0.5) == "right left right "


def test_the_truth_counts_every_label() -> None:
    assert truth_number(photo([*strip(UP), [41, 91, 55, 115]], [3, 1, 4, 1, 5, 9]), NAMES) == "314915"


# Three photos: 12 with a wrong 3 beside it, a 1, and one without digits where a 1 is seen.
ONE, TWO, THREE = strip(0, 3)
PHOTOS = [photo([ONE, TWO], [1, 2], 11), photo([ONE], [1], 5), photo([], [], 7)]
FOUND = [
    detections([TWO, THREE, ONE], [2, 3, 1], [0.7, 0.6, 0.95]),
    detections([ONE], [1], [0.55]),
    detections([ONE], [1], [0.625]),
]


def test_search_worked_out_by_hand() -> None:
    """Of two names to find, 2's one is found down to 0.7; 1's are ranked right 0.95, wrong 0.625, right 0.55.

    A recall of a half is reached for 51 of COCO's 101 recalls.
    """
    rows = search(PHOTOS, FOUND, NAMES, [0.5, 0.65, 0.75, 0.96])
    want = [
        (0.5, ((51 + 50 * 2 / 3) / 101 + 1) / 2, 1 / 3),  # read: 123, 1, 1
        (0.65, (51 / 101 + 1) / 2, 2 / 3),  # 12, -1, -1
        (0.75, 51 / 101 / 2, 1 / 3),  # 1, -1, -1
        (0.96, 0.0, 1 / 3),  # -1, -1, -1
    ]
    np.testing.assert_allclose(rows, want, rtol=0, atol=1e-12)
    assert (best(rows, "map").threshold, best(rows, "accuracy").threshold) == (0.5, 0.65)


@pytest.mark.parametrize("seed", range(5))
def test_map_never_rises_with_the_threshold(seed: int) -> None:
    """So searching by mAP ends at the lowest threshold, and only accuracy decides anything."""
    rng = np.random.default_rng(seed)
    photos = [photo(strip(0), rng.integers(0, 3, 5).tolist(), i) for i in range(6)]
    found = []
    for one in photos:
        labels = np.where(rng.random(15) < 0.6, np.tile(one.labels, 3), rng.integers(0, 3, 15))
        found.append(detections(np.tile(one.boxes, (3, 1)) + rng.normal(0, 1, (15, 4)), labels, rng.random(15)))
    values = [row.map for row in search(photos, found, NAMES)]
    assert (np.diff(values) <= 1e-12).all() and values[0] > values[-1] > 0


@pytest.mark.parametrize(
    ("rows", "by", "threshold"),
    [
        pytest.param([Row(0.5, 0.2, 0.9), Row(0.6, 0.3, 0.8)], "map", 0.6, id="by mAP"),
        pytest.param([Row(0.5, 0.2, 0.9), Row(0.6, 0.3, 0.8)], "accuracy", 0.5, id="by accuracy"),
        pytest.param([Row(0.7, 0.2, 0.9), Row(0.5, 0.2, 0.9), Row(0.6, 0.2, 0.9)], "map", 0.5, id="equals: the lowest"),
        pytest.param([Row(0.5, math.nan, 0.9), Row(0.6, 0.0, 0.8)], "map", 0.6, id="nan is below all"),
    ],
)
def test_best(rows: list[Row], by: str, threshold: float) -> None:
    assert best(rows, by).threshold == threshold


def test_best_of_nothing_and_by_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="rows: got none"):
        best([], "map")
    with pytest.raises(ValueError, match="by: got 'recall', allowed: map, accuracy"):
        best([Row(0.5, 0.2, 0.9)], "recall")


@pytest.mark.parametrize("models", [[], ["one"], ["one", "two"]], ids=["no model", "one", "two"])
def test_the_curves_are_a_picture(models: list[str], tmp_path: Path) -> None:
    draw({model: search(PHOTOS, FOUND, NAMES) for model in models}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_no_photos_give_files_without_rows(tmp_path: Path) -> None:
    write_predictions(tmp_path / "new" / "folder", [], [], CATEGORIES, 0.5)
    assert json.loads((tmp_path / "new" / "folder" / "pred.json").read_text()) == []
    assert (tmp_path / "new" / "folder" / "pred.csv").read_text() == "image_id,pred_label\n"


def test_predictions_as_written(tmp_path: Path) -> None:
    (tmp_path / "pred.csv").write_text("old")
    write_predictions(tmp_path, PHOTOS, FOUND, CATEGORIES, 0.58)
    assert (tmp_path / "pred.csv").read_bytes() == b"image_id,pred_label\n11,123\n5,-1\n7,1\n"
    assert json.loads((tmp_path / "pred.json").read_text()) == [
        {"image_id": 11, "category_id": 101, "bbox": [0, 100, 14, 24], "score": 0.95},
        {"image_id": 11, "category_id": 102, "bbox": [20, 100, 14, 24], "score": 0.7},
        {"image_id": 11, "category_id": 103, "bbox": [40, 100, 14, 24], "score": 0.6},
        {"image_id": 7, "category_id": 101, "bbox": [0, 100, 14, 24], "score": 0.625},
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pred.csv", "pred.json"]


def test_two_names_on_one_digit_are_both_boxes_and_one_letter(tmp_path: Path) -> None:
    write_predictions(tmp_path, PHOTOS[1:2], [detections([ONE, ONE], [7, 1], [0.8, 0.9])], CATEGORIES, 0.5)
    assert (tmp_path / "pred.csv").read_text() == "image_id,pred_label\n5,1\n"
    assert [row["category_id"] for row in json.loads((tmp_path / "pred.json").read_text())] == [101, 107]


def test_another_number_of_photos_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_predictions(tmp_path, PHOTOS, FOUND[:2], CATEGORIES, 0.5)
    assert list(tmp_path.iterdir()) == []
