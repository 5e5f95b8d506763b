"""Which photos are train, valid and test is what lists, folders and files of a layout say."""

import json
from pathlib import Path

import pytest

from experiments.performance.layouts import LAYOUTS, contest
from photos.data import DataError, Dataset, read
from tests.photos.formats.one_photo import yolo_of


def test_two_coco_files_are_not_one_of_them(shop: Dataset, tmp_path: Path) -> None:
    contest(shop, tmp_path / "set")
    root = tmp_path / "set"
    (root / "annotations.json").rename(root / "batch1.json")
    assert read(root).photos
    (root / "batch2.json").write_bytes((root / "batch1.json").read_bytes())
    bare = json.loads((root / "batch1.json").read_text()) | {"annotations": []}
    (root / "a_list_of_photos.json").write_text(json.dumps(bare))
    with pytest.raises(DataError, match=r"got batch1.json, batch2.json, need one file for each of train, valid, test"):
        read(root)
    (root / "batch2.json").unlink()
    assert any(note.startswith("JSON files of no boxes, not read: 1 (a_list_of_photos.json)") for note in read(root).notes)


def voc_of(shop: Dataset, root: Path, rename: dict[str, str], lists: dict[str, str]) -> Path:
    """The shop as VOC, photos renamed by stem, with other lists of parts."""
    LAYOUTS["Pascal VOC"](shop, root)
    for old, new in rename.items():
        for folder, suffix in (("Annotations", ".xml"), ("JPEGImages", ".jpg")):
            target = root / folder / f"{new}{suffix}"
            target.parent.mkdir(exist_ok=True)
            (root / folder / f"{old}{suffix}").rename(target)
    for path in (root / "ImageSets" / "Main").glob("*.txt"):
        path.unlink()
    for name, text in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


@pytest.mark.parametrize(
    ("rename", "test"),
    [
        pytest.param({"img_5": "shelf 5", "img_6": "shelf 6"}, "shelf 5\nshelf 6\n", id="spaces"),
        pytest.param({"img_5": "a/5", "img_6": "b/5"}, "a/5\nb/5\n", id="folders, as CVAT writes them"),
        pytest.param({}, "img_5  1\nimg_6 -1\n", id="the devkit's marks"),
        pytest.param({}, '"img_5"\nimg_6', id="quotes"),
    ],
)
def test_the_lists_of_voc_say_the_parts(shop: Dataset, tmp_path: Path, rename: dict[str, str], test: str) -> None:
    lists = {"train": "img_1\nimg_2\nimg_3\nimg_4\n", "test": test}
    assert [photo.part for photo in read(voc_of(shop, tmp_path / "set", rename, lists)).photos] == ["train"] * 4 + ["test"] * 2


def test_lists_of_voc_that_name_other_files_are_refused_and_what_is_left_over_is_told(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"got 'shelf_5' of test.txt, which names no XML file \(1 such\), while img_1.xml is in"
    ):
        read(voc_of(shop, tmp_path / "a", {}, {"test": "shelf_5\nimg_6\n"}))
    few = read(voc_of(shop, tmp_path / "b", {}, {"test": "img_5\nimg_6\n"}))
    assert any(note.startswith("XML files in no list of ImageSets, of no part: 4") for note in few.notes)
    assert sorted(photo.part or "" for photo in few.photos) == [""] * 4 + ["test"] * 2
    everything = "".join(f"img_{i}\n" for i in range(1, 8))
    assert any(
        "img_7" in note and "without an XML file" in note
        for note in read(voc_of(shop, tmp_path / "c", {}, {"train": everything})).notes
    )


def test_folders_say_the_parts_of_yolo_without_a_data_yaml(tmp_path: Path) -> None:
    root = yolo_of(tmp_path, "0 0.5 0.5 0.5 0.5")
    for path in (root / "train").rglob("a.*"):
        target = root / path.relative_to(root / "train").parts[0] / "val" / f"b{path.suffix}"
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cola\n")
    (root / "images" / "c.jpg").write_bytes((root / "images" / "val" / "b.jpg").read_bytes())
    assert {photo.name: photo.part for photo in read(root).photos} == {"images/c.jpg": None, "images/val/b.jpg": "valid"}


def test_a_name_with_its_folder_goes_before_one_without(shop: Dataset, tmp_path: Path) -> None:
    rename = {"img_1": "5", "img_2": "6", "img_3": "7", "img_4": "8", "img_5": "a/5", "img_6": "a/6"}
    lists = {"train": "5\n6\n7\n8\n", "test": "a/5\na/6\n"}
    parts = {photo.name: photo.part for photo in read(voc_of(shop, tmp_path / "set", rename, lists)).photos}
    assert parts == {
        "5.jpg": "train",
        "6.jpg": "train",
        "7.jpg": "train",
        "8.jpg": "train",
        "a/5.jpg": "test",
        "a/6.jpg": "test",
    }
    with pytest.raises(DataError, match=r"train.txt: got 'a/5', which is in test already, need each photo in one part"):
        read(voc_of(shop, tmp_path / "twice", rename, lists | {"train": "5\n6\n7\n8\na/5\n"}))
