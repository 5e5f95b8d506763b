"""What labelling tools and people leave in a data set is read as they mean it, or told; nothing is passed over in silence."""

from pathlib import Path

import numpy as np
import pytest

from photos.data import DataError, read
from tests.photos.formats.one_photo import TEA, coco_of, csv_of, voc_file, yolo_of


@pytest.mark.parametrize(
    ("angle", "box"),
    [(90, [25, 10, 35, 40]), (0, [15, 20, 45, 30]), (360.0, [15, 20, 45, 30]), (-45, [15.858, 10.858, 44.142, 39.142])],
)
def test_of_a_turned_box_the_box_around_it_is_taken(tmp_path: Path, angle: float, box: list[float]) -> None:
    coco = {"category_id": 1, "bbox": [15, 20, 30, 10], "attributes": {"occluded": False, "rotation": angle}}
    rest = f"<attributes><attribute><name>rotation</name><value>{angle}</value></attribute></attributes>"
    for root in (coco_of(tmp_path / "coco", coco, TEA), voc_file(tmp_path / "voc", "16 21 45 30", rest)):
        dataset = read(root)
        np.testing.assert_allclose(dataset.photos[0].boxes, [box], atol=1e-3)
        assert any(note.startswith("turned boxes, of which") for note in dataset.notes) == (angle % 360 != 0)


@pytest.mark.parametrize(("encoding", "name"), [("utf-16", "a.xml"), ("utf-8", "a.XML"), ("iso-8859-1", "a.xml")])
def test_voc_in_any_encoding_that_its_first_line_says(tmp_path: Path, encoding: str, name: str) -> None:
    (category,) = read(voc_file(tmp_path, "16 21 45 30", "", encoding, name)).categories
    assert category.name == "brød"


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
