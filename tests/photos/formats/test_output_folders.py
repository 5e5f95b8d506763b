"""What a command has written into the folder of a data set is no part of the set."""

import json
from pathlib import Path

import pytest
from PIL import Image

from photos.data import DataError, read
from photos.overview.folder import unlisted
from photos.photo_folder import PhotoFolder
from runs.output_folder import MARKS

FLAT = {  # the labels of a.jpg, which lie beside it, by the file that holds them
    "YOLO": {"classes.txt": "tea", "a.txt": "0 0.5 0.5 0.5 0.5"},
    "YOLO, data.yaml": {"data.yaml": "train: .\nnames: [tea]", "a.txt": "0 0.5 0.5 0.5 0.5"},
    "VOC": {"a.xml": "<annotation><filename>a.jpg</filename><object><name>tea</name><bndbox><xmin>21</xmin><ymin>16</ymin>"
                     "<xmax>60</xmax><ymax>45</ymax></bndbox></object></annotation>"},
    "CSV": {"boxes.csv": "photo,x0,y0,x1,y1\na.jpg,20,15,60,45"},
    "COCO": {"_annotations.coco.json": json.dumps({
        "images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "tea"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 15, 40, 30]}]})},
}  # fmt: skip


@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("mark", sorted(MARKS))
def test_a_folder_that_a_command_has_written_into_the_set_is_no_data(tmp_path: Path, kind: str, mark: str) -> None:
    """Without images/ all that lies below is looked at: the links of a run to the photos, their labels, and drawings."""
    for name, text in FLAT[kind].items():
        (tmp_path / name).write_text(text)
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg")
    before = read(tmp_path)
    links = tmp_path / "run" / "photos" / "train"
    for name in ("images", "labels"):
        (links / name).mkdir(parents=True)
    (links / "images" / "a.jpg").symlink_to(tmp_path / "a.jpg")
    (links / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    (links / "a.xml").write_text(FLAT["VOC"]["a.xml"])
    (tmp_path / "run" / "sheet.png").write_bytes((tmp_path / "a.jpg").read_bytes())
    (tmp_path / "run" / mark).write_text("{}")
    after = read(tmp_path)
    assert [(photo.name, photo.part) for photo in after.photos] == [(photo.name, photo.part) for photo in before.photos]
    assert after.photos[0].boxes.tolist() == before.photos[0].boxes.tolist() == [[20, 15, 60, 45]]
    assert [line for line in after.notes if line not in before.notes] == [
        "folders of runs and predictions in the data set, not read: 1 (run)"
    ]
    assert unlisted(after).photos == () and unlisted(after).others == {}
    assert len(PhotoFolder(links).paths) == 3  # asked for itself, it is looked into


def test_a_run_of_photos_without_labels_is_no_set_below(tmp_path: Path) -> None:
    for name in ("a.jpg", "run/classes.txt", "run/b.jpg", "run/begun.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r": 1 photo and no annotations.json or other labels: `hylle predict`(?!.*below)"):
        read(tmp_path)


def test_labels_may_name_photos_in_a_folder_that_a_command_has_written(tmp_path: Path) -> None:
    """As those of what a review has confirmed; and a shop's own plan.json marks nothing."""
    names = ("images/review/confirmed/a.jpg", "images/store/b.jpg")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (80, 60)).save(tmp_path / name)
    (tmp_path / "images/review/confirmed.jsonl").write_text("{}")
    (tmp_path / "images/store/plan.json").write_text("{}")
    images = [{"id": i, "file_name": name.removeprefix("images/"), "width": 80, "height": 60} for i, name in enumerate(names)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [20, 15, 40, 30]} for i in range(2)]
    categories = [{"id": 1, "name": "tea"}]
    (tmp_path / "annotations.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    assert sorted(photo.path.name for photo in read(tmp_path).photos) == ["a.jpg", "b.jpg"]
    assert PhotoFolder(tmp_path / "images").photo_names() == ["store/b.jpg"]
