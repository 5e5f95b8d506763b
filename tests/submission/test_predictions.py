"""Predictions are held against the contract line by line, and scored as everywhere else."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photos.data import read
from photos.score import Truth, evaluate
from submission.predictions import as_detections, boxes_beyond, score, sizes_of, violations

ROW = {"image_id": 1, "category_id": 7, "bbox": [10.0, 5.0, 30.0, 20.0], "score": 0.5}
SIZES = {1: (100, 50), 2: None}
KNOWN = frozenset([3, 7])


def test_where_no_categories_are_known_none_is_negative() -> None:
    assert violations(json.dumps([ROW | {"category_id": 0}]), SIZES, None) == []
    (problem,) = violations(json.dumps([ROW | {"category_id": -1}]), SIZES, None)
    assert problem == "prediction 0: category_id: got -1, must be >= 0"


def test_no_predictions_are_valid() -> None:
    assert violations("[]", {}, None) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="as it should be"),
        pytest.param({"bbox": [0, 0, 100, 50]}, id="the whole photo, in integers"),
        pytest.param({"image_id": 2, "bbox": [0, 0, 9999, 1]}, id="a photo of unknown size"),
        pytest.param({"score": 0}, id="score 0"),
        pytest.param({"score": 1e-10}, id="a tiny score"),
    ],
)
def test_what_is_right_passes(change: dict[str, object]) -> None:
    assert violations(json.dumps([ROW | change]), SIZES, KNOWN) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"image_id": "1"}, "image_id: got '1', must be an integer", id="image id a string"),
        pytest.param({"image_id": True}, "image_id: got True", id="image id a boolean"),
        pytest.param({"image_id": 3}, "image_id: got 3, no photo has that number", id="no such photo"),
        pytest.param({"category_id": 7.0}, "category_id: got 7.0, must be an integer", id="category a float"),
        pytest.param({"category_id": 4}, "category_id: got 4, no category has that id", id="no such category"),
        pytest.param({"score": 1.0001}, "score: got 1.0001", id="score above 1"),
        pytest.param({"score": -0.1}, "score: got -0.1", id="score below 0"),
        pytest.param({"score": "0.5"}, "score: got '0.5'", id="score a string"),
        pytest.param({"score": None}, "score: got None", id="no score"),
        pytest.param({"bbox": [0, 0, 0, 5]}, "width and height must be > 0", id="no width"),
        pytest.param({"bbox": [90, 0, 11, 5]}, "must lie inside the photo of 100 x 50", id="beyond the right edge"),
        pytest.param({"bbox": [0, 45, 11, 6]}, "must lie inside the photo of 100 x 50", id="below the photo"),
        pytest.param({"bbox": [-1, 0, 11, 5]}, "must lie inside the photo of 100 x 50", id="left of the photo"),
        pytest.param({"bbox": [0, -1, 11, 5]}, "must lie inside the photo of 100 x 50", id="above the photo"),
        pytest.param({"image_id": 2, "bbox": [-1, 0, 11, 5]}, "must lie inside the photo", id="negative, size unknown"),
        pytest.param({"bbox": [0, 0, 5]}, "must be four numbers", id="three numbers"),
        pytest.param({"bbox": {"x": 0}}, "must be four numbers", id="an object"),
        pytest.param({"area": 3}, "nothing else", id="a key too many"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, object], message: str) -> None:
    (problem,) = violations(json.dumps([ROW, ROW | change]), SIZES, KNOWN)
    assert problem.startswith("prediction 1: ") and message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "not JSON", id="empty"),
        pytest.param(json.dumps([ROW])[:-1], "not JSON", id="cut off"),
        pytest.param('[{"score": NaN}]', "not JSON: got NaN", id="NaN"),
        pytest.param('[{"score": Infinity}]', "not JSON: got Infinity", id="infinity"),
        pytest.param("{}", "got a dict at the top", id="an object"),
        pytest.param("[1]", "got 1, must be an object", id="numbers"),
        pytest.param('[{"image_id": 1}]', "must be an object with image_id, category_id", id="keys missing"),
    ],
)
def test_a_file_that_is_none_is_told(text: str, message: str) -> None:
    (problem,) = violations(text, SIZES, KNOWN)
    assert message in problem


def test_sizes_are_of_the_stored_pixels_and_none_for_what_is_no_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 24)).save(tmp_path / "img_1.jpg", exif=exif)
    (tmp_path / "img_2.jpeg").write_text("no photo")
    assert sizes_of(tmp_path) == {1: (40, 24), 2: None}
    assert sizes_of(tmp_path / "nowhere") == {}


TRUTH = {
    "images": [{"id": 1}, {"id": 2}],
    "categories": [{"id": 7}, {"id": 3}],
    "annotations": [
        {"image_id": 1, "category_id": 7, "bbox": [10, 5, 30, 20]},
        {"image_id": 1, "category_id": 3, "bbox": [60, 5, 30, 20], "iscrowd": 1},
        {"image_id": 1, "category_id": 3, "bbox": [60, 40, 30, 20], "ignore": 1},
        {"image_id": 1, "category_id": 3, "bbox": [60, 40, 0, 20]},
        {"image_id": 2, "category_id": 3, "bbox": [0, 0, 10, 10]},
    ],
}


def test_the_score_is_the_contests_on_the_photos_that_were_given() -> None:
    wrong = ROW | {"category_id": 3}
    both, one = frozenset([1, 2]), frozenset([1])
    assert score([ROW], TRUTH, one).score == pytest.approx(1.0)
    assert score([wrong], TRUTH, one).score == pytest.approx(0.7)
    assert score([ROW], TRUTH, both).det_map50 == pytest.approx(0.5, abs=0.01)
    assert score([], TRUTH, both).score == 0


@pytest.mark.parametrize("told", [True, False], ids=["the JSON tells the size", "the photo tells its size"])
def test_boxes_that_reach_out_of_their_photo_are_scored_as_the_reader_has_them(tmp_path: Path, told: bool) -> None:
    """Of a box 60 px beyond an edge run.py can show but the part within the photo."""
    boxes = [[-60, 50, 100, 100], [150, 50, 100, 100], [350, 200, 110, 100], [500, 0, 20, 20]]
    size = {"width": 400, "height": 400}
    truth = {
        "images": [{"id": i, "file_name": f"img_{i}.png"} | (size if told else {}) for i in (1, 2)],
        "categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "b"}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)],
    }
    (tmp_path / "images").mkdir()
    for i in (1, 2):
        Image.new("RGB", (400, 400), (i, 0, 0)).save(tmp_path / "images" / f"img_{i}.png")
    (tmp_path / "annotations.json").write_text(json.dumps(truth | {"images": [image | size for image in truth["images"]]}))
    within = [[0, 50, 40, 100], [150, 50, 100, 100], [350, 200, 50, 100]]
    rows = [{"image_id": 1, "category_id": 3, "bbox": box, "score": 0.9} for box in within]
    photos, both, own = read(tmp_path).photos, frozenset([1, 2]), {} if told else {1: (400, 400), 2: (400, 400)}
    judged = evaluate([Truth.of(photo) for photo in photos], as_detections(rows, [1, 2], {3: 0, 7: 1}), 2)
    assert score(rows, truth, both, own=own) == judged
    assert judged.score == pytest.approx(1.0)
    assert boxes_beyond(truth, both, own) == 3 and boxes_beyond(truth, frozenset([2]), own) == 0


def test_a_box_that_reaches_out_by_a_rounding_is_not_counted() -> None:
    truth = TRUTH | {"images": [{"id": 1, "width": 40, "height": 25}], "annotations": TRUTH["annotations"][:1]}
    assert boxes_beyond(truth, frozenset([1])) == 0
    assert boxes_beyond(truth | {"images": [{"id": 1, "width": 39.5, "height": 24}]}, frozenset([1])) == 0
    assert boxes_beyond(truth | {"images": [{"id": 1, "width": 38, "height": 25}]}, frozenset([1])) == 1


def test_a_product_that_was_enrolled_is_no_category_of_the_truth_and_costs_its_box_the_name() -> None:
    enrolled, one = ROW | {"category_id": 8}, frozenset([1])
    assert score([enrolled], TRUTH, one, [7, 3, 8]).score == pytest.approx(0.7)
    assert score([ROW], TRUTH, one, [7, 3, 8]).score == pytest.approx(1.0)
    with pytest.raises(ValueError, match="category 8, which the data set lacks"):
        score([enrolled], TRUTH, one)


def test_a_prediction_for_another_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match="got image 1, category 99, which the data set lacks"):
        as_detections([ROW | {"category_id": 99}], [1], {7: 0})


def test_predictions_come_back_by_photo_and_category_id() -> None:
    found = as_detections([ROW], [2, 1], {3: 0, 7: 1})
    assert [len(f) for f in found] == [0, 1]
    assert found[1].labels.tolist() == [1]
    np.testing.assert_array_equal(found[1].boxes, [[10, 5, 40, 25]])
