"""A set written in another layout is the same set: read again by us and by public readers; what is lost is told."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools.coco import COCO

from photos.data import Category, Dataset, Photo, read, read_image
from photos.exif import as_shown
from photos.formats.writing import FORMATS, write

PX = 1e-3  # the most that a box may move
SIZE = 96, 64
NAMES = ("TE 20POS", 'kaffe, malt & "æøå" <1>', "Müsli\u00a0500 g", "no", "1.50")


def photo(folder: Path, i: int, part: str | None, boxes: int, name: str = "") -> Photo:
    """A photo of noise with random boxes, and one region to ignore on every fourth."""
    rng = np.random.default_rng(i)
    name = name or f"img_{i:05d}.jpg"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)).save(path)
    corner, sides = rng.uniform(0, 40, (boxes, 2)), rng.uniform(0.3, 24, (boxes, 2))
    xyxy = np.concatenate([corner, corner + sides], 1).astype(np.float32)  # (N, 4)
    labels, ids = rng.integers(0, 4, boxes), 100 * i + np.arange(boxes)
    ignored = np.float32([[1, 2, 30.5, 40]]) if i % 4 == 3 else np.zeros((0, 4), np.float32)
    return Photo(i, path, *SIZE, xyxy, labels, ids, part, name, ignored)


def dataset(root: Path, parts: tuple[str | None, ...] = ("train", "valid", "test"), names: tuple[str, ...] = NAMES) -> Dataset:
    """Two photos of each part, one of them with a box on the photo's edge, and a photo without boxes; ids have gaps."""
    photos = [photo(root / "images", 2 * k + i + 1, part, 6) for k, part in enumerate(parts) for i in range(2)]
    photos[0].boxes[0] = 0, 0, *SIZE
    photos.insert(1, photo(root / "images", 40, parts[0], 0))
    return Dataset(root, tuple(Category(3 * i + 2, name) for i, name in enumerate(names)), tuple(photos))


def by_name(these: Dataset) -> dict[str, Photo]:
    """The photos by base name; no two of these sets have the same."""
    return {Path(photo.name).name: photo for photo in these.photos}


def boxes_of(these: Dataset, of: Photo) -> list[tuple[str, list[float]]]:
    """Names and boxes, in the order of their places."""
    rows = [(these.categories[label].name, box.tolist()) for label, box in zip(of.labels, of.boxes, strict=True)]
    return sorted(rows, key=lambda row: row[1])


def assert_same(before: Dataset, after: Dataset) -> None:
    """The same photos in the same parts with the same boxes and names."""
    a, b = by_name(before), by_name(after)
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].part, a[name].width, a[name].height) == (b[name].part, b[name].width, b[name].height)
        own, other = boxes_of(before, a[name]), boxes_of(after, b[name])
        assert [row[0] for row in own] == [row[0] for row in other]
        np.testing.assert_allclose([row[1] for row in own], [row[1] for row in other], rtol=0, atol=PX)


@pytest.mark.parametrize("name", FORMATS)
def test_a_set_without_products_and_boxes_is_written(name: str, tmp_path: Path) -> None:
    bare = Dataset(tmp_path / "D", (), (photo(tmp_path / "D" / "images", 1, "train", 0),))
    assert write(bare, name, tmp_path / "OUT")[0].endswith(f"{name}, 1 photo (linked), 0 boxes")


@pytest.mark.parametrize("name", FORMATS)
def test_read_again_it_is_the_same_set(name: str, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D")
    write(before, name, tmp_path / "OUT")
    assert_same(before, read(tmp_path / "OUT"))


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"yolo"}))
def test_a_set_without_parts_has_none_afterwards(name: str, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", (None,))
    write(before, name, tmp_path / "OUT")
    assert_same(before, read(tmp_path / "OUT"))


def test_yolo_has_no_photos_without_a_part(tmp_path: Path) -> None:
    lines = write(dataset(tmp_path / "D", (None,)), "yolo", tmp_path / "OUT")
    assert "yolo: 3 photos of no part written as train" in lines
    assert {photo.part for photo in read(tmp_path / "OUT").photos} == {"train"}


@pytest.mark.parametrize("name", ["coco", "csv"])
def test_regions_to_ignore_are_kept(name: str, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D")
    assert not [line for line in write(before, name, tmp_path / "OUT") if "to ignore" in line]
    after = by_name(read(tmp_path / "OUT"))
    assert sum(len(photo.ignored) for photo in before.photos) == 1
    for key, photo in by_name(before).items():
        np.testing.assert_allclose(after[key].ignored, photo.ignored, rtol=0, atol=PX)


@pytest.mark.parametrize("name", ["yolo", "voc"])
def test_regions_to_ignore_that_are_lost_are_told(name: str, tmp_path: Path) -> None:
    lines = write(dataset(tmp_path / "D"), name, tmp_path / "OUT")
    assert f"{name}: 1 regions to ignore are left out; only coco and csv hold them" in lines


def test_coco_keeps_every_id(tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", ("valid",))
    write(before, "coco", tmp_path / "OUT")
    assert before.categories == read(tmp_path / "OUT").categories
    oracle = COCO(str(tmp_path / "OUT" / "valid.json"))
    for photo in before.photos:
        rows = oracle.loadAnns(oracle.getAnnIds(photo.id, iscrowd=False))
        assert [row["id"] for row in rows] == photo.annotation_ids.tolist()
        edges = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in rows)]
        np.testing.assert_allclose(np.reshape(edges, (-1, 4)), photo.boxes, rtol=0, atol=PX)


def test_yolo_is_what_supervision_reads(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    before, out = dataset(tmp_path / "D"), tmp_path / "OUT"
    write(before, "yolo", out)
    oracle = supervision.DetectionDataset.from_yolo(
        str(out / "images/train"), str(out / "labels/train"), str(out / "data.yaml")
    )
    assert_read_by_supervision(before, oracle)


def test_voc_is_what_supervision_reads(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    before, out = dataset(tmp_path / "D", (None,)), tmp_path / "OUT"
    write(before, "voc", out)
    assert_read_by_supervision(
        before, supervision.DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    )


def assert_read_by_supervision(before: Dataset, oracle: object) -> None:
    """Its boxes and names are ours, of photos of the part train or of none."""
    photos = {name: photo for name, photo in by_name(before).items() if photo.part in ("train", None)}
    read_by_it = {Path(path).name: detections for path, _, detections in oracle}
    assert read_by_it.keys() == photos.keys()
    for name, detections in read_by_it.items():
        rows = [(oracle.classes[i], box.tolist()) for i, box in zip(detections.class_id, detections.xyxy, strict=True)]
        own = boxes_of(before, photos[name])
        rows.sort(key=lambda row: row[1])
        assert [row[0] for row in rows] == [row[0] for row in own]
        np.testing.assert_allclose(np.reshape([r[1] for r in rows], (-1, 4)), np.reshape([r[1] for r in own], (-1, 4)), atol=PX)


def test_csv_has_the_columns_of_sku_110k(tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", (None,), ("a", "b", "c", "d"))
    write(Dataset(before.root, before.categories, before.photos[:2]), "csv", tmp_path / "OUT")
    with (tmp_path / "OUT" / "annotations.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image_name", "x1", "y1", "x2", "y2", "class", "image_width", "image_height"]
    assert rows[0] == ["img_00001.jpg", "0", "0", "96", "64", "abcd"[before.photos[0].labels[0]], "96", "64"]
    assert rows[-1] == ["img_00040.jpg", "", "", "", "", "", "96", "64"]


@pytest.mark.parametrize("name", ["voc", "csv"])
def test_products_that_only_their_ids_tell_apart_get_other_names(name: str, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", ("train",), ("te", "te", "", "kaffe"))
    lines = write(before, name, tmp_path / "OUT")
    assert any("2 products get another name, to be told apart (the first is 5: 'te', now 'te (5)')" in line for line in lines)
    named = Dataset(
        before.root, tuple(Category(i, n) for i, n in enumerate(("te", "te (5)", "product 8", "kaffe"))), before.photos
    )
    assert_same(named, read(tmp_path / "OUT"))


@pytest.mark.parametrize("name", ["coco", "yolo", "csv"])
def test_names_keep_what_yaml_takes_for_the_end_of_a_line(name: str, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", ("train",), ("te\x85a", "ø\u2028b", "c\u2029", "d"))
    write(before, name, tmp_path / "OUT")
    assert {c.name for c in read(tmp_path / "OUT").categories} >= {"te\x85a", "ø\u2028b"}


@pytest.mark.parametrize("name", ["coco", "yolo", "voc", "csv"])
def test_a_photo_whose_name_begins_with_a_space_is_read_again(name: str, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", ("train",), ("a", "b", "c", "d"))
    first = before.photos[0]
    moved = replace(first, path=first.path.rename(first.path.with_name(f" {first.path.name}")), name=f" {first.name}")
    write(replace(before, photos=(moved, *before.photos[1:])), name, tmp_path / "OUT")
    assert any(photo.path.name.startswith(" ") for photo in read(tmp_path / "OUT").photos)


def test_a_name_that_xml_cannot_hold_is_told(tmp_path: Path) -> None:
    lines = write(dataset(tmp_path / "D", ("train",), ("te\x00\x0b", "a", "b", "c")), "voc", tmp_path / "OUT")
    assert "voc: 1 names with characters that XML cannot hold have ? for them (the first is 'te\\x00\\x0b')" in lines
    assert "te??" in {category.name for category in read(tmp_path / "OUT").categories}


@pytest.mark.parametrize(("name", "renamed"), [("coco", False), ("csv", False), ("yolo", True), ("voc", True)])
def test_photos_of_one_name_in_two_folders_stay_two(name: str, renamed: bool, tmp_path: Path) -> None:
    photos = [
        photo(tmp_path / "D", i, "train", 3 + i, n) for i, n in enumerate(("images/a/1.jpg", "images/b/1.png", "x/2.jpg"))
    ]
    lines = write(Dataset(tmp_path / "D", tuple(Category(i, str(i)) for i in range(4)), tuple(photos)), name, tmp_path / "OUT")
    assert any("photos get another name" in line for line in lines) == renamed
    after = read(tmp_path / "OUT")
    assert sorted(len(photo.boxes) for photo in after.photos) == [3, 4, 5]
    assert {photo.path.read_bytes() for photo in after.photos} == {photo.path.read_bytes() for photo in photos}


@pytest.mark.parametrize("orientation", range(2, 9))
def test_yolo_means_the_photo_as_it_is_shown(orientation: int, tmp_path: Path) -> None:
    """A white pack on black, labelled on the stored pixels: read again, or by anybody who obeys EXIF, it is in its box."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[8:20, 48:80] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "D").mkdir()
    Image.fromarray(image).save(tmp_path / "D" / "1.png", exif=exif)
    box = np.float32([[48, 8, 80, 20]])
    one = Photo(1, tmp_path / "D" / "1.png", 96, 64, box, np.zeros(1, np.int64), np.ones(1, np.int64), "train", "1.png")
    lines = write(Dataset(tmp_path / "D", (Category(1, "a"),), (one,)), "yolo", tmp_path / "OUT")
    assert any("1 photo are turned by EXIF" in line for line in lines)
    shown = as_shown(one)
    words = (tmp_path / "OUT" / "labels" / "train" / "1.txt").read_text().split()
    sizes = np.array([shown.width, shown.height] * 2)
    np.testing.assert_allclose(np.array(words[1:], float) * sizes, to_cxcywh(shown.boxes[0]), atol=PX)
    pixels = np.asarray(ImageOps.exif_transpose(Image.open(one.path)))
    assert pixels.shape[:2] == (shown.height, shown.width)
    x0, y0, x1, y1 = shown.boxes[0].astype(int)
    assert pixels[y0:y1, x0:x1].min() == 255 and (pixels == 255).sum() == 3 * (x1 - x0) * (y1 - y0)
    (again,) = read(tmp_path / "OUT").photos
    pixels, (x0, y0, x1, y1) = read_image(again.path, again.width, again.height), again.boxes[0].round().astype(int)
    assert pixels[y0:y1, x0:x1].min() == 255 and (x1 - x0) * (y1 - y0) == 32 * 12


def to_cxcywh(box: np.ndarray) -> list[float]:
    x0, y0, x1, y1 = box.tolist()
    return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]


@pytest.mark.parametrize("copy", [False, True], ids=["linked", "copied"])
def test_photos_are_links_unless_copies_are_asked_for(copy: bool, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", ("train",))
    assert ("copied" if copy else "linked") in write(before, "coco", tmp_path / "OUT", copy)[0]
    place = tmp_path / "OUT" / "images" / "img_00001.jpg"
    assert place.is_symlink() != copy and place.read_bytes() == before.photos[0].path.read_bytes()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        pytest.param(lambda out: (out.mkdir(), (out / "x").touch()), "OUT: not empty, need a new", id="not empty"),
        pytest.param(lambda out: out.touch(), "OUT: a file, need a new", id="a file"),
        pytest.param(lambda out: out.with_name("OUT.part").mkdir(), "OUT.part: left by a call that was stopped", id="stopped"),
    ],
)
def test_what_is_there_is_not_overwritten(prepare: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    prepare(tmp_path / "OUT")
    with pytest.raises(ValueError, match=said):
        write(dataset(tmp_path / "D"), "coco", tmp_path / "OUT")


def test_the_new_folder_lies_outside_the_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lies in the data set"):
        write(dataset(tmp_path / "D"), "coco", tmp_path / "D" / "OUT")


def test_a_photo_that_is_gone_leaves_nothing_half_written(tmp_path: Path) -> None:
    before = dataset(tmp_path / "D")
    before.photos[-1].path.unlink()
    with pytest.raises(FileNotFoundError):
        write(before, "coco", tmp_path / "OUT", copy=True)
    assert [path.name for path in tmp_path.iterdir()] == ["D"]


def test_coco_is_strict_json(tmp_path: Path) -> None:
    write(dataset(tmp_path / "D"), "coco", tmp_path / "OUT")
    content = json.loads((tmp_path / "OUT" / "train.json").read_text())
    assert {tuple(sorted(image)) for image in content["images"]} == {("file_name", "height", "id", "width")}
