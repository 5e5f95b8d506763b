"""What a file is, a photo or a video, by its first bytes; by its suffix only where these are unknown or cannot be read.

A file that is called a stream of JPEGs begins as a photo: it is a video where another JPEG follows.
"""

from pathlib import Path
from typing import Literal

from recognition import jpeg_stream

Kind = Literal["photo", "video", "other"]
HEAD = 16  # bytes that tell
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".gif"}
)
VIDEO_SUFFIXES = jpeg_stream.SUFFIXES | {
    *(".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".mpg", ".mpeg", ".wmv", ".mts")
}
PHOTO_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP  ")
VIDEO_STARTS = (b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"FLV\x01")
BOXES = (b"ftyp", b"moov", b"mdat")  # the first box of an ISO media file, at byte 4, after its length in 32 bits
FILLERS = (b"wide", b"free")  # likewise; words of texts, too, in which bytes 0-3 are too large a length
LONGEST_FILLER = 1 << 24  # chosen: bytes; four letters are 2^29 or more
STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif")  # of an ISO media file that is a photo
UNREAD = {b"GIF8": "GIF", **dict.fromkeys(STILL_BRANDS, "HEIC or AVIF")}


def file_kind(path: Path) -> Kind:
    """The kind of the file at `path`, read for its first HEAD bytes only; one called a stream up to its second JPEG."""
    kind = _kind_of_bytes(_head(path)) or _kind_of_suffix(path)
    return "video" if kind == "photo" and jpeg_stream.is_stream(path) else kind


def unread_format(path: Path) -> str:
    """The name of a format of photos that nothing here decodes; empty for another file."""
    head = _head(path)
    return next((name for mark, name in UNREAD.items() if head.startswith(mark) or head[4:12] == b"ftyp" + mark), "")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _kind_of_bytes(head: bytes) -> Kind | None:
    """The kind that the first bytes of a file tell; None where they tell nothing.

    >>> _kind_of_bytes(b"RIFF....WEBPVP8 "), _kind_of_bytes(b"....ftypheic...."), _kind_of_bytes(b"....ftypisom....")
    ('photo', 'photo', 'video')
    >>> _kind_of_bytes(b"\\0\\0\\0\\x08wide\\0\\0\\0\\0mdat"), _kind_of_bytes(b"The free samples ")
    ('video', None)
    >>> _kind_of_bytes(b"BMx is no bitmap") is None
    True
    """
    is_filler = head[4:8] in FILLERS and 8 <= int.from_bytes(head[:4], "big") < LONGEST_FILLER
    if head[4:8] in BOXES or is_filler:
        return "photo" if head[8:12] in STILL_BRANDS else "video"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "photo", b"AVI ": "video"}.get(head[8:12])  # type: ignore[return-value]  # of Kind by construction
    bitmap = head.startswith(b"BM") and head[6:10] == bytes(4)
    if bitmap or head.startswith(PHOTO_STARTS):
        return "photo"
    return "video" if head.startswith(VIDEO_STARTS) else None


def _kind_of_suffix(path: Path) -> Kind:
    suffix = path.suffix.lower()
    return "photo" if suffix in PHOTO_SUFFIXES else "video" if suffix in VIDEO_SUFFIXES else "other"
