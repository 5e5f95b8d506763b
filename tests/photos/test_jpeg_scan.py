"""A JPEG whose pixels run out before its end marker is found; a whole one never, however written, and however grey."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fusion.reading import decode_photo
from photos.jpeg_scan import runs_out

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 255, (83, 121, 3), np.uint8)
PADDED = np.concatenate([NOISE[:40], np.full((43, 121, 3), 128, np.uint8)])  # grey below, as some programs fill up photos
WAYS = {
    "4:4:4": {"subsampling": 0},
    "4:2:0": {"subsampling": 2},
    "restarts": {"restart_marker_blocks": 3},
    "own tables": {"optimize": True},
    "progressive": {"progressive": True},
}


def jpeg(image: np.ndarray[Any, Any], **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90, **how)
    return file.getvalue()


def found(data: bytes, exif: str = "stored") -> bool:
    return runs_out(data, decode_photo(data, exif))


def test_no_bytes_and_another_kind_of_file() -> None:
    grey = np.full((8, 8, 3), 128, np.uint8)
    assert not any(runs_out(data, grey) for data in (b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\x89PNG\r\n\x1a\n" + bytes(99)))


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "image",
    [
        pytest.param(NOISE, id="noise"),
        pytest.param(PADDED, id="grey below"),
        pytest.param(np.full((40, 40, 3), 128, np.uint8), id="grey"),
        pytest.param(np.full((40, 40), 128, np.uint8), id="one channel"),
        pytest.param(np.full((1, 1, 3), 128, np.uint8), id="a pixel"),
    ],
)
def test_a_whole_photo_is_never_found(image: np.ndarray[Any, Any], how: dict[str, Any]) -> None:
    data = jpeg(image, **how)
    assert not found(data)
    assert not found(data + b"a trailer of \xff\xd8 some phones \xff\xd9" * 9)
    assert not found(data[:-2] + bytes(50) + data[-2:])  # some cameras fill up their files


@pytest.mark.parametrize("how", [way for name, way in WAYS.items() if name != "progressive"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_photo_that_runs_out_is_found(share: float, how: dict[str, Any]) -> None:
    data = jpeg(NOISE, **how)
    assert found(data[: int(len(data) * share)] + b"\xff\xd9")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_that_is_turned_is_found(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(NOISE, exif=exif)
    assert not found(data, "turned")
    assert found(data[: len(data) // 2] + b"\xff\xd9", "turned")


def test_a_marker_amid_the_pixels_is_found() -> None:
    data = jpeg(NOISE)
    at = len(data) // 2
    for marker in (b"\xff\xd9", b"\xff\xd3", b"\xff\x55", b"\xff\xc4"):
        assert found(data[:at] + marker + data[at + 2 :])
