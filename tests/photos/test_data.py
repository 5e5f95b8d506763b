"""Reading a labelled set: both layouts, ids and categories of several files, missing, turned and damaged photos."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_set import HEIGHT, WIDTH, content, write
from PIL import Image

from photos.data import DataError, Dataset, read, read_image
from photos.folds import Folds, Settings, load, save
from photos.scenes import from_csv

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "snacks"


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"images": [],\n "annotations": [}', "broken JSON at line 2, column 18", id="broken"),
        pytest.param("", "broken JSON at line 1, column 1", id="empty file"),
        pytest.param("[]", "got a list at the top, need an object", id="a list"),
        pytest.param('{"images": {}, "categories": []}', "no list images, annotations", id="lists missing"),
        pytest.param('{"images": [], "annotations": [], "categories": []}', "got 0 images, need at least 1", id="no photos"),
        pytest.param(b'{"images": ["\xff\xff"]}', "not UTF-8; save it as UTF-8", id="not UTF-8"),
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


def test_categories_of_one_name_stay_apart_and_are_told(tmp_path: Path) -> None:
    values = content()  # 9 tea, 4 without a name
    values["categories"] += [{"id": 12, "name": "tea"}, {"id": 13, "name": ""}, {"id": 14, "name": "Tea"}]
    root = write(tmp_path, annotations=values)
    assert [c.id for c in read(root).categories] == [4, 9, 12, 13, 14]
    assert read(root).notes == ("categories of the same name as another, kept apart by their ids: 1 (12 'tea' as 9)",)
    assert read(root, strict=True).notes == read(root).notes


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
