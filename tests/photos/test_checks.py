"""What is wrong with a labelled set: every problem is named with its id, every repair is told, and --strict refuses it."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_set import HEIGHT, WIDTH, content, write

from photos.data import DataError, read, refuse

NO = object()  # the key is removed
photo, box, category = (partial(lambda kind, *row, id: pytest.param(kind, *row, id=id), kind) for kind in content())
PROBLEMS = [
    box(0, {"bbox": [1, 2, math.nan, 4]},
        "annotation 17 (annotations.json): bbox [1, 2, nan, 4]: width and height must be finite", id="nan width"),
    box(0, {"bbox": [1, 2, 3, math.inf]}, "width and height must be finite", id="infinite height"),
    box(0, {"bbox": [math.nan, 2, 3, 4]}, "x and y must be finite", id="nan x"),
    box(0, {"bbox": ["1", 2, 3, 4]}, "need a list of 4 numbers x, y, width, height", id="text in box"),
    box(0, {"bbox": [1, 2, 3]}, "need a list of 4 numbers", id="three numbers"),
    box(0, {"bbox": None}, "bbox None, need a list of 4 numbers", id="null box"),
    box(0, {"bbox": [True, 2, 3, 4]}, "need a list of 4 numbers", id="a truth value in box"),
    box(0, {"bbox": [1, 2, 10**400, 4]}, "must be finite", id="a number beyond float"),
    box(0, {"image_id": 3}, "annotation 17 (annotations.json): image_id 3: no image has this id",
        id="unknown photo"),
    box(0, {"image_id": "a"}, "image_id 'a': no image has this id", id="photo id is text"),
    box(0, {"image_id": [1]}, "image_id [1]: no image has this id", id="photo id is a list"),
    box(0, {"category_id": 5}, "annotation 17 (annotations.json): category_id 5: no category has this id",
        id="unknown category"),
    box(0, {"iscrowd": "yes"}, "annotation 17 (annotations.json): iscrowd: got 'yes', need 0 or 1", id="crowd"),
    box(1, {"id": 17}, "annotation 17 (annotations.json): id 17: used more than once", id="box id twice"),
    box(0, {"id": 1.5}, "annotation 1.5 (annotations.json): id: got 1.5, need an integer", id="box id float"),
    box(0, {"id": NO}, "annotation at position 0 (annotations.json): key id is missing", id="box without id"),
    box(0, {"bbox": NO, "image_id": NO}, "annotation 17 (annotations.json): key image_id, bbox is missing",
        id="box without box"),
    photo(1, {"id": 1}, "image 1 (annotations.json): id 1: used more than once", id="photo id twice"),
    photo(1, {"file_name": "img_1.jpg"}, "image 2 (annotations.json): file_name 'img_1.jpg': used more than once",
        id="file name twice"),
    photo(0, {"width": -1}, "width: got -1, need an integer > 0", id="negative width"),
    photo(0, {"height": "high"}, "height: got 'high', need an integer > 0", id="height is text"),
    photo(0, {"width": 50}, "image 1 (annotations.json): img_1.jpg: the labels say 50x32, the photo is 48x32",
        id="other size on disk"),
    photo(0, {"width": 32, "height": 48}, "the labels say 32x48, the photo is 48x32", id="turned without EXIF"),
    photo(0, {"file_name": 3}, "file_name: got 3, need the name of a photo", id="file name a number"),
    photo(0, {"file_name": "a.png"}, "image 1 (annotations.json): images/a.png: not found", id="no such photo"),
    category(0, {"id": 4}, "category 4 (annotations.json): id 4: used more than once", id="category id twice"),
    category(0, {"name": None}, "category 9 (annotations.json): name: got None, need a string", id="null name"),
    category(0, {"name": NO}, "category 9 (annotations.json): key name is missing", id="category without name"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "position", "change", "message"), PROBLEMS)
def test_each_problem_is_named(tmp_path: Path, kind: str, position: int, change: dict[str, Any], message: str) -> None:
    one = content()
    one[kind][position] = {k: v for k, v in (one[kind][position] | change).items() if v is not NO}
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, annotations=one))
    assert any(message in line for line in str(caught.value).splitlines()), str(caught.value)


REPAIRS = [
    box(0, {"bbox": [1, 2, 0, 4]}, "dropped: 1 (annotation 17 (annotations.json))", id="no width"),
    box(0, {"bbox": [1, 2, 3, -4]}, "boxes without width or height, dropped: 1", id="negative height"),
    box(0, {"bbox": [-0.9, 2, 0.5, 4]}, "boxes outside their photos, dropped: 1", id="nothing left after clipping"),
    box(0, {"bbox": [40, 2, 1e-9, 4]}, "boxes outside their photos, dropped: 1", id="thinner than float32 can tell"),
    box(0, {"bbox": [-1.1, 2, 3, 4]}, "boxes that reach up to 1.1 px out of their photos, clipped: 1", id="out at the left"),
    box(0, {"bbox": [40, 2, 12, 4]}, "up to 4.0 px out of their photos, clipped: 1", id="out at the right"),
    box(0, {"bbox": [5, 28, 3, 5.1]}, "up to 1.1 px out of their photos, clipped: 1", id="out at the bottom"),
    box(0, {"image_id": "1", "category_id": 9.0}, "annotations with ids or sizes as text or fractions, read as integers: 1",
        id="references as text"),
    box(0, {"id": "17"}, "read as integers: 1", id="box id is text"),
    photo(0, {"id": 1.0, "height": "32"}, "images with ids or sizes as text or fractions", id="photo id 1.0"),
    photo(0, {"file_name": "images/img_1.jpg"}, "photos whose file_name has another path, found by the end of it: 1 "
          "(images/img_1.jpg is img_1.jpg)", id="folder in front"),
    photo(0, {"file_name": "C:\\\\shop\\\\img_1.jpg"}, "is img_1.jpg)", id="path of Windows"),
    photo(0, {"file_name": "/home/anna/shop/images/img_1.jpg"}, "is img_1.jpg)", id="absolute path"),
    photo(0, {"file_name": "../images/img_1.jpg"}, "is img_1.jpg)", id="path out of the folder"),
    photo(0, {"file_name": "https://shop.no/photos/img%5F1.jpg?width=9"}, "is img_1.jpg)", id="URL"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "position", "change", "note"), REPAIRS)
def test_each_repair_is_told_and_strict_refuses_it(
    tmp_path: Path, kind: str, position: int, change: dict[str, Any], note: str
) -> None:
    root, one = write(tmp_path, annotations=content()), content()
    one[kind][position] |= change
    (root / "annotations.json").write_text(json.dumps(one))
    dataset = read(root)
    assert len(dataset.notes) == 1 and note in dataset.notes[0], dataset.notes
    assert (dataset.photos[0].name, dataset.photos[0].id, dataset.photos[0].height) == ("img_1.jpg", 1, HEIGHT)
    boxes = dataset.photos[0].boxes
    assert len(boxes) == (0 if "dropped" in note else 1)
    assert (boxes >= 0).all() and (boxes <= (WIDTH, HEIGHT) * 2).all()
    with pytest.raises(DataError, match=r"^--strict: [^\n]*$"):
        read(root, strict=True)


def test_a_set_without_repairs_passes_strict(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, annotations=content()), strict=True)
    assert (dataset.notes, dataset.layout) == ((), "COCO, one file (annotations.json)")


@pytest.mark.parametrize(
    "size", [{"width": NO, "height": NO}, {"width": None}, {"width": 0, "height": 0}], ids=["absent", "null", "zero"]
)
def test_a_missing_size_is_read_from_the_photo(tmp_path: Path, size: dict[str, Any]) -> None:
    one = content()
    one["images"][0] = {k: v for k, v in (one["images"][0] | size).items() if v is not NO}
    dataset = read(write(tmp_path, annotations=one), strict=True)
    assert (dataset.photos[0].width, dataset.photos[0].height) == (WIDTH, HEIGHT)
    assert dataset.notes == ("photos without width and height in the labels, taken from the file: 1 (img_1.jpg)",)


@pytest.mark.parametrize("mark", [{"iscrowd": 1}, {"ignore": True}, {"iscrowd": 1, "category_id": 77}], ids=str)
def test_regions_to_ignore_are_no_boxes(tmp_path: Path, mark: dict[str, Any]) -> None:
    one = content()
    one["annotations"].append({"id": 19, "image_id": 1, "category_id": 9, "bbox": [0, 0, 20, 10]} | mark)
    dataset = read(write(tmp_path, annotations=one), strict=True)
    first, second = dataset.photos
    assert (len(first.boxes), first.annotation_ids.tolist(), first.ignored.tolist()) == (1, [17], [[0, 0, 20, 10]])
    assert (second.ignored.shape, second.ignored.dtype) == ((0, 4), np.float32)
    assert dataset.notes[0].startswith("regions to ignore (iscrowd, ignore), neither learnt nor scored: 1")


def test_labels_made_for_other_photos_are_refused(tmp_path: Path) -> None:
    one = content()
    for row in one["annotations"]:
        row["bbox"] = [500, 600, 30, 40]
    with pytest.raises(DataError, match=r"annotations.json: 2 of 2 boxes: most boxes lie outside their photos"):
        read(write(tmp_path, annotations=one))


def test_fractions_are_refused(tmp_path: Path) -> None:
    one = content()
    for row in one["annotations"]:
        row["bbox"] = [0.25, 0.5, 0.125, 0.25]
    with pytest.raises(DataError, match=r"2 of 2 boxes have numbers of at most 1.5, .*: these look like fractions"):
        read(write(tmp_path, annotations=one))


@pytest.mark.parametrize(
    ("boxes", "refused"),
    [
        pytest.param([[-0.002, 0, 1.003, 0.5]] * 3, True, id="beyond both edges"),
        pytest.param([[0.25, 0.5, 0.125, 0.25]] * 2 + [[5, 6, 30, 40]], True, id="most"),
        pytest.param([[0.25, 0.5, 0.125, 0.25]] + [[5, 6, 30, 40]] * 2, False, id="one"),
        pytest.param([[0, 0, 1, 1]] + [[5, 6, 30, 40]] * 2, None, id="a pixel"),
    ],
)
def test_fractions_among_pixels_are_refused_or_told(tmp_path: Path, boxes: list[list[float]], refused: bool | None) -> None:
    one = content()
    row = one["annotations"][0]
    one["annotations"] = [row | {"id": number, "bbox": box} for number, box in enumerate(boxes, 1)]
    root = write(tmp_path, annotations=one)
    if refused:
        with pytest.raises(DataError, match="these look like fractions"):
            read(root)
    else:
        told = [note for note in read(root).notes if "fractions of the photo?" in note]
        assert [note.endswith(": 1 (annotation 1 (annotations.json))") for note in told] == ([] if refused is None else [True])


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    one = content()
    one["annotations"][0].update(image_id=7, category_id=8, iscrowd=2)
    one["annotations"][1]["bbox"] = [0, 0, math.nan, 0]
    one["images"].append("img_3.jpg")
    one["annotations"][0]["category_id"] = 8
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, annotations=one))
    assert [line.split(":")[0].split(" (")[0] for line in str(caught.value).splitlines()] == [
        "image at position 2", "annotation 17", "annotation 17", "annotation 18"]  # fmt: skip


def test_many_like_problems_are_one_line(tmp_path: Path) -> None:
    one = content()
    one["annotations"] = [{"id": i, "image_id": 5, "category_id": 4, "bbox": [1, 1, 2, 2]} for i in range(30)]
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, annotations=one))
    assert str(caught.value) == (
        "annotation 0 (annotations.json): image_id 5: no image has this id; add the image or remove the annotation "
        "(30 like this; the next: annotation 1 (annotations.json), annotation 2 (annotations.json))"
    )


def test_all_photos_missing_is_one_line(tmp_path: Path) -> None:
    root = write(tmp_path, annotations=content())
    for photo in (root / "images").iterdir():
        photo.unlink()
    with pytest.raises(DataError, match=r"^[^\n]*images: none of the 2 photos is there, the first is img_1.jpg: put[^\n]*$"):
        read(root)


def test_many_kinds_of_problems_are_counted() -> None:
    with pytest.raises(DataError) as caught:
        refuse([f"line {i}" for i in range(30)])
    assert str(caught.value).splitlines()[-1] == "... and 10 more problems"
