"""Where the photos of a YOLO set lie that was moved: in the folders that data.yaml means, and in no others."""

from pathlib import Path

import pytest
from PIL import Image

from photos.data import DataError, read

LINE = "0 0.5 0.5 0.25 0.5"


def set_of(root: Path, text: str, *folders: str) -> Path:
    """A YOLO set of one labelled photo in each folder, another size each, and of photos without labels in images/."""
    for k, folder in enumerate(folders):
        photos = root / folder
        labels = root / folder.replace("images", "labels")
        for place in (photos, labels):
            place.mkdir(parents=True)
        Image.new("RGB", (80 + 8 * k, 60)).save(photos / "a.jpg")
        (labels / "a.txt").write_text(LINE)
    (root / "images").mkdir(exist_ok=True)
    Image.new("RGB", (40, 40)).save(root / "images" / "raw.jpg")
    (root / "data.yaml").write_text(f"{text}\nnames: [tea]\n")
    return root


ROBOFLOW = ("train/images", "valid/images", "test/images")
ULTRALYTICS = ("images/train", "images/val")


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        pytest.param("train: ../train/images\nval: /content/ds/valid/images", ROBOFLOW[:2], id="one entry absolute"),
        pytest.param(
            "train: /content/ds/train/images\nval: /content/ds/valid/images\ntest: ../test/images", ROBOFLOW, id="test left"
        ),
        pytest.param("train: /x/ds/train/images\nval: /x/ds/valid/images\ntest: null", ROBOFLOW[:2], id="null"),
        pytest.param("train: /x/ds/train/images\nval: /x/ds/valid/images\ntest: ~", ROBOFLOW[:2], id="tilde"),
        pytest.param("path: Null\ntrain: [train/images, null]\nval: valid/images", ROBOFLOW[:2], id="null as path, in a list"),
        pytest.param("train: /mnt/d1/ds/images/train\nval: /mnt/d2/ds/images/val", ULTRALYTICS, id="two drives"),
        pytest.param("train: D:\\ds\\images\\train\nval: E:\\set\\images\\val", ULTRALYTICS, id="Windows"),
        pytest.param("train: /train/images\nval: /data/valid/images", ROBOFLOW[:2], id="one at the root"),
        pytest.param("train: /test_1/ds/images/train\nval: ../images/val", ULTRALYTICS, id="a part's name above"),
        pytest.param("path: /x/ds\ntrain: train/images\nval: /x/ds/valid/images", ROBOFLOW[:2], id="absolute beside path"),
        pytest.param("path: ../ds\ntrain: train/images\nval: /y/valid/images", ROBOFLOW[:2], id="absolute, relative path"),
    ],
)
def test_entries_of_several_forms_are_each_found(tmp_path: Path, text: str, folders: tuple[str, ...]) -> None:
    dataset = read(set_of(tmp_path, text, *folders))
    parts = ("train", "valid", "test")
    assert [(photo.name, photo.part) for photo in dataset.photos] == [
        (f"{folder}/a.jpg", part) for folder, part in zip(folders, parts, strict=False)
    ]
    assert not any("left out" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("train: ../train/images\nval: /content/ds/valid/images", "valid: /content/ds/valid/images", id="one"),
        pytest.param("train: /d1/train/images\nval: /d2/valid/images", "valid: /d2/valid/images", id="two drives"),
        pytest.param("train: /x/ds/train/images\nval: ../valid/images", "valid: ../valid/images", id="left as it was"),
        pytest.param("path: /x\ntrain: train/images\nval: /y/z/valid/images", "valid: /y/z/valid/images", id="beside path"),
    ],
)
def test_no_other_folder_is_taken_for_one_that_is_missing(tmp_path: Path, text: str, told: str) -> None:
    dataset = read(set_of(tmp_path, text, "train/images"))
    assert [photo.name for photo in dataset.photos] == ["train/images/a.jpg"]
    assert f"entries without photos where they say, left out: 1 ({told})" in dataset.notes


def test_a_set_of_which_all_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no photos where it says they are \(/x/train/images, /x/valid/images\)"):
        read(set_of(tmp_path, "train: /x/train/images\nval: /x/valid/images\ntest: ~"))


def test_no_keypoints_are_read_where_their_shape_is_null(tmp_path: Path) -> None:
    root = set_of(tmp_path, "train: train/images\nkpt_shape: null", "train/images")
    (root / "train/labels/a.txt").write_text("0 0.25 0.25 0.75 0.25 0.75 0.75")
    assert read(root).photos[0].boxes.tolist() == [[20, 15, 60, 45]]
