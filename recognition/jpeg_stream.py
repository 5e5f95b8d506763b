"""JPEGs one after the other in one file, as some cameras write a video: nothing before, between or after tells of times."""

import mmap
from pathlib import Path

from photos.jpeg_scan import scan_at

SUFFIXES = frozenset({".mjpeg", ".mjpg"})  # a .jpg may have a second JPEG behind it, too, and is one photo
_START, _END = b"\xff\xd8\xff", b"\xff\xd9"  # JPEG markers: SOI and the next one; EOI


def is_stream(path: Path) -> bool:
    """Whether the file is called a stream, and another JPEG follows its first one; OSError where it cannot be read.

    A thumbnail, which stands before the first scan, is none.
    """
    if path.suffix.lower() not in SUFFIXES or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = data.find(_END, scan_at(data)) if data[: len(_START)] == _START else -1
        return end >= 0 and data.find(_START, end) >= 0


def ends_early(path: Path) -> bool:
    """Whether the last JPEG of a stream has no end, so that decoders fill it with grey and say nothing."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.rfind(_END) < data.rfind(_START)
