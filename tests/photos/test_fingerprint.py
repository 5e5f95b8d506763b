"""What changes a fingerprint and what does not."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from photos.data import Category, Photo
from photos.fingerprint import of_file, of_folder, of_photos

CATEGORIES = (Category(3, "a"), Category(7, "b"))


def photo(folder: Path, number: int = 1) -> Photo:
    path = folder / f"{number}.jpg"
    path.write_bytes(b"bytes of a photo")
    boxes = np.array([[0, 0, 5, 5], [5, 0, 9, 9]], np.float32)
    return Photo(number, path, 10, 10, boxes, np.array([0, 1]), np.array([1, 2]), None)


def test_no_photos_have_fingerprints_too() -> None:
    assert set(of_photos([], CATEGORIES)) == {"photos", "boxes", "names"}
    assert set(of_photos([], None)) == {"photos", "boxes"}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(lambda p, c: (p, c), set(), id="nothing"),
        pytest.param(lambda p, c: (replace(p, boxes=p.boxes + 1), c), {"boxes", "names"}, id="a box moved"),
        pytest.param(lambda p, c: (replace(p, labels=p.labels[::-1]), c), {"names"}, id="names swapped"),
        pytest.param(lambda p, c: (p, (c[0], Category(7, "other"))), {"names"}, id="a category renamed"),
        pytest.param(lambda p, c: (p, (*c, Category(9, "c"))), {"names"}, id="a category more"),
        pytest.param(lambda p, c: (replace(p, annotation_ids=p.annotation_ids + 9), c), set(), id="annotation ids"),
        pytest.param(
            lambda p, c: (replace(p, boxes=p.boxes[::-1], labels=p.labels[::-1]), c), set(), id="boxes in another order"
        ),
    ],
)
def test_what_changes_a_fingerprint(tmp_path: Path, change, changed: set[str]) -> None:
    before_photo = photo(tmp_path)
    before = of_photos([before_photo], CATEGORIES)
    after_photo, categories = change(before_photo, CATEGORIES)
    after = of_photos([after_photo], categories)
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_order_of_photos_does_not_count_and_their_bytes_do(tmp_path: Path) -> None:
    first, second = photo(tmp_path, 1), photo(tmp_path, 2)
    before = of_photos([first, second], None)
    assert of_photos([second, first], None) == before
    second.path.write_bytes(b"other bytes of a photo")
    after = of_photos([first, second], None)
    assert after["photos"] != before["photos"] and after["boxes"] == before["boxes"]


def test_a_file_of_the_same_size_that_was_written_later_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before = of_file(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert of_file(path) != before
    with pytest.raises(FileNotFoundError):
        of_file(tmp_path / "none")


def test_what_a_file_manager_leaves_in_a_folder_of_studio_photos_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "tea").mkdir()
    (tmp_path / "tea" / "front.jpg").write_bytes(b"a")
    before = of_folder(tmp_path)
    for hidden in (".DS_Store", "tea/.DS_Store", "tea/._front.jpg"):
        (tmp_path / hidden).write_bytes(b"b")
    assert of_folder(tmp_path) == before
    (tmp_path / "tea" / "back.jpg").write_bytes(b"b")
    assert of_folder(tmp_path) != before
