"""Which files of the judge's folder `run.py` takes for photos, by which number, and what it notes of the others."""

from pathlib import Path

import pytest

from submission import run


@pytest.mark.parametrize(
    ("names", "found", "notes"),
    [
        pytest.param([], {}, 0, id="empty folder"),
        pytest.param(["img_00042.jpg"], {42: "img_00042.jpg"}, 0, id="the contest's names"),
        pytest.param(["a1.JPG", "b2.Jpeg", "c3.jpeg"], {1: "a1.JPG", 2: "b2.Jpeg", 3: "c3.jpeg"}, 0, id="suffixes in any case"),
        pytest.param(["1.png", "2.txt", "3", "annotations.json"], {}, 0, id="other files"),
        pytest.param(["cam2_shelf 017.jpg"], {17: "cam2_shelf 017.jpg"}, 0, id="the last of several numbers"),
        pytest.param(["img_7_final.jpg"], {7: "img_7_final.jpg"}, 0, id="number not at the end"),
        pytest.param(["shelf.jpg", "hylle_ø.jpg"], {}, 2, id="no number"),
        pytest.param(["img_٣.jpg"], {}, 1, id="digits of another script"),
        pytest.param(["img_1.jpeg", "img_01.jpg"], {1: "img_01.jpg"}, 1, id="two names with one number"),
        pytest.param(["._img_1.jpg", "img_1.jpg"], {1: "img_1.jpg"}, 0, id="a Mac's shadow file"),
        pytest.param(["img_2.jpg", "img_1.jpg"], {1: "img_1.jpg", 2: "img_2.jpg"}, 0, id="in the order of names"),
    ],
)
def test_photos_are_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: list[str], found: dict[int, str], notes: int
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert [(number, path.name) for number, path in run.find_photos(tmp_path).items()] == list(found.items())
    assert len(caplog.records) == notes


def test_a_file_in_place_of_the_folder_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "photos").touch()
    assert run.find_photos(tmp_path / "photos") == {}
    assert caplog.messages == [f"{tmp_path / 'photos'}: not a folder"]
