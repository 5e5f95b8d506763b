"""Sets with a file for each part: ids stay unique over the files, and each file's photos are found where they lie."""

import json
from pathlib import Path

import pytest
from PIL import Image
from test_writing import photo

from photos.data import Category, DataError, Dataset, read
from photos.formats.writing import write


def put_photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 60), "white").save(path)


def test_regions_to_ignore_in_two_parts_have_ids_of_their_own(tmp_path: Path) -> None:
    photos = tuple(photo(tmp_path / "D" / "images", i, part, 2) for i, part in ((3, "train"), (7, "valid"), (11, "test")))
    assert all(len(own.ignored) == 1 for own in photos)
    write(Dataset(tmp_path / "D", tuple(Category(k, f"p{k}") for k in range(4)), photos), "coco", tmp_path / "OUT")
    files = [json.loads((tmp_path / "OUT" / f"{part}.json").read_text()) for part in ("train", "valid", "test")]
    ids = [row["id"] for file in files for row in file["annotations"]]
    assert len(ids) == len(set(ids)) == 9


def test_photos_of_two_tables_are_numbered_on(tmp_path: Path) -> None:
    for part, names in (("train", "ab"), ("val", "c")):
        for name in names:
            put_photo(tmp_path / f"{name}.jpg")
        rows = [f"{name}.jpg,1,2,30,40,tea,80,60\n" for name in names]
        (tmp_path / f"annotations_{part}.csv").write_text("".join(rows))
    found = read(tmp_path)
    assert [(own.id, own.name, own.part) for own in found.photos] == [
        (1, "a.jpg", "train"), (2, "b.jpg", "train"), (3, "c.jpg", "valid")]  # fmt: skip
    assert not [note for note in found.notes if "numbered anew" in str(note)]


def coco_part(path: Path, photo_name: str = "a.jpg", number: int = 1) -> None:
    """A COCO file of one photo with one box."""
    box = {"id": number, "image_id": number, "category_id": 1, "bbox": [1, 2, 3, 4]}
    lists = {"images": [{"id": number, "file_name": photo_name}], "annotations": [box]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(lists | {"categories": [{"id": 1, "name": "tea"}]}))


@pytest.mark.parametrize("written", ["a.jpg", "train/a.jpg", "./a.jpg"])
def test_a_photo_beside_roboflows_file_goes_before_one_in_the_folder_above(tmp_path: Path, written: str) -> None:
    for place in ("a.jpg", "train/a.jpg"):
        put_photo(tmp_path / place)
    coco_part(tmp_path / "train" / "_annotations.coco.json", written)
    dataset = read(tmp_path)
    assert [own.name for own in dataset.photos] == ["train/a.jpg"]
    assert "photos in the folder that the labels do not list, not read: 1 (a.jpg)" in dataset.notes
    (tmp_path / "train" / "a.jpg").unlink()
    assert [own.name for own in read(tmp_path).photos] == ["a.jpg"]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        pytest.param("train", "train/a.jpg", id="its part's, beside images/"),
        pytest.param("images", "a.jpg", id="images/"),
        pytest.param(".", "a.jpg", id="that of the file"),
    ],
)
def test_photos_of_a_coco_file_are_found_in_the_folder_that_they_are_in(tmp_path: Path, place: str, name: str) -> None:
    if place != ".":
        (tmp_path / "images").mkdir()
    put_photo(tmp_path / place / "a.jpg")
    coco_part(tmp_path / "train.json")
    (own,) = read(tmp_path).photos
    assert own.path.samefile(tmp_path / place / "a.jpg") and (own.name, own.part) == (name, "train")


@pytest.mark.parametrize("photos", ["images", "."])
def test_a_folder_for_each_part_with_a_coco_file_of_its_own(tmp_path: Path, photos: str) -> None:
    for number, part in enumerate(("train", "val", "test")):
        put_photo(tmp_path / part / photos / "a.jpg")
        coco_part(tmp_path / part / "annotations.json", number=number)
    dataset = read(tmp_path)
    inner = "images/" if photos == "images" else ""
    assert [(own.name, own.part, len(own.boxes)) for own in dataset.photos] == [
        (f"train/{inner}a.jpg", "train", 1), (f"val/{inner}a.jpg", "valid", 1), (f"test/{inner}a.jpg", "test", 1)]  # fmt: skip
    assert "a folder for each part" in dataset.layout and len(dataset.notes) == 1  # that the files have no sizes


def test_roboflows_tables_are_those_of_the_parts_that_they_lie_in(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        put_photo(tmp_path / part / "a.jpg")
        put_photo(tmp_path / part / " b.jpg")
        rows = [f"{name},80,60,tea,1,2,30,40\n" for name in ("a.jpg", " b.jpg")]
        (tmp_path / part / "_annotations.csv").write_text("filename,width,height,class,xmin,ymin,xmax,ymax\n" + "".join(rows))
    put_photo(tmp_path / "a.jpg")
    dataset = read(tmp_path)
    assert [(own.name, own.part) for own in dataset.photos] == [
        (f"{part}/{name}", part) for part in ("train", "valid", "test") for name in ("a.jpg", " b.jpg")]  # fmt: skip
    assert dataset.notes == ("photos in the folder that the labels do not list, not read: 1 (a.jpg)",)
    (alone, _) = read(tmp_path / "test").photos
    assert (alone.name, alone.part) == ("a.jpg", None)


def test_several_folders_that_hold_sets_are_all_named(tmp_path: Path) -> None:
    for shop in ("north", "south"):
        put_photo(tmp_path / shop / "a.jpg")
        (tmp_path / shop / "boxes.csv").write_text("a.jpg,1,2,30,40,tea,80,60\n")
    with pytest.raises(DataError, match=r"2 folders below it hold one each \(north, south\): pass one of them, or export all"):
        read(tmp_path)
