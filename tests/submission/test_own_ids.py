"""Predictions under numbers of file names are joined to a set's ids by the file."""

from pathlib import Path

import pytest

from fusion.reading import find_photos
from submission.own_ids import join, with_own_ids


def test_no_photos_join_nothing(tmp_path: Path) -> None:
    assert join({}, tmp_path, []) == ({}, [])
    assert with_own_ids([{"image_id": 1}], {}) == []


@pytest.mark.parametrize(
    ("names", "images", "own", "said"),
    [
        pytest.param(["img_00001.jpg"], [(1, "img_00001.jpg")], {1: 1}, [], id="as in the contest"),
        pytest.param(["1.jpg", "2.jpg"], [(2, "1.jpg"), (1, "2.jpg")], {1: 2, 2: 1}, ["2 of 2 photos"], id="permuted"),
        pytest.param(["1.jpg"], [(1, "images/1.jpg")], {1: 1}, [], id="a folder before the name"),
        pytest.param(["1.jpg"], [(1, "images\\1.jpg")], {1: 1}, [], id="backslashes"),
        pytest.param(["7 a\u0308.jpg"], [(7, "7 \u00e4.jpg")], {7: 7}, [], id="letters composed otherwise"),
        pytest.param(["1.jpg"], [(5, "a/1.jpg"), (6, "b/1.jpg")], {}, ["1 base names"], id="two of one base name"),
        pytest.param(["1.jpg"], [(5, "a/1.jpg"), (1, "1.jpg")], {1: 1}, ["scored: 1.jpg"], id="one of them exactly"),
        pytest.param(["1.jpg", "x1.jpg"], [(3, "1.jpg"), (4, "x1.jpg")], {1: 3}, ["1 for 3", "1 as 1.jpg"], id="one number"),
        pytest.param(["9.jpg"], [(9, None)], {9: 9}, [], id="an image without a name goes by its id"),
        pytest.param(["9.jpg"], [(9, "8.jpg")], {}, [], id="an id alone does not join"),
        pytest.param(["oslo.jpg"], [(9, "oslo.jpg")], {}, ["no number in their name (oslo.jpg)"], id="no number"),
    ],
)  # fmt: skip
def test_photos_join_by_file_name(
    tmp_path: Path, names: list[str], images: list[tuple[int, str | None]], own: dict[int, int], said: list[str]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    joined = join(find_photos(tmp_path), tmp_path, [{"id": i} | ({"file_name": n} if n else {}) for i, n in images])
    assert joined.own == own
    assert len(joined.notes) == len(said)
    assert all(part in note for part, note in zip(said, joined.notes, strict=True))
