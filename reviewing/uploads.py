"""A photo that a visitor sends: its bytes are counted as they come, and its pixels by the header, before they are decoded."""

import tempfile
from collections.abc import AsyncIterable
from pathlib import Path
from typing import NamedTuple

import cv2

from photos.photo_file import DataError, read_header
from recognition.file_kind import file_kind, unread_format
from recognition.frames import Frame, read_photo
from recognition.inputs import Input

MEGABYTE = 1_000_000
NAME = "photo"  # of the file that an upload is kept in while it is read


class Limits(NamedTuple):
    """What is taken: bytes of a file, pixels of a photo, pixels of its longer side."""

    bytes: int = 30 * MEGABYTE  # chosen: a phone's photo of 50 megapixels has 12 to 25 MB
    pixels: int = 60_000_000  # chosen: what phones take; 180 MB once decoded
    side: int = 20_000  # chosen: beyond are panoramas and files made to do harm


class Refused(ValueError):
    """An upload that is not taken; `status` is that of the HTTP answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def received(chunks: AsyncIterable[bytes], declared: str | None, limits: Limits, folder: Path) -> Path:
    """The body of a request, in a file in FOLDER. Refused where it has no bytes, or more than allowed (`declared` or sent)."""
    if declared and declared.isdecimal() and int(declared) > limits.bytes:
        raise too_many_bytes(int(declared), limits)
    path, count = folder / NAME, 0
    with path.open("wb") as file:
        async for chunk in chunks:
            count += len(chunk)
            if count > limits.bytes:
                raise too_many_bytes(count, limits)
            file.write(chunk)
    if not count:
        raise Refused(400, "no bytes came; send the photo itself as the body of the request")
    return path


def too_many_bytes(count: int, limits: Limits) -> Refused:
    """What is said of a file of `count` bytes or more."""
    most = limits.bytes // MEGABYTE
    return Refused(413, f"the file has {count / MEGABYTE:.0f} MB or more, at most {most} MB are taken; send a smaller JPEG")


def opened(path: Path, name: str, exif: str, limits: Limits) -> Frame:
    """The photo in the file at PATH, called `name`. Refused where it is none, or too large, or cannot be decoded."""
    if format_name := unread_format(path):
        raise Refused(415, f"{name}: {format_name} is not read; export it as JPEG")
    if file_kind(path) != "photo":
        raise Refused(415, f"{name}: not a photo; JPEG, PNG, WebP, BMP and TIFF are taken")
    try:
        header = read_header(path)
        refuse_large(name, header.width, header.height, limits)
        frame = read_photo(Input(path, name, False), exif)
    except Refused:
        raise
    except (DataError, ValueError, OSError, MemoryError, cv2.error) as error:
        reason = " ".join(str(error).split()).removeprefix(f"{path.name}: ")
        if "megapixels" in reason or "decompression bomb" in reason:  # beyond the limits of `read_header` and of Pillow
            size = reason.partition(", need")[0] if "megapixels" in reason else "the photo has a huge number of pixels"
            raise Refused(413, f"{name}: {size}, {allowed(limits)}") from None
        raise Refused(422, f"{name}: cannot be read ({reason})") from None
    refuse_large(name, frame.image.shape[1], frame.image.shape[0], limits)
    return frame


def refuse_large(name: str, width: int, height: int, limits: Limits) -> None:
    """Refused where a photo of that size has too many pixels."""
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise Refused(413, f"{name}: the photo is {width}x{height} pixels, {allowed(limits)}")


def allowed(limits: Limits) -> str:
    """How many pixels are taken, and the remedy."""
    return f"at most {limits.pixels // 10**6} megapixels and {limits.side} pixels a side are taken; scale it down"


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of its own for one upload."""
    return tempfile.TemporaryDirectory(prefix="hylle-upload-")
