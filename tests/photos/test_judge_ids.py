"""The judge's rule for image ids as a function of names is what run.py does to a folder; a set's ids held against it."""

from pathlib import Path

import numpy as np
import pytest

from fusion.reading import find_photos
from photos.data import Category, Dataset, Photo
from photos.judge_ids import Merged, OtherId, compare, judge_id

NAMES = [
    "img_00042.jpg", "IMG-20240501-WA0003.jpeg", "0.jpg", "00.JPG", "oslo_2024.jpg", "bergen_2024.jpg", "shelf.jpg", "7.png",
    ".9.jpg", "a.5.Jpeg", "hylle æ 12 (1).jpg", "hylle 12.JPEG", "٣.jpg", "²3x.jpg", "8.jpg.jpg", "6.jpg.txt", "10", "-4.jpg",
]  # fmt: skip


def photo(i: int, name: str) -> Photo:
    """A photo without boxes."""
    none = np.zeros(0, np.int64)
    return Photo(i, Path("D/images") / name, 9, 9, np.zeros((0, 4), np.float32), none, none, None, name)


def dataset(*photos: Photo) -> Dataset:
    return Dataset(Path("D"), (Category(1, "TE"),), photos)


def test_no_photos_have_no_lines() -> None:
    nothing = compare(dataset())
    assert (nothing.skipped, list(nothing.lines())) == (0, [])


def test_the_rule_is_that_of_run_py(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
    judged = {path.name: i for i, path in find_photos(tmp_path).items()}
    result = compare(dataset(*(photo(-1, name) for name in NAMES)))
    assert {other.name: other.judged for other in result.other_id} == judged
    assert {name: judge_id(name) for name in judged} == judged
    lost = [*(m.name for m in result.merged), *result.without_number, *result.not_read]
    assert sorted([*lost, *judged]) == sorted(NAMES) and len(lost) == result.skipped


@pytest.mark.parametrize(
    ("photos", "said"),
    [
        pytest.param([photo(1, "1.jpg"), photo(2, "x_02.jpg")], [], id="as the contest names them"),
        pytest.param(
            [photo(2, "1.jpg"), photo(1, "2.jpg")], ["2 of 2 photos would get another image id (1.jpg: 1 for 2,"], id="permuted"
        ),
        pytest.param(
            [photo(0, "oslo_2024.jpg"), photo(2024, "bergen_2024.jpg")],
            ["1 of 2 photos would be skipped, their number came before (oslo_2024.jpg: 2024 as bergen_2024.jpg)"],
            id="years",
        ),
        pytest.param(
            [photo(1, "a/1.jpg"), photo(2, "b/1.jpg")], ["(b/1.jpg: 1 as a/1.jpg)"], id="one base name in two folders"
        ),
        pytest.param(
            [photo(1, "oslo.jpg")], ["1 of 1 photos would be skipped, no number in their name (oslo.jpg)"], id="no number"
        ),
        pytest.param([photo(1, "1.png")], ["1 of 1 photos would not be read"], id="a PNG"),
        pytest.param([photo(9, f"{i}.jpg") for i in range(5)], ["5 of 5", "and 2 more)"], id="many"),
    ],
)
def test_lines(photos: list[Photo], said: list[str]) -> None:
    lines = "\n".join(compare(dataset(*photos)).lines())
    assert all(text in lines for text in said) and bool(lines) == bool(said), lines


def test_each_photo_is_in_one_field() -> None:
    result = compare(dataset(photo(3, "3.jpg"), photo(4, "x/4.jpg"), photo(9, "y/4.jpg"), photo(7, "8.jpg"), photo(1, "t.jpg")))
    assert (result.same, result.without_number) == (("3.jpg", "x/4.jpg"), ("t.jpg",))
    assert (result.other_id, result.merged) == ((OtherId("8.jpg", 7, 8),), (Merged("y/4.jpg", "x/4.jpg", 4),))
