"""Every layout holds the same photos, boxes and names; each damage is told in one line."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from experiments.performance.layouts import LAYOUTS, contest
from photos.data import DataError, Dataset, read, read_image
from photos.formats.writing import write
from photos.photo_folder import PhotoFolder
from tests.photos.formats.one_photo import csv_of, yolo_of


def seen(dataset: Dataset) -> dict[bytes, tuple[np.ndarray, list[str]]]:
    """Boxes and names by the photos' pixels; a photo without boxes is left out, as some layouts cannot tell it."""
    return {
        read_image(p.path, p.width, p.height).tobytes(): (p.boxes, [dataset.categories[k].name for k in p.labels])
        for p in dataset.photos
        if len(p.boxes)
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_boxes_and_names_are_the_same(shop: Dataset, tmp_path: Path, name: str) -> None:
    LAYOUTS[name](shop, tmp_path / "set")
    again, original = seen(read(tmp_path / "set")), seen(shop)
    assert len(original) == 5 and again.keys() == original.keys()
    for pixels, (boxes, names) in original.items():
        np.testing.assert_allclose(again[pixels][0], boxes, atol=2e-3)
        assert again[pixels][1] == names


@pytest.mark.parametrize(
    "name", ["COCO, split", "COCO, Roboflow", "COCO 2017", "YOLO", "YOLO, lists and polygons", "Pascal VOC"]
)
def test_parts_are_kept_and_ids_unique(shop: Dataset, tmp_path: Path, name: str) -> None:
    LAYOUTS[name](shop, tmp_path / "set")
    photos = read(tmp_path / "set").photos
    assert [photo.part for photo in photos] == ["train"] * 4 + ["test"] * 2
    assert len({photo.id for photo in photos}) == len({photo.name for photo in photos}) == 6


@pytest.mark.parametrize("name", ["test_shop", "valid", "shop"])
def test_roboflows_single_folder_has_no_part_by_its_own_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    Image.new("RGB", (80, 60)).save(root / "a.jpg")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    lists = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [box], "categories": [{"id": 1, "name": "tea"}]}
    (root / "_annotations.coco.json").write_text(json.dumps(lists))
    assert [photo.part for photo in read(root).photos] == [None]


@pytest.mark.parametrize(
    ("line", "box"),
    [
        pytest.param("0 0.5 0.5 0.25 0.5", [30, 15, 50, 45], id="a box"),
        pytest.param("0 0.25 0.25 0.75 0.5 0.5 0.75", [20, 15, 60, 45], id="a triangle"),
        pytest.param("0.0 1 0.5 0.5 0.5\n\n", [60, 15, 80, 45], id="half outside"),
    ],
)
def test_lines_of_yolo(tmp_path: Path, line: str, box: list[float]) -> None:
    assert read(yolo_of(tmp_path, line)).photos[0].boxes.tolist() == [box]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("0 40 30 20 30", "train/labels/a.txt, line 1: got 40, are these pixels?", id="pixels"),
        pytest.param("0 0.5 0.5 0.5", "line 1: got '0 0.5 0.5 0.5': not a line of class", id="three numbers"),
        pytest.param("0 0.5 0.5 0.5 0.5 0.9", "not a line of class", id="a confidence"),
        pytest.param("tea 0.5 0.5 0.5 0.5", "could not convert string to float: 'tea'", id="a name"),
        pytest.param("3 0.5 0.5 0.5 0.5", "line 1: category_id 3: no category has this id", id="unknown class"),
    ],
)
def test_lines_that_are_not_yolos(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read(yolo_of(tmp_path, line))
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("line", "told"), [("0 0.5 0.5 0.5 0.5 0.9 1", True), ("0 0.25 0.25 0.75 0.5 0.5 0.75", False)])
def test_a_triangle_that_may_be_a_trackers_line_is_told(tmp_path: Path, line: str, told: bool) -> None:
    notes = read(yolo_of(tmp_path, line)).notes
    assert any("lines of six numbers, taken for triangles" in note and "a.txt, line 1" in note for note in notes) == told


def test_yolos_fractions_are_of_the_photo_as_shown(tmp_path: Path) -> None:
    root, exif = yolo_of(tmp_path, "0 0.5 0.25 1 0.5"), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60), "white").save(root / "train" / "images" / "a.jpg", exif=exif)
    photo = read(root).photos[0]
    assert (photo.width, photo.height, photo.boxes.tolist()) == (60, 80, [[0, 0, 60, 40]])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a.jpg,1,2,30,40,tea,80,60\n", id="SKU-110K"),
        pytest.param("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,80,60,tea,1,2,30,40\n", id="TensorFlow"),
        pytest.param("image;x;y;w;h;label\na.jpg;1;2;29;38;tea\n", id="sides, with semicolons"),
        pytest.param("image_id,width,height,source,x,y,w,h,class\na.jpg,80,60,s,1,2,29,38,tea\n", id="sides beside a size"),
        pytest.param("photo,x1,y1,x2,y2,x3,y3,x4,y4,class\na.jpg,3,2,30,4,28,40,1,38,tea\n", id="four corners"),
        pytest.param("photo,product,x0,y0,x1,y1,ignore\na.jpg,tea,1,2,30,40,0\na.jpg,,50,2,70,40,1\n", id="with a region"),
    ],
)
def test_columns_of_tables(tmp_path: Path, text: str) -> None:
    dataset = read(csv_of(tmp_path, text))
    assert dataset.photos[0].boxes.tolist() == [[1, 2, 30, 40]]
    assert [category.name for category in dataset.categories] == ["tea"]
    assert dataset.photos[0].ignored.tolist() == ([[50, 2, 70, 40]] if "ignore" in text else [])


@pytest.mark.parametrize(
    ("mark", "is_region"),
    [(mark, True) for mark in ("1", "1.0", "True", "yes")] + [(mark, False) for mark in ("", "0", "0.0", "FALSE", "no")],
)
def test_marks_of_regions_in_tables(tmp_path: Path, mark: str, is_region: bool) -> None:
    rows = f"a.jpg,tea,1,2,30,40,0\na.jpg,tea,50,2,70,40,{mark}\n"
    (photo,) = read(csv_of(tmp_path, f"photo,product,x0,y0,x1,y1,iscrowd\n{rows}")).photos
    assert (len(photo.boxes), len(photo.ignored)) == ((1, 1) if is_region else (2, 0))


@pytest.mark.parametrize(
    ("marks", "is_region"), [("0,0", False), ("1,0", True), ("0,1", True), ("1,yes", True), (",true", True)]
)
def test_any_of_two_columns_of_marks_makes_a_region(tmp_path: Path, marks: str, is_region: bool) -> None:
    rows = f"a.jpg,tea,1,2,30,40,0,0\na.jpg,tea,50,2,70,40,{marks}\n"
    (photo,) = read(csv_of(tmp_path, f"photo,product,x0,y0,x1,y1,ignore,iscrowd\n{rows}")).photos
    assert (len(photo.boxes), len(photo.ignored)) == ((1, 1) if is_region else (2, 0))


@pytest.mark.parametrize("mark", ["x", "2", "nan", "crowd"])
def test_a_mark_that_says_neither_is_no_product(tmp_path: Path, mark: str) -> None:
    rows = f"a.jpg,tea,1,2,30,40,0\na.jpg,tea,50,2,70,40,{mark}\n"
    with pytest.raises(DataError, match=f"^line 3 .boxes.csv.: got '{mark}' as mark of a region, need 1, true or yes"):
        read(csv_of(tmp_path, f"photo,product,x0,y0,x1,y1,iscrowd\n{rows}"))


def test_of_numbers_and_names_of_classes_the_names_are_taken_and_that_is_told(tmp_path: Path) -> None:
    dataset = read(csv_of(tmp_path, "filename,class,class_name,xmin,ymin,xmax,ymax\na.jpg,3,tea,1,2,30,40\n"))
    assert [category.name for category in dataset.categories] == ["tea"]
    assert any("several columns of names: class_name is taken, not class: 1 (boxes.csv)" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("header", "values", "taken"),
    [
        pytest.param("name,category_name", "Cola 0.5,Drinks", "Cola 0.5", id="a category is a group"),
        pytest.param("category_name,label", "Drinks,Cola 0.5", "Cola 0.5", id="likewise"),
        pytest.param("category,category_name", "3,tea", "tea", id="a number and its name"),
        pytest.param("class,category_name", "3,tea", "tea", id="a number and a name of another kind"),
    ],
)
def test_the_column_of_products_goes_before_that_of_their_groups(tmp_path: Path, header: str, values: str, taken: str) -> None:
    dataset = read(csv_of(tmp_path, f"photo,{header},x0,y0,x1,y1\na.jpg,{values},1,2,30,40\n"))
    assert [category.name for category in dataset.categories] == [taken]


def set_in_a_folder(root: Path) -> None:
    (root / "mine").mkdir(parents=True)
    csv_of(root / "mine", "a.jpg,1,2,30,40,tea,80,60\n")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(lambda root: root.mkdir(), "an empty folder, need a data set", id="empty"),
        pytest.param(lambda root: csv_of_photos(root), "1 photo and no annotations.json or other labels", id="photos alone"),
        pytest.param(set_in_a_folder, "set/mine below it holds one: pass that; known are", id="a folder up"),
    ],
)
def test_folders_without_labels(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    make(tmp_path / "set")
    with pytest.raises(DataError, match=told):
        read(tmp_path / "set")


def test_no_folder_below_is_named_where_none_holds_a_set(tmp_path: Path) -> None:
    (tmp_path / "set" / "other").mkdir(parents=True)
    with pytest.raises(DataError) as error:
        read(tmp_path / "set")
    assert "below it" not in str(error.value)


@pytest.mark.parametrize("link", ["images/shop/set", "images/deep/back"])
def test_a_ring_of_links_ends(tmp_path: Path, link: str) -> None:
    """Through a folder beside the set, or back into the folder that the link lies in."""
    root = tmp_path / "D"
    for folder in (tmp_path / "E", root / "images" / "deep"):
        folder.mkdir(parents=True)
    (root / "boxes.csv").write_text("photo,x0,y0,x1,y1\nshop/1.jpg,1,2,30,40\n")
    Image.new("RGB", (80, 60)).save(tmp_path / "E" / "1.jpg")
    (root / "images" / "shop").symlink_to(tmp_path / "E")
    (root / link).symlink_to(root if "shop" in link else (root / link).parent)
    (photo,) = read(root).photos
    assert photo.name == "shop/1.jpg"
    assert len(PhotoFolder(root / "images").paths) == 1  # what is walked forty times over is seen nowhere else


def csv_of_photos(root: Path) -> None:
    root.mkdir()
    Image.new("RGB", (80, 60)).save(root / "a.png")


def test_two_photos_of_one_name_need_their_folder(shop: Dataset, tmp_path: Path) -> None:
    contest(shop, tmp_path)
    for folder in ("a", "b"):
        (tmp_path / "images" / folder).mkdir()
        (tmp_path / "images" / folder / "img_1.jpg").write_bytes((tmp_path / "images" / "img_1.jpg").read_bytes())
    (tmp_path / "images" / "img_1.jpg").unlink()
    with pytest.raises(DataError, match=r"lies in 2 folders \(a/img_1.jpg, b/img_1.jpg\), need its folder in the name"):
        read(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(80, 60), (60, 60)], ids=["landscape", "square"])
def test_a_box_of_yolo_lies_on_what_it_was_drawn_around_however_exif_turns_the_photo(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    """A black block is drawn where a viewer shows the top left corner of the photo, and its labels go there and back."""
    root, exif = yolo_of(tmp_path / "a", "0 0.125 0.25 0.25 0.5"), Image.Exif()
    exif[0x0112] = orientation
    shown = Image.new("RGB", size if orientation < 5 else size[::-1], "white")
    shown.paste("black", (0, 0, shown.width // 4, shown.height // 2))
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    other = Image.Exif()
    other[0x0112] = undo
    buffer = BytesIO()
    shown.save(buffer, "PNG", exif=other)
    stored = ImageOps.exif_transpose(Image.open(buffer))
    stored.save(root / "train" / "images" / "a.jpg", exif=exif, quality=95)
    dataset = read(root)
    for again in (dataset, read(write(dataset, "yolo", tmp_path / "b") and tmp_path / "b")):
        (photo,) = again.photos
        x0, y0, x1, y1 = photo.boxes[0].round().astype(int)
        pixels = read_image(photo.path, photo.width, photo.height)
        assert pixels[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].max() < 40 and (pixels < 128).all(2).mean() == pytest.approx(
            1 / 8, abs=0.02
        )


def test_cvats_own_xml_is_no_pascal_voc(tmp_path: Path) -> None:
    csv_of(tmp_path, "photo,x0,y0,x1,y1\na.jpg,1,2,30,40\n")
    (tmp_path / "annotations.xml").write_text("<?xml version='1.0'?>\n<annotations>\n<version>1.1</version></annotations>")
    assert read(tmp_path).layout.startswith("CSV")


def test_an_empty_line_among_yolos_names_is_a_class(tmp_path: Path) -> None:
    root = yolo_of(tmp_path, "2 0.5 0.5 0.5 0.5")
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cola\n\nfanta\nmilk\n\n")
    dataset = read(root)
    assert [dataset.categories[k].name for k in dataset.photos[0].labels] == ["fanta"] and len(dataset.categories) == 4


@pytest.mark.parametrize("place", ["shop/images", "images/shop", "images"])
@pytest.mark.parametrize("photos", ["images", "images/train", "."])
def test_yolos_labels_are_found_in_a_set_below_a_folder_of_images(tmp_path: Path, place: str, photos: str) -> None:
    root = tmp_path / place
    labels = root / photos.replace("images", "labels")
    for folder in (root / photos, labels):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 50)).save(root / photos / "a.jpg")
    (labels / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "classes.txt").write_text("tea\n")
    assert read(root).photos[0].boxes.tolist() == [[25, 12.5, 75, 37.5]]
    copy = tmp_path / "copies" / "images" / "copy"
    copy.parent.mkdir(parents=True)
    write(read(root), "yolo", copy)
    assert read(copy).photos[0].boxes.size == 4


def test_a_header_in_the_order_of_sku_110k_is_a_header(tmp_path: Path) -> None:
    header = "filename,xmin,ymin,xmax,ymax,class,width,height\n"
    (photo,) = read(csv_of(tmp_path, header + "a.jpg,1,2,30,40,tea,80,60\n")).photos
    assert photo.boxes.tolist() == [[1, 2, 30, 40]]
