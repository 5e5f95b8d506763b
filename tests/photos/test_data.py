"""Reading a labelled set: both layouts, every problem named with its id, missing, turned and damaged photos."""

import json
import math
import unicodedata
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photos.data import DataError, Dataset, read, read_image, refuse
from photos.folds import Folds, Settings, load, save
from photos.scenes import from_csv

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "snacks"
WIDTH, HEIGHT = 48, 32


def write_photo(path: Path) -> None:
    Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))).convert("RGB").save(path)


def content() -> dict[str, Any]:
    """Two photos, one box each, and one product of which there is no box."""
    images = [{"id": i, "file_name": f"img_{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in (1, 2)]
    boxes = [{"id": 17, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3.5, 4], "area": 14, "iscrowd": 0},
             {"id": 18, "image_id": 2, "category_id": 4, "bbox": [5, 6, 7, 8]}]  # fmt: skip
    return {"images": images, "annotations": boxes, "categories": [{"id": 9, "name": "tea"}, {"id": 4, "name": ""}]}


def write(root: Path, **files: Any) -> Path:
    """Write {name: content} as JSON and a photo for each .jpg or .jpeg that the contents name."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    for name, one in files.items():
        (root / f"{name}.json").write_text(json.dumps(one))
        for image in one["images"]:
            if isinstance(image, dict) and str(image.get("file_name")).lower().endswith(("jpg", "jpeg")):
                write_photo(root / "images" / image["file_name"])
    return root


def test_no_boxes_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^annotations.json: got 0 boxes, need at least 1; label products, .*$"):
        read(write(tmp_path, annotations={**content(), "annotations": []}))


def test_contest_layout(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, annotations=content()))
    assert [(c.id, c.name) for c in dataset.categories] == [(4, ""), (9, "tea")]
    first, second = dataset.photos
    assert (first.id, first.width, first.height, first.part) == (1, WIDTH, HEIGHT, None)
    assert (first.boxes.dtype, first.labels.dtype, first.annotation_ids.dtype) == (np.float32, np.int64, np.int64)
    np.testing.assert_array_equal(first.boxes, [[1, 2, 4.5, 6]])
    assert (first.labels.tolist(), first.annotation_ids.tolist(), second.labels.tolist()) == ([1], [17], [0])


def test_unlabelled_photo_is_kept(tmp_path: Path) -> None:
    one = content()
    one["annotations"].pop()
    assert read(write(tmp_path, annotations=one)).photos[1].boxes.shape == (0, 4)


@pytest.mark.parametrize("name", ["img_1.jpeg", "img_1.JPG", "img_1.JPEG", "été/img 1.Jpg"])
def test_suffix_in_any_spelling(tmp_path: Path, name: str) -> None:
    one = content()
    one["images"][0]["file_name"] = name
    (tmp_path / "images" / name).parent.mkdir(parents=True)
    photo = read(write(tmp_path, annotations=one)).photos[0]
    assert read_image(photo.path, WIDTH, HEIGHT).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("parts", [("train",), ("train", "test"), ("valid", "test"), ("train", "valid", "test")])
def test_split_layout(tmp_path: Path, parts: tuple[str, ...]) -> None:
    dataset = read(write(tmp_path, **{part: shifted(i * 10) for i, part in enumerate(parts)}))
    assert [photo.part for photo in dataset.photos] == [part for part in parts for _ in range(2)]
    assert len({photo.id for photo in dataset.photos}) == 2 * len(parts)


def shifted(by: int) -> dict[str, Any]:
    """The content with other image ids and names; annotation ids are the same, which split files may have."""
    one = content()
    for image in one["images"]:
        image.update(id=image["id"] + by, file_name=f"img_{image['id'] + by}.jpg")
    for box in one["annotations"]:
        box["image_id"] += by
    return one


@pytest.mark.parametrize(
    ("bbox", "edges"),
    [
        pytest.param([-1, -0.5, 10, 10], [0, 0, 9, 9.5], id="left and top"),
        pytest.param([40, 30, 9, 3], [40, 30, 48, 32], id="right and bottom"),
    ],
)
def test_boxes_within_a_pixel_are_clipped(tmp_path: Path, bbox: list[float], edges: list[float]) -> None:
    one = content()
    one["annotations"][0]["bbox"] = bbox
    np.testing.assert_array_equal(read(write(tmp_path, annotations=one)).photos[0].boxes, [edges])


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
    with pytest.raises(DataError, match=r"all 2 boxes have numbers of at most 1, .*: these look like fractions"):
        read(write(tmp_path, annotations=one))


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"images": [],\n "annotations": [}', "broken JSON at line 2, column 18", id="broken"),
        pytest.param("", "broken JSON at line 1, column 1", id="empty file"),
        pytest.param("[]", "got a list at the top, need an object", id="a list"),
        pytest.param('{"images": {}, "categories": []}', "no list images, annotations", id="lists missing"),
        pytest.param('{"images": [], "annotations": [], "categories": []}', "got 0 images, need at least 1", id="no photos"),
        pytest.param(b'{"images": ["\xff\xff"]}', "broken JSON", id="not UTF-8"),
    ],
)
def test_unusable_json(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert message in str(caught.value)


def test_unusable_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root, message in [("file", "a file, need a folder"), ("none", "no such folder"), (".", "no annotations.json and none")]:
        with pytest.raises(DataError, match=message):
            read(tmp_path / root)
    (tmp_path / "annotations.json").write_text("{}")
    with pytest.raises(DataError, match="no folder images/"):
        read(tmp_path)
    (tmp_path / "valid.json").write_text("{}")
    with pytest.raises(DataError, match=r"got both annotations.json and valid.json"):
        read(tmp_path)


def test_split_files_must_not_share_photos(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image 1 \(test.json\): file_name 'img_1.jpg': used more than once"):
        read(write(tmp_path, train=content(), test=content()))


def test_ids_that_two_files_use_are_numbered_anew(tmp_path: Path) -> None:
    other = shifted(10)
    other["images"][0].update(id=1)  # as img_1 of train
    other["annotations"][0].update(image_id=1)
    root = write(tmp_path, train=content(), test=other)
    dataset = read(root)
    assert [(p.id, p.name, p.part) for p in dataset.photos] == [
        (1, "img_1.jpg", "train"), (2, "img_2.jpg", "train"), (3, "img_11.jpg", "test"), (4, "img_12.jpg", "test")]  # fmt: skip
    assert [p.annotation_ids.tolist() for p in dataset.photos] == [[17], [18], [17], [18]]
    assert dataset.notes[0].startswith("photos numbered anew from 1, since files use the same ids: 4 (1 of train.json is 1")
    with pytest.raises(DataError, match="--strict: photos numbered anew"):
        read(root, strict=True)


def test_categories_are_merged_by_name_where_ids_disagree(tmp_path: Path) -> None:
    other = shifted(10)  # of train: 9 tea, 4 without a name
    other["categories"] = [{"id": 4, "name": "tea"}, {"id": 9, "name": "coffee"}]
    dataset = read(write(tmp_path, train=content(), test=other))
    assert [(c.id, c.name) for c in dataset.categories] == [(4, ""), (9, "tea"), (10, "coffee")]
    assert [[dataset.categories[k].name for k in p.labels] for p in dataset.photos] == [["tea"], [""], ["coffee"], ["tea"]]
    assert dataset.notes[0].startswith(
        "categories whose ids differ between files, merged by name: 2 (4 'tea' of test.json is 9"
    )


def test_categories_that_one_file_lacks_are_taken_together(tmp_path: Path) -> None:
    other = shifted(10)
    other["categories"].append({"id": 12, "name": "coffee"})
    dataset = read(write(tmp_path, train=content(), test=other))
    assert [c.id for c in dataset.categories] == [4, 9, 12]
    assert dataset.notes == ("categories that not every file lists, taken together: 1 (12 'coffee' not in train.json)",)


def test_names_that_cannot_tell_which_category_is_meant(tmp_path: Path) -> None:
    other = shifted(10)
    other["categories"] = [{"id": 4, "name": "tea"}, {"id": 9, "name": "tea"}]
    with pytest.raises(DataError, match=r"test.json: 'tea': several categories have this name, and ids differ"):
        read(write(tmp_path, train=content(), test=other))


@pytest.mark.parametrize("there", ["IMG_1.JPG", "img_1.jpeg"])
def test_missing_photo_names_its_near_match(tmp_path: Path, there: str) -> None:
    root = write(tmp_path, annotations=content())
    (root / "images" / "img_1.jpg").rename(root / "images" / there)
    with pytest.raises(DataError, match=rf"image 1 \(annotations.json\): images/img_1.jpg: not found \(there is {there}\)"):
        read(root)


def test_damaged_photos(tmp_path: Path) -> None:
    root = write(tmp_path, annotations=content())
    (root / "images" / "img_1.jpg").write_bytes(b"not a photo")
    whole = (root / "images" / "img_2.jpg").read_bytes()
    (root / "images" / "img_2.jpg").write_bytes(whole[:-40])
    with pytest.raises(DataError) as caught:
        read(root)
    first, second = str(caught.value).splitlines()
    assert "image 1" in first and "img_1.jpg: not a readable photo" in first
    assert "image 2" in second and "img_2.jpg: the photo is cut off" in second


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (HEIGHT, WIDTH)], ids=["as stored", "as shown"])
def test_either_size_of_a_turned_photo_is_accepted(tmp_path: Path, size: tuple[int, int]) -> None:
    one = content()
    one["images"][0].update(width=size[0], height=size[1])
    root = write(tmp_path, annotations=one)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images" / "img_1.jpg", exif=exif)
    photo = read(root).photos[0]
    assert read_image(photo.path, photo.width, photo.height).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("again", ["./img_1.jpg", ".//img_1.jpg"])
def test_two_names_of_one_photo_are_refused(tmp_path: Path, again: str) -> None:
    one = content()
    one["images"][1]["file_name"] = again
    with pytest.raises(DataError, match=rf"file_name '{again}': used more than once"):
        read(write(tmp_path, annotations=one))


@pytest.mark.parametrize(("on_disk", "in_json"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_photo_is_found_whatever_form_its_letters_have(tmp_path: Path, on_disk: str, in_json: str) -> None:
    name, one = "k\u00e4se_1.jpg", content()
    one["images"][0]["file_name"] = unicodedata.normalize(on_disk, name)
    root = write(tmp_path, annotations=one)
    one["images"][0]["file_name"] = unicodedata.normalize(in_json, name)
    (root / "annotations.json").write_text(json.dumps(one))
    dataset = read(root)
    assert dataset.photos[0].path.is_file()
    assert dataset.photos[0].name == name
    (root / "scenes.csv").write_text(f"file_name,scene\n{unicodedata.normalize('NFD', name)},1\n./img_2.jpg,2\n", "utf-8")
    assert from_csv(root / "scenes.csv", dataset).tolist() == [0, 1]
    for folder in root.glob("images/k*"):  # the set moves to another system
        folder.rename(folder.with_name(unicodedata.normalize(in_json, name)))
    save(root / "folds.json", folds_of(dataset))
    assert set(load(root / "folds.json", read(root)).part.values()) == {"train", "test"}


def folds_of(dataset: Dataset) -> Folds:
    """Folds of two photos, each a scene of its own."""
    first, second = (photo.id for photo in dataset.photos)
    part, scene = {first: "train", second: "test"}, {first: 0, second: 1}
    return Folds(Settings("d", "photo", 2, 0), dataset, part, scene, dict(scene))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos (shared/data/snacks) are not on this machine")
def test_real_photos() -> None:
    dataset = read(REAL)
    assert (len(dataset.photos), sum(len(photo.boxes) for photo in dataset.photos), len(dataset.categories)) == (247, 814, 19)
    photo = next(photo for photo in dataset.photos if len(photo.boxes))
    assert read_image(photo.path, photo.width, photo.height).shape == (960, 540, 3)
