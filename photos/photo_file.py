"""A photo on disk: its size and EXIF orientation from the header, and its pixels as the annotations count them.

What a file is follows from its first bytes, not from its suffix: JPEG, PNG, WebP, BMP and TIFF are photos.

Phones store a portrait photo in landscape, with an EXIF orientation (5..8) that says how to turn it. Labelling tools differ
in whether they apply it. **The rule**: the size in the JSON shows which of the two the boxes mean, so `read_image` needs it.
Where it shows nothing, since EXIF leaves the size as it is (the orientations 2, 3 and 4, and square photos), the stored pixels
are meant. No photo may have more than MAX_PIXELS. Otherwise this knows nothing about annotations.
"""

import struct
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from fusion.reading import MAX_PIXELS, photo_header, turned
from photos.jpeg_scan import scan_at

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # else Pillow refuses photos beyond 179 megapixels, in ultralytics too
cv2.setLogLevel(0)  # what is wrong with a photo is told with its name
_START, _END = b"\xff\xd8", b"\xff\xd9"  # JPEG markers SOI, EOI
_HEAD = 1 << 16  # bytes in which a JPEG's header usually ends; else the whole file is read
_TAIL = 64  # bytes in which a whole JPEG or PNG usually ends; longer trailers cost one full read
_EXIF_ORIENTATION = 0x0112  # taken: the tag's number, in EXIF and TIFF
_OFFSETS_AND_SIZES = ((273, 279), (324, 325))  # taken: TIFF's tags of strips and tiles
_BMP_FIELDS = (("<I", 10, 14), ("<I", 14, 18), ("<H", 28, 30))  # taken: start of the pixels, size of the header, bits a pixel
_THREADS = 8  # chosen: headers read at once; a disk in the network answers slowly
_DECODE = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}  # the usual suffix of each kind
_ANIMATED = 2  # taken: a bit of the flags in an extended WebP's header
_TIFF = (b"II*\0", b"MM\0*")
_HEIC = (b"heic", b"heix", b"mif1", b"msf1", b"heif", b"avif")  # brands of the photos that some phones store
Progress = Callable[[int, int], None]  # photos done, photos in all


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


class _Inspected(NamedTuple):
    header: Header
    kind: str
    is_cut_off: bool


def read_header(path: Path) -> Header:
    """Read size and orientation without decoding pixels. DataError naming the file if that fails, or if it is too large.

    OpenCV always turns a TIFF as it says: its header is that of the turned pixels.
    """
    header = _inspected(path).header
    _refuse_large(path, header.width, header.height)
    return header


def read_headers(paths: Iterable[Path], progress: Progress | None = None) -> None:
    """Read the headers of photos, several at once, so that `read_header` has them; what is damaged is told there."""
    paths = list(paths)
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, _ in enumerate(pool.map(_is_readable, paths)):
            if progress:
                progress(done + 1, len(paths))


def _is_readable(path: Path) -> bool:
    try:
        _inspected(path)
    except DataError:
        return False
    return True


def photo_kind(path: Path) -> str:
    """The kind of a photo file, one of SUFFIXES, by its content. DataError naming the file for any other file."""
    return _inspected(path).kind


def begins_as_photo(path: Path) -> bool:
    """Whether the first bytes are those of a photo, of HEIC too, which is refused; the rest may be damaged."""
    with path.open("rb") as file:
        head = file.read(12)
    try:
        return bool(_kind(head))
    except ValueError:
        return _is_heic(head)


def is_cut_off(path: Path) -> bool:
    """Whether the file ends before the photo does (of a JPEG decoders then fill the rest with grey and say nothing)."""
    return _inspected(path).is_cut_off


def _inspected(path: Path) -> _Inspected:
    """What the first and last bytes of a file tell; read again only where its size or time of change is another."""
    try:
        status = path.stat()
        return _inspect(path, status.st_size, status.st_mtime_ns)
    except Exception as error:  # Pillow raises nearly anything on a damaged file
        reason = str(error) or type(error).__name__
        if isinstance(error, (UnidentifiedImageError, ImportError)):  # with a path; ultralytics then looks for a HEIC reader
            reason = "damaged, or of a form that is not read"
        remedy = "" if "remove it" in reason else "; get it again, or remove it and its boxes"
        raise DataError(f"{path.name}: not a readable photo ({reason}{remedy})") from error


@lru_cache(maxsize=200_000)
def _inspect(path: Path, size: int, mtime_ns: int) -> _Inspected:
    with path.open("rb") as file:
        head = file.read(_HEAD)
        kind = _kind(head)
        if kind == "JPEG":
            return _Inspected(_jpeg_header(file, head), kind, _jpeg_is_cut_off(file, size))
        if kind == "WebP" and int(struct.unpack("<I", head[4:8])[0]) + 8 > size:
            raise ValueError("the photo is cut off; get it again, or remove it and its boxes")
        if kind == "WebP" and head[12:16] == b"VP8X" and head[20] & _ANIMATED:
            raise ValueError("got an animated WebP, need a still photo; convert or remove it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is damaged, and of large photos
            with Image.open(path) as image:
                return _Inspected(_other_header(image, kind), kind, _other_is_cut_off(image, kind, file, size))


def _kind(head: bytes) -> str:
    """The kind of photo that begins with these bytes. ValueError for any other file."""
    if head.startswith(_START):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM"):
        return "BMP"
    if head[:4] in _TIFF:
        return "TIFF"
    got = "another kind of file" if head else "0 bytes"
    if _is_heic(head):
        got = "a HEIC or AVIF photo"
    raise ValueError(f"got {got}, need {', '.join(SUFFIXES)}; convert or remove it")


def _is_heic(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC


def _jpeg_header(file: BinaryIO, head: bytes) -> Header:
    found = photo_header(head)
    found = found if found[0] else photo_header(head + file.read())
    if not found[0]:
        raise ValueError("its header is damaged")
    return Header(*found)


def _other_header(image: Image.Image, kind: str) -> Header:
    has_exif = kind == "TIFF" or "exif" in image.info
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1) if has_exif else 1
    header = Header(*image.size, orientation if orientation in range(1, 9) else 1)
    return Header(*header.turned(), 1) if kind == "TIFF" else header


def _jpeg_is_cut_off(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - _TAIL))
    if _END in file.read():
        return False
    file.seek(0)
    return _lacks_end(file.read())


def _other_is_cut_off(image: Image.Image, kind: str, file: BinaryIO, size: int) -> bool:
    """Whether a file of `size` bytes lacks what its header promises: an end marker, or bytes."""
    if kind == "PNG":
        file.seek(max(0, size - _TAIL))
        if b"IEND" in file.read():
            return False
        file.seek(0)
        return b"IEND" not in file.read()
    if kind == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]  # of a TiffImageFile
        pairs = [pair for at, of in _OFFSETS_AND_SIZES for pair in zip(tags.get(at, ()), tags.get(of, ()), strict=False)]
        return any(start + length > size for start, length in pairs)
    file.seek(0)
    head = file.read(30)
    if kind == "WebP":  # Pillow reads none that is cut off
        return False
    start, header_size, bits = (struct.unpack(form, head[at:end])[0] for form, at, end in _BMP_FIELDS)
    plain = header_size >= 40 and image.info.get("compression") == 0  # else the rows have no fixed length
    return bool(plain and start + (image.width * bits + 31) // 32 * 4 * image.height > size)


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
    image = _decode(path, shrink)  # alpha is left out, 16 bits become 8, grey becomes RGB
    if image.shape[:2] != (expected := (-(-height // shrink), -(-width // shrink))):
        image = turned(image, read_header(path).orientation)
    if image.shape[:2] != expected:
        raise DataError(f"{path}: got {image.shape[1]}x{image.shape[0]} pixels, need {expected[1]}x{expected[0]}")
    return np.ascontiguousarray(image[..., ::-1])  # (H, W, 3) BGR -> RGB


def _decode(path: Path, shrink: int) -> np.ndarray:
    try:
        data = path.read_bytes()  # not cv2.imread: that fails on some names
        if data.startswith(_START) and _lacks_end(data):
            raise DataError(f"{path}: the photo is cut off (no end marker)")
        read_header(path)
        reduced = shrink if data.startswith(_START) else 1  # of other kinds OpenCV drops the last pixels, which may be all
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODE[reduced] | cv2.IMREAD_IGNORE_ORIENTATION)
    except (OSError, cv2.error) as error:
        raise DataError(f"{path}: cannot read the photo ({error})") from error
    if image is None:
        raise DataError(f"{path}: not a readable photo")
    return image if reduced == shrink else _shrunk(image, shrink)  # (H, W, 3) BGR


def _shrunk(image: np.ndarray, shrink: int) -> np.ndarray:
    """The image (H, W, 3) at 1 / `shrink` of its sides, rounded up, as a JPEG's are: what the last pixels lack they repeat.

    >>> _shrunk(np.zeros((3, 1, 3), np.uint8), 2).shape
    (2, 1, 3)
    """
    height, width = image.shape[:2]
    image = cv2.copyMakeBorder(image, 0, -height % shrink, 0, -width % shrink, cv2.BORDER_REPLICATE)  # (H', W', 3)
    size = image.shape[1] // shrink, image.shape[0] // shrink
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT)  # as OpenCV shrinks where nothing is left over


def _lacks_end(data: bytes) -> bool:
    """Whether no end marker follows the pixels; a thumbnail inside the EXIF segment has one of its own, so skip segments.

    >>> _lacks_end(bytes.fromhex("ffd8 ffe1 0004 ffd9 ffda 0002 11 ffd9")), _lacks_end(bytes.fromhex("ffd8 ffe1 0004 ffd9"))
    (False, True)
    """
    return data.find(_END, scan_at(data)) < 0
