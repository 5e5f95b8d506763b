"""Pixels as the labels mean them: EXIF rotation, damaged and cut-off photos, reading at a part of the size."""

import math
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fusion.reading import read_photo
from photos.data import DataError, read_image
from photos.photo_file import find_photo, is_cut_off, read_header
from submission.predictions import sizes_of

WIDTH, HEIGHT = 48, 32
TURN = {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}  # Pillow's names


def picture(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A smooth RGB photo whose four corners differ: left is dark, the top is red."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(250, 0, height).astype(np.uint8)[:, None]
    image[..., 1] = np.linspace(0, 250, width).astype(np.uint8)[None]
    return image


def write_photo(path: Path, orientation: int | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(picture(*size)).save(path, "JPEG", quality=98, exif=exif)


def test_a_trailer_after_the_photo_is_no_damage(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"\xff\xda motion" * 40)
    assert not is_cut_off(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg", WIDTH, HEIGHT).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_stored_pixels_when_the_json_has_their_size(tmp_path: Path, orientation: int | None) -> None:
    write_photo(tmp_path / "a.jpg", orientation)
    image = read_image(tmp_path / "a.jpg", WIDTH, HEIGHT)
    assert (image.dtype, image.flags.c_contiguous) == (np.uint8, True)
    assert np.abs(image.astype(int) - picture()).max() < 12


@pytest.mark.parametrize("orientation", TURN)
def test_turned_pixels_when_the_json_has_theirs(tmp_path: Path, orientation: int) -> None:
    write_photo(tmp_path / "a.jpg", orientation)
    expected = np.asarray(Image.fromarray(picture()).transpose(Image.Transpose[TURN[orientation]]))
    image = read_image(tmp_path / "a.jpg", HEIGHT, WIDTH)
    assert image.shape == expected.shape and image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).max() < 12


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_shrunk_pixels(tmp_path: Path, shrink: int, orientation: int) -> None:
    write_photo(tmp_path / "a.jpg", orientation, (50, 35))
    size = (50, 35) if orientation == 1 else (35, 50)
    full = read_image(tmp_path / "a.jpg", *size)
    small = read_image(tmp_path / "a.jpg", *size, shrink=shrink)
    assert small.shape[:2] == (math.ceil(size[1] / shrink), math.ceil(size[0] / shrink))
    assert np.abs(cv2.resize(full, small.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 16


def test_unreadable_pixels_name_the_file(tmp_path: Path) -> None:
    write_photo(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-30])
    write_photo(tmp_path / "size.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_bytes(b"text")
    for name, size in [("cut", 48), ("size", 49), ("empty", 48), ("text", 48), ("none", 48)]:
        with pytest.raises(DataError, match=rf"{name}\.jpg"):
            read_image(tmp_path / f"{name}.jpg", size, HEIGHT)


def enlarged(path: Path, width: int, height: int) -> Path:
    """A photo whose header says that it is of another size."""
    write_photo(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    path.write_bytes(data)
    return path


def test_one_limit_of_pixels_for_checks_training_and_judgment(tmp_path: Path) -> None:
    phone, large = enlarged(tmp_path / "img_1.jpg", 16320, 12240), enlarged(tmp_path / "img_2.jpg", 20000, 15000)
    assert read_header(phone)[:2] == (16320, 12240)  # 200 megapixels: beyond Pillow's own limit
    for read in (read_header, lambda path: read_image(path, 20000, 15000)):
        with pytest.raises(DataError, match=r"img_2.jpg: the photo is 20000x15000 pixels, need at most 250 megapixels"):
            read(large)
    with pytest.raises(ValueError, match="got 20000 x 15000 pixels, need at most 250 megapixels"):
        read_photo(large)
    assert sizes_of(tmp_path) == {1: (16320, 12240), 2: None}


@pytest.mark.parametrize(("on_disk", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_with_composed_and_decomposed_letters(tmp_path: Path, on_disk: str, asked: str) -> None:
    name = "br\u00f8d/\u00e4ggn\u00e5l.jpg"
    path = tmp_path / unicodedata.normalize(on_disk, name)
    path.parent.mkdir(parents=True)
    write_photo(path)
    assert find_photo(tmp_path, unicodedata.normalize(asked, name)) == path
    assert find_photo(tmp_path, "./br\u00f8d/other.jpg") == tmp_path / "br\u00f8d" / "other.jpg"
