"""The file that names a set's classes is found among others, and files that systems hide are none."""

from pathlib import Path

import pytest

from photos.data import DataError, read
from tests.photos.formats.one_photo import TEA, coco_of, csv_of, yolo_of

LINE = "0 0.5 0.5 0.25 0.5"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("backup.yaml", "train: images\nnames: [old]\n", id="another set"),
        pytest.param("classes.yaml", "names: [old]\n", id="names alone"),
        pytest.param("zoo.yml", "names: [old]\n", id="a later one"),
    ],
)
def test_data_yaml_goes_before_another_file_with_names_and_that_is_told(tmp_path: Path, name: str, text: str) -> None:
    root = yolo_of(tmp_path, LINE)
    (root / name).write_text(text)
    dataset = read(root)
    assert [category.name for category in dataset.categories] == ["tea"]
    assert f"YAML files that name classes beside data.yaml, not read: 1 ({name})" in dataset.notes
    (root / "data.yaml").rename(root / "shop.yaml")
    (root / name).write_text("names: [old]\n")
    assert [category.name for category in read(root).categories] == ["tea"]


def test_a_damaged_yaml_file_is_refused_where_it_may_be_the_sets(tmp_path: Path) -> None:
    root = yolo_of(tmp_path, LINE)
    (root / "backup.yaml").write_text("names: [")
    assert len(read(root).photos) == 1
    (root / "data.yaml").rename(root / "shop.yaml")
    assert len(read(root).photos) == 1  # shop.yaml names the classes
    (root / "shop.yaml").unlink()
    with pytest.raises(DataError, match=r"backup.yaml: broken YAML"):
        read(root)


def test_a_damaged_data_yaml_is_refused_though_another_file_names_classes(tmp_path: Path) -> None:
    root = yolo_of(tmp_path, LINE)
    (root / "data.yaml").rename(root / "shop.yaml")
    (root / "data.yaml").write_text("names: [")
    with pytest.raises(DataError, match=r"data.yaml: broken YAML"):
        read(root)


def test_a_file_of_several_documents_is_none_of_the_sets(tmp_path: Path) -> None:
    root = yolo_of(tmp_path, LINE)
    (root / "data.yaml").rename(root / "shop.yaml")
    (root / "values.yaml").write_text("a: 1\n---\nb: 2\n")
    dataset = read(root)
    assert [category.name for category in dataset.categories] == ["tea"]
    assert "broken YAML files beside shop.yaml, not read: 1 (values.yaml)" in dataset.notes


@pytest.mark.parametrize("layout", ["yolo", "csv", "coco"])
def test_what_macos_leaves_beside_files_is_no_label_file(tmp_path: Path, layout: str) -> None:
    if layout == "yolo":
        root, name = yolo_of(tmp_path, LINE), "data.yaml"
    elif layout == "csv":
        root, name = csv_of(tmp_path, "a.jpg,1,2,30,40,tea,80,60\n"), "boxes.csv"
    else:
        root, name = coco_of(tmp_path, {"category_id": 1, "bbox": [1, 2, 3, 4]}, TEA), "annotations/boxes.json"
        (root / "annotations").mkdir()
        (root / "annotations.json").rename(root / name)
    (root / name).with_name(f"._{Path(name).name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        \xb0\0\0")
    dataset = read(root)
    assert len(dataset.photos[0].boxes) == 1 and not any("not read" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("taken", "other", "told"),
    [
        pytest.param("classes.txt", "labels/classes.txt", True, id="of two lists"),
        pytest.param("data.yaml", "labels/classes.txt", True, id="labelImg's beside a YAML file"),
        pytest.param("data.yaml", "train/labels/classes.txt", True, id="among the labels of a part"),
        pytest.param("data.yaml", "classes.txt", False, id="the same names"),
    ],
)
def test_a_list_of_other_names_is_told(tmp_path: Path, taken: str, other: str, told: bool) -> None:
    root = yolo_of(tmp_path, "0 0.5 0.5 0.5 0.5\n", "[tea, rod]")
    if taken == "classes.txt":
        (root / "data.yaml").unlink()
        (root / taken).write_text("tea\nrod\n")
        (root / "train").rename(root / "moved")
        for name in ("images", "labels"):
            (root / "moved" / name).rename(root / name)
    (root / other).parent.mkdir(exist_ok=True)
    (root / other).write_text("rod\ntea\n" if told else "tea\nrod\n\n")
    dataset = read(root)
    assert [category.name for category in dataset.categories] == ["tea", "rod"]
    about = [note for note in dataset.notes if "lists of class names that are not those of" in note]
    assert [other in note for note in about] == [True] * told


@pytest.mark.parametrize(
    ("names", "told"),
    [
        pytest.param("\n  0: tea\n  1: rod\n  1: coffee", "the key 1 stands twice", id="once more"),
        pytest.param("\n  0: tea\n  00: rod", "got one class twice", id="written otherwise"),
    ],
)
def test_a_class_with_two_names_is_refused(tmp_path: Path, names: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(yolo_of(tmp_path, "0 0.5 0.5 0.5 0.5\n", names))
