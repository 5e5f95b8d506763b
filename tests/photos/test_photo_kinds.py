"""Photos are known by content: each kind, whatever its suffix, becomes the RGB that OpenCV makes of it; damage is told."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from photos.data import DataError, read_image
from photos.photo_file import is_cut_off, photo_kind, read_header, read_headers

SIZE = (48, 32)
NOISE = np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), np.uint8)
KINDS = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "BMP": "BMP", "TIFF": "TIFF"}  # Pillow's names and ours


def test_no_photos_have_no_headers() -> None:
    read_headers([])


@pytest.mark.parametrize(("pillows", "kind"), KINDS.items())
def test_each_kind_under_a_wrong_suffix(tmp_path: Path, pillows: str, kind: str) -> None:
    path = tmp_path / "photo.txt"
    Image.fromarray(NOISE).save(path, pillows)
    assert (photo_kind(path), read_header(path), is_cut_off(path)) == (kind, (*SIZE, 1), False)
    expected = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(read_image(path, *SIZE), expected)
    assert read_image(path, *SIZE, shrink=2).shape == (16, 24, 3)


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("pillows", KINDS)
def test_each_kind_shrinks_alike_whatever_is_left_over(tmp_path: Path, pillows: str, shrink: int) -> None:
    """As JPEGs do: each pixel is of as many of the photo's, the last ones of fewer; a strip keeps a pixel."""
    path, smooth = tmp_path / "photo", np.add.outer(np.arange(37), 2 * np.arange(51))[..., None].astype(np.uint8)
    for width, height in ((48, 32), (51, 37), (50, 36), (1, 35), (35, 3)):
        image = np.repeat(smooth[:height, :width], 3, 2)
        Image.fromarray(image).save(path, pillows)
        small = read_image(path, width, height, shrink)
        padded = np.pad(image, ((0, -height % shrink), (0, -width % shrink), (0, 0)), "edge").astype(np.float32)
        rows, columns = len(padded) // shrink, padded.shape[1] // shrink
        means = padded.reshape(rows, shrink, columns, shrink, 3).mean((1, 3))
        assert small.shape == means.shape and np.abs(small - means).mean() < 6


@pytest.mark.parametrize("flag", ["IMREAD_REDUCED_COLOR_2", "IMREAD_REDUCED_COLOR_8"])
def test_where_nothing_is_left_over_the_pixels_are_opencvs(tmp_path: Path, flag: str) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    own = cv2.imread(str(tmp_path / "a.png"), getattr(cv2, flag))[..., ::-1]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", *SIZE, shrink=int(flag[-1])), own)


@pytest.mark.parametrize(("pillows", "kind"), KINDS.items())
def test_each_kind_cut_off(tmp_path: Path, pillows: str, kind: str) -> None:
    path = tmp_path / "photo"
    Image.fromarray(NOISE).save(path, pillows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    if pillows == "WEBP":  # Pillow reads no header of one that is cut off
        with pytest.raises(DataError, match="the photo is cut off"):
            read_header(path)
    else:
        assert is_cut_off(path)
    with pytest.raises(DataError, match="photo"):
        read_image(path, *SIZE)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        pytest.param(NOISE[..., 0], np.repeat(NOISE[..., :1], 3, 2), id="grey"),
        pytest.param(np.dstack([NOISE[..., ::-1], np.full(SIZE[::-1], 7, np.uint8)]), NOISE, id="transparent"),
        pytest.param(NOISE[..., ::-1].astype(np.uint16) * 257, NOISE, id="16 bits"),
    ],
)
def test_other_pixels_become_rgb_of_8_bits(tmp_path: Path, pixels: np.ndarray, expected: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", *SIZE), expected)


@pytest.mark.parametrize("pillows", ["PNG", "WEBP", "TIFF"])
def test_exif_of_other_kinds(tmp_path: Path, pillows: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"tiffinfo": {0x0112: 6}} if pillows == "TIFF" else {"exif": exif}
    Image.fromarray(NOISE).save(tmp_path / "a", pillows, **options, **({"lossless": True} if pillows == "WEBP" else {}))
    np.testing.assert_array_equal(read_image(tmp_path / "a", *SIZE[::-1]), np.rot90(NOISE, -1))
    if pillows != "TIFF":  # which OpenCV always turns
        np.testing.assert_array_equal(read_image(tmp_path / "a", *SIZE), NOISE)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        pytest.param(b"", "0 bytes", id="empty"),
        pytest.param(b"GIF89a" + bytes(40), "another kind of file", id="GIF"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(40), "a HEIC or AVIF photo", id="HEIC"),
    ],
)
def test_other_files_are_refused_with_what_is_allowed(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"a.jpg: not a readable photo \(got {got}, need JPEG, PNG, WebP, BMP, TIFF; convert"):
        read_header(tmp_path / "a.jpg")
