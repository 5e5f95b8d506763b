"""A photo on disk: its size and EXIF orientation from the header, and its pixels as the annotations count them.

Phones store a portrait photo in landscape, with an EXIF orientation (5..8) that says how to turn it. Labelling tools differ
in whether they apply it. **The rule**: the size in the JSON shows which of the two the boxes mean, so `read_image` needs it.
Where it shows nothing, since EXIF leaves the size as it is (the orientations 2, 3 and 4, and square photos), the stored pixels
are meant. No photo may have more than MAX_PIXELS. Otherwise this knows nothing about annotations.
"""

import unicodedata
import warnings
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from fusion.views import MAX_PIXELS, photo_header

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # else Pillow refuses photos beyond 179 megapixels, in ultralytics too
_START, _SCAN, _END = b"\xff\xd8", 0xDA, b"\xff\xd9"  # JPEG markers SOI, SOS, EOI
_HEAD = 1 << 18  # bytes in which a JPEG's header usually ends; else the whole file is read
_TAIL = 64  # bytes in which a whole JPEG usually ends; longer trailers cost one full read
_DECODE = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class DataError(ValueError):
    """The data set cannot be used as it is; the message has one line for each problem."""


class Header(NamedTuple):
    """Size of the stored pixels and the EXIF orientation (1..8; 1 when there is none)."""

    width: int
    height: int
    orientation: int

    def turned(self) -> tuple[int, int]:
        """Width and height after the EXIF rotation: swapped for the orientations 5..8.

        >>> Header(4032, 3024, 6).turned()
        (3024, 4032)
        """
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(path: Path) -> Header:
    """Read size and orientation without decoding pixels. DataError naming the file if that fails, or if it is too large."""
    try:
        header = _header(path)
    except Exception as error:  # Pillow raises nearly anything on a damaged file
        raise DataError(f"{path.name}: not a readable photo ({error or type(error).__name__})") from error
    _refuse_large(path, header.width, header.height)
    return header


def _header(path: Path) -> Header:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is damaged, and of large photos
        with Image.open(path) as image:
            width, height = image.size
    with path.open("rb") as file:
        head = file.read(_HEAD)
        found = photo_header(head)
        return Header(width, height, (found if found[0] else photo_header(head + file.read()))[2])


def _refuse_large(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise DataError(f"{path.name}: the photo is {width}x{height} pixels, need at most {limit} megapixels; scale it down")


def same_name(name: str) -> str:
    """One form for all names of one file: without `./`, its letters composed (NFC). macOS decomposes them, others seldom do.

    >>> same_name("./shelf//a\u0308.jpg") == same_name("shelf/\u00e4.jpg")
    True
    """
    return unicodedata.normalize("NFC", PurePosixPath(name).as_posix())


def find_photo(folder: Path, name: str) -> Path:
    """FOLDER/`name`, its letters composed or decomposed as they are on disk; as given where there is no such file."""
    path = folder
    for part in PurePosixPath(name).parts:
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        path = next((path / form for form in forms if (path / form).exists()), path / part)
    return path


def read_image(path: Path, width: int, height: int, shrink: int = 1) -> np.ndarray:
    """Decode a photo to RGB uint8 (height, width, 3), contiguous; with `shrink` 2, 4 or 8 to that part of its size, faster.

    The stored pixels if their size is `width` x `height`, else the EXIF-turned ones if theirs is.
    DataError naming the file if it is missing, damaged, cut off or of another size.
    """
    image = _decode(path, shrink)
    if image.shape[:2] != (expected := (-(-height // shrink), -(-width // shrink))):
        image = _turn(image, read_header(path).orientation)
    if image.shape[:2] != expected:
        raise DataError(f"{path}: got {image.shape[1]}x{image.shape[0]} pixels, need {expected[1]}x{expected[0]}")
    return np.ascontiguousarray(image[..., ::-1])  # (H, W, 3) BGR -> RGB


def _decode(path: Path, shrink: int) -> np.ndarray:
    try:
        data = path.read_bytes()  # not cv2.imread: that fails on some names
        if data.startswith(_START) and _lacks_end(data):
            raise DataError(f"{path}: the photo is cut off (no end marker)")
        _refuse_large(path, *photo_header(data)[:2])
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODE[shrink] | cv2.IMREAD_IGNORE_ORIENTATION)
    except (OSError, cv2.error) as error:
        raise DataError(f"{path}: cannot read the photo ({error})") from error
    if image is None:
        raise DataError(f"{path}: not a readable photo")
    return image  # (H, W, 3) BGR


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply EXIF orientation 5..8 (those that swap the sides); others leave the image as it is."""
    if orientation == 5:
        return image.transpose(1, 0, 2)  # (H, W, 3) -> (W, H, 3)
    if orientation == 7:
        return image[::-1, ::-1].transpose(1, 0, 2)  # (H, W, 3) -> (W, H, 3)
    return np.rot90(image, {6: -1, 8: 1}.get(orientation, 0))  # (H, W, 3) -> (W, H, 3)


def is_cut_off(path: Path) -> bool:
    """Whether a JPEG ends before its end marker (decoders then fill the rest with grey and say nothing)."""
    with path.open("rb") as file:
        if file.read(2) != _START:
            return False
        file.seek(max(0, path.stat().st_size - _TAIL))
        return _END not in file.read() and _lacks_end(path.read_bytes())


def _lacks_end(data: bytes) -> bool:
    """Whether no end marker follows the pixels; a thumbnail inside the EXIF segment has one of its own, so skip segments.

    >>> _lacks_end(bytes.fromhex("ffd8 ffe1 0004 ffd9 ffda 0002 11 ffd9")), _lacks_end(bytes.fromhex("ffd8 ffe1 0004 ffd9"))
    (False, True)
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(_END, at) < 0
