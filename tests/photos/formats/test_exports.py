"""What labelling tools and people leave in a data set is read as they mean it, or told; nothing is passed over in silence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photos.data import DataError, read
from tests.photos.formats.one_photo import TEA, coco_of, csv_of, voc_file, yolo_of


@pytest.mark.parametrize(
    ("angle", "box"),
    [
        (90, [25, 10, 35, 40]),
        (0, [15, 20, 45, 30]),
        (360.0, [15, 20, 45, 30]),
        (180, [15, 20, 45, 30]),
        (-45, [15.858, 10.858, 44.142, 39.142]),
    ],
)
def test_of_a_turned_box_the_box_around_it_is_taken(tmp_path: Path, angle: float, box: list[float]) -> None:
    coco = {"category_id": 1, "bbox": [15, 20, 30, 10], "attributes": {"occluded": False, "rotation": angle}}
    rest = f"<attributes><attribute><name>rotation</name><value>{angle}</value></attribute></attributes>"
    for root in (coco_of(tmp_path / "coco", coco, TEA), voc_file(tmp_path / "voc", "16 21 45 30", rest)):
        dataset = read(root)
        np.testing.assert_allclose(dataset.photos[0].boxes, [box], atol=1e-3)
        assert any(note.startswith("turned boxes, of which") for note in dataset.notes) == (angle % 180 != 0)


@pytest.mark.parametrize(("encoding", "name"), [("utf-16", "a.xml"), ("utf-8", "a.XML"), ("iso-8859-1", "a.xml")])
def test_voc_in_any_encoding_that_its_first_line_says(tmp_path: Path, encoding: str, name: str) -> None:
    (category,) = read(voc_file(tmp_path, "16 21 45 30", "", encoding, name)).categories
    assert category.name == "brød"


@pytest.mark.parametrize(
    ("tag", "prefix"),
    [
        pytest.param('<annotation xmlns="https://a.b/c">', "", id="for all"),
        pytest.param('<v:annotation xmlns:v="https://a.b/c">', "v:", id="with a prefix"),
    ],
)
def test_voc_in_a_namespace(tmp_path: Path, tag: str, prefix: str) -> None:
    path = voc_file(tmp_path, "16 21 45 30") / "Annotations" / "a.xml"
    head, body = path.read_text().split("<annotation>")
    body = body.replace("</", "</\0").replace("<", f"<{prefix}").replace(f"<{prefix}/\0", f"</{prefix}")
    path.write_text(head + tag + body)
    (photo,) = read(tmp_path).photos
    assert photo.boxes.tolist() == [[15, 20, 45, 30]] and read(tmp_path).categories[0].name == "brød"


def test_voc_in_an_encoding_that_nothing_says_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(voc_file(tmp_path, "16 21 45 30", "", "cp1252"))
    assert "save it as UTF-8" in str(caught.value) and "\n" not in str(caught.value)


def test_xml_files_behind_a_link_are_read_once(tmp_path: Path) -> None:
    root = voc_file(tmp_path / "set", "16 21 45 30")
    (root / "xml").symlink_to(root / "Annotations")
    assert len(read(root).photos) == 1
    (root / "xml").unlink()
    (root / "Annotations").rename(tmp_path / "elsewhere")
    (root / "Annotations").symlink_to(tmp_path / "elsewhere")
    assert len(read(root).photos) == 1


def test_a_set_of_regions_to_ignore_alone_has_no_boxes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"annotations.json: got 0 boxes, need at least 1"):
        read(coco_of(tmp_path, {"category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1}, []))


@pytest.mark.parametrize("name", ["test_results.json", "val_metrics.json"])
def test_what_a_training_reached_is_no_part(tmp_path: Path, name: str) -> None:
    coco = coco_of(tmp_path / "coco", {"category_id": 1, "bbox": [1, 2, 3, 4]}, TEA)
    for root in (coco, yolo_of(tmp_path / "yolo", "0 0.5 0.5 0.5 0.5")):
        (root / name).write_text('{"map": 0.5}')
    assert any(f"JSON files of no boxes, not read: 1 ({name})" in note for note in read(coco).notes)
    assert read(tmp_path / "yolo").layout.startswith("YOLO")
    (tmp_path / "yolo" / "test_1.json").write_text('{"images": []')
    with pytest.raises(DataError, match=r"test_1.json: broken JSON"):
        read(tmp_path / "yolo")


def test_photos_that_are_there_twice_are_not_said_to_be_nowhere(tmp_path: Path) -> None:
    root = coco_of(tmp_path, {"category_id": 1, "bbox": [1, 2, 3, 4]}, TEA)
    for folder in ("x", "y"):
        (root / "images" / folder).mkdir()
        (root / "images" / folder / "a.jpg").write_bytes((root / "images" / "a.jpg").read_bytes())
    (root / "images" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"lies in 2 folders \(x/a.jpg, y/a.jpg\), need its folder in the name$"):
        read(root)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_in_another_encoding_is_refused_and_what_is_no_table_is_not(tmp_path: Path, encoding: str) -> None:
    root = csv_of(tmp_path, "a.jpg,1,2,30,40,tea,80,60\n")
    (root / "prices.csv").write_text("vare;pris\nbrød;30\n", encoding)
    assert any("no tables of boxes, not read: 1 (prices.csv)" in note for note in read(root).notes)
    (root / "test.csv").write_text("photo;x;y;w;h;product\na.jpg;1;2;3;4;brød\n", encoding)
    with pytest.raises(DataError, match=r"test.csv: not UTF-8; save it as UTF-8$"):
        read(root)


def test_a_photo_whose_name_has_outer_spaces_is_found_in_a_table(tmp_path: Path) -> None:
    root = csv_of(tmp_path, "photo, x0, y0, x1, y1\n lead.jpg, 1, 2, 30, 40\n a.jpg, 1, 2, 30, 40\n")
    (root / " lead.jpg").write_bytes((root / "a.jpg").read_bytes())
    assert [photo.name for photo in read(root).photos] == [" lead.jpg", "a.jpg"]


LINE = "0 0.5 0.5 0.25 0.5"
BOX = [[30, 15, 50, 45]]


def flat_yolo(root: Path, photo: str, label: str, names: str = "classes.txt", kind: str = "JPEG") -> Path:
    """A YOLO set of one photo without data.yaml, its files where they are told to be."""
    for name in (photo, label, names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 60)).save(root / photo, kind)
    (root / label).write_text(LINE)
    (root / names).write_text("tea\n")
    return root


@pytest.mark.parametrize(
    ("photo", "label", "names"),
    [
        pytest.param("images/a.jpg", "labels/a.txt", "labels/classes.txt", id="labelImg"),
        pytest.param("images/a.jpg", "images/a.txt", "classes.txt", id="beside the photo in images"),
        pytest.param("images/a.jpg", "images/a.txt", "images/classes.txt", id="all in images"),
        pytest.param("Images/a.jpg", "Labels/a.txt", "classes.txt", id="with capitals"),
        pytest.param("images/Images/a.jpg", "labels/Images/a.txt", "classes.txt", id="both"),
    ],
)
def test_where_yolos_labels_lie(tmp_path: Path, photo: str, label: str, names: str) -> None:
    dataset = read(flat_yolo(tmp_path, photo, label, names))
    assert [one.boxes.tolist() for one in dataset.photos] == [BOX] and not dataset.notes


@pytest.mark.parametrize("name", ["a.jfif", "a.JPE", "a"])
def test_labelled_photos_of_yolo_are_known_by_content(tmp_path: Path, name: str) -> None:
    root = flat_yolo(tmp_path, f"images/{name}", "labels/a.txt")
    (root / "images" / "a.json").write_text("{}")
    (root / "images" / "unlabelled.jfif").write_bytes((root / "images" / name).read_bytes())
    assert [photo.name for photo in read(root).photos] == [f"images/{name}"]


def test_a_labelled_heic_photo_of_yolo_is_refused_but_where_another_photo_has_its_labels(tmp_path: Path) -> None:
    root = flat_yolo(tmp_path, "images/a.jpg", "labels/a.txt")
    (root / "images" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    assert len(read(root).photos) == 1
    (root / "labels" / "b.txt").write_text(LINE)
    (root / "images" / "a.heic").rename(root / "images" / "b.heic")
    with pytest.raises(DataError, match=r"b.heic: not a readable photo \(got a HEIC or AVIF photo"):
        read(root)


def test_label_files_of_yolo_without_a_photo_are_counted(tmp_path: Path) -> None:
    root = flat_yolo(tmp_path, "images/a.jpg", "labels/a.txt")
    for name in ("b.txt", "shop/c.txt", "train.txt", "obj.names.txt"):
        (root / "labels" / name).parent.mkdir(exist_ok=True)
        (root / "labels" / name).write_text(LINE if name in ("b.txt", "shop/c.txt") else "images/a.jpg")
    assert "label files without a photo, not read: 2 (labels/b.txt, labels/shop/c.txt)" in read(root).notes
    with pytest.raises(DataError, match="label files without a photo"):
        read(root, strict=True)


def test_labels_of_a_photo_that_no_part_names_are_not_told_as_well(tmp_path: Path) -> None:
    root = yaml_of(tmp_path, "train: train.txt\nnames: [tea]\n")
    (root / "train.txt").write_text("train/images/a.jpg\n")
    (root / "train" / "images" / "b.jpg").write_bytes((root / "train" / "images" / "a.jpg").read_bytes())
    (root / "train" / "labels" / "b.txt").write_text(LINE)
    assert read(root).notes == ("photos in the folder that the labels do not list, not read: 1 (train/images/b.jpg)",)


def test_two_photos_of_one_label_file_are_refused(tmp_path: Path) -> None:
    root = flat_yolo(tmp_path, "images/a.jpg", "labels/a.txt")
    (root / "images" / "a.png").write_bytes((root / "images" / "a.jpg").read_bytes())
    with pytest.raises(DataError, match=r"^labels/a.txt: images/a.jpg and images/a.png: labels of two photos; rename one"):
        read(root)


def test_photos_of_yolo_behind_a_link_are_read_once(tmp_path: Path) -> None:
    root = flat_yolo(tmp_path / "set", "images/shop/a.jpg", "labels/shop/a.txt")
    (root / "images" / "again").symlink_to(root / "images" / "shop")
    assert [photo.name for photo in read(root).photos] == ["images/shop/a.jpg"]
    (root / "images" / "again").unlink()
    (root / "images" / "shop").rename(tmp_path / "elsewhere")
    (root / "images" / "shop").symlink_to(tmp_path / "elsewhere")
    (root / "images" / "back").symlink_to(root)
    assert [photo.boxes.tolist() for photo in read(root).photos] == [BOX]


def yaml_of(root: Path, text: str) -> Path:
    """A YOLO set whose photo lies in train/images, with another data.yaml."""
    yolo_of(root, LINE)
    (root / "data.yaml").write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("train: ../train/images\nval: ../valid/images", "valid: ../valid/images", id="Roboflow's"),
        pytest.param("train: /x/shop/train/images\nval: /x/shop/valid/images", "valid: /x/shop/valid/images", id="moved"),
        pytest.param("path: ../shop\ntrain: train/images\nval: valid/images", "valid: ../shop/valid/images", id="with path"),
        pytest.param("train: [train/images, more/images]", "train: more/images", id="one of two"),
        pytest.param("train: shop/train/images\nval: val.txt", "valid: val.txt", id="a list"),
    ],
)
def test_what_is_missing_of_yolos_parts_is_told_and_nothing_else_taken_for_it(tmp_path: Path, text: str, told: str) -> None:
    """The photos in images/ have no labels: they are not meant by valid/images."""
    root = yaml_of(tmp_path, f"{text}\nnames: [tea]\n")
    (root / "images").mkdir()
    Image.new("RGB", (80, 60)).save(root / "images" / "raw.jpg")
    dataset = read(root)
    assert [(photo.name, photo.part) for photo in dataset.photos] == [("train/images/a.jpg", "train")]
    assert f"entries without photos where they say, left out: 1 ({told})" in dataset.notes


def test_a_part_alone_is_not_looked_for_in_another_folder(tmp_path: Path) -> None:
    root = yaml_of(tmp_path, "train: ../valid/images\nnames: [tea]\n")
    (root / "train").rename(root / "other")
    (root / "images").mkdir()
    Image.new("RGB", (80, 60)).save(root / "images" / "raw.jpg")
    with pytest.raises(DataError, match=r"data.yaml: no photos where it says they are \(../valid/images\)"):
        read(root)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "train: [{a: b}]\nnames: [tea]", r"train: got \[{'a': 'b'}\], need a folder, a list", id="an object in a list"
        ),
        pytest.param("train: {a: b}\nnames: [tea]", r"train: got {'a': 'b'}, need a folder, a list", id="an object"),
        pytest.param("path: [a]\ntrain: x\nnames: [tea]", r"path: got \['a'\], need a folder", id="several paths"),
        pytest.param(
            "train: x\nnames: [tea, [a]]", r"names: got \['tea', \['a'\]\], need a list of names", id="a list as a name"
        ),
        pytest.param("train: x\nnames: {0: {a: b}}", "need a list of names, or class: name", id="an object as a name"),
        pytest.param("train: x\nnames: {1_0: tea}", "need a list of names, or class: name", id="a grouped number as a class"),
        pytest.param("train: x\nnames: {0.5: tea}", "need a list of names, or class: name", id="half a class"),
    ],
)
def test_entries_of_data_yaml_that_are_no_text(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=rf"data.yaml: .*{told}"):
        read(yaml_of(tmp_path, text))


@pytest.mark.parametrize("values", [" 0.1 0.1 1.0 0.9 0.9 2.0", " 0.1 0.1 0.9 0.9", ""])
def test_of_a_line_with_keypoints_the_box_is_taken(tmp_path: Path, values: str) -> None:
    root = yaml_of(tmp_path, "train: train/images\nkpt_shape: [2, 3]\nnames: [tea]\n")
    (root / "train" / "labels" / "a.txt").write_text(LINE + values)
    assert read(root).photos[0].boxes.tolist() == BOX


@pytest.mark.parametrize("name", ["classes.txt", "train.txt", "data.yaml"])
def test_texts_of_yolo_in_another_encoding(tmp_path: Path, name: str) -> None:
    root = flat_yolo(tmp_path, "images/a.jpg", "labels/a.txt")
    (root / name).write_text("names: [brød]\ntrain: x\n", "cp1252")
    with pytest.raises(DataError, match=rf"{name}: not UTF-8; save it as UTF-8$"):
        read(root)


def test_a_name_of_yolo_ends_with_its_line(tmp_path: Path) -> None:
    root = flat_yolo(tmp_path, "images/a.jpg", "labels/a.txt")
    (root / "classes.txt").write_text("t\x85e\u2028a\nmilk\n", "utf-8")
    assert [category.name for category in read(root).categories] == ["t\x85e\u2028a", "milk"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param(
            "annotations.xml", "1 photo, and annotations.xml is not in a layout that is read; export as COCO", id="CVAT"
        ),
        pytest.param(
            "annotations/default.json", "annotations/default.json is not in a layout that is read; export", id="Datumaro"
        ),
        pytest.param("export.ndjson", "export.ndjson is not in a layout that is read; export as COCO", id="Labelbox"),
        pytest.param(
            "via.csv",
            "via.csv is not .* export as COCO, YOLO, VOC or CSV; without labels: `hylle predict`; known are",
            id="VIA",
        ),
        pytest.param("label_2/a.txt", r"label_2/a.txt is not in .*read \(YOLO's need data.yaml or classes.txt\)", id="KITTI"),
        pytest.param("train/_annotations.txt", "train/_annotations.txt is not in a layout that is read; export", id="Keras"),
        pytest.param("readme.txt", "1 photo and no annotations.json or other labels: `hylle predict` finds", id="a note"),
        pytest.param("NM_NGD_product_images/metadata.json", "1 photo and no annotations.json or other", id="studio photos"),
        pytest.param("site/node_modules/a/package.json", "1 photo and no annotations.json or other", id="deep below"),
        pytest.param("notes/prices.csv", "1 photo and no annotations.json or other", id="in a folder of no labels"),
        pytest.param("site/test/package.json", "1 photo and no annotations.json or other", id="a test of code"),
        pytest.param("train/via_region_data.json", "train/via_region_data.json is not in", id="VIA, in a part"),
        pytest.param("ds0/ann/a.jpg.json", "ds0/ann/a.jpg.json is not in a layout that is read", id="Supervisely"),
        pytest.param("shop/a.json", "shop/a.json is not in a layout that is read", id="labelme"),
    ],
)
def test_labels_in_another_layout_are_named(tmp_path: Path, name: str, told: str) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text('{"shapes": []}')
    with pytest.raises(DataError, match=told):
        read(tmp_path)


def test_without_photos_no_prediction_is_proposed(tmp_path: Path) -> None:
    (tmp_path / "via.json").write_text("{}")
    with pytest.raises(DataError, match=r"0 photos, and via.json is not in a layout that is read; (?!.*hylle predict)"):
        read(tmp_path)
