"""The photos of a folder: decoded under one rule for EXIF and one limit of pixels, and put on canvases ahead of their turn."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fusion.views import View, average, flip

MAX_PIXELS = 250_000_000  # chosen: of a photo, for training and judging alike; phones store up to 200 megapixels
EXIF = ("stored", "turned")  # how photos are read: see `decode_photo`
MAX_BYTES = 400_000_000  # chosen: of decoded pixels at once; 10 photos of 12 megapixels, 2 of 50; larger ones wait their turn
HEAD = 1 << 16  # chosen: bytes; nearly all JPEGs have their size in them, of others the whole file is looked at

Image = NDArray[np.uint8]
Item = TypeVar("Item")


class Reading(NamedTuple):
    """A photo, or why it could not be read.

    `seconds`: where it, or the next one, was read beside other work, how long that keeps a photo waiting; 0 where neither was.
    """

    path: Path
    photo: Canvases | None
    error: BaseException | None
    seconds: float


class Canvases:
    """A photo, uint8 (H, W, 3), and its canvases: those of `views` are made once, any other each time it is asked for.

    Where making one fails here, it is left to whoever asks for it.
    """

    def __init__(self, image: Image, views: Iterable[View] = ()) -> None:
        self.image = image
        self.made: dict[tuple[bytes, int, int, int], Image] = {}
        self.averaged: dict[int, Image] = {}  # by what the photo's sides were divided by
        with suppress(Exception):
            for view in views:
                self.made[_key(view)] = self.on(view)

    def on(self, view: View) -> Image:
        """The canvas of `view`, uint8 (height, width, 3); one that mirrors another is made from that."""
        if _key(view) in self.made:
            return self.made[_key(view)]
        straight = flip(view)
        if view.matrix[0, 0] < 0 and _key(straight) in self.made:
            return np.asarray(cv2.flip(self.made[_key(straight)], 1), np.uint8)
        if (number := view.whole_shrink) > 1:
            if number not in self.averaged:
                self.averaged[number] = average(self.image, number)
            return view.warp_averaged(self.averaged[number], self.image.shape[1], self.image.shape[0])
        return view.warp(self.image)


def _key(view: View) -> tuple[bytes, int, int, int]:
    return (view.matrix + 0.0).tobytes(), view.width, view.height, view.whole_shrink  # + 0.0: mirroring twice makes -0.0 of 0.0


class ReadAhead:
    """The photos of `paths` in their order, decoded and put on canvases by threads while the caller works on those before.

    Each `take` hands out the next one. As many as there are threads, and one more, are read ahead as long as their pixels take
    at most MAX_BYTES, with those of the photo handed out last, which the caller must have let go when it takes the next. By
    its header a photo that is too large for that is read when its turn comes, and so is one whose header does not tell its
    size. A thread needs room for a second copy of the photo that it decodes. An exception of any kind costs one photo.
    """

    def __init__(
        self, paths: Sequence[Path], exif: str = "stored", threads: int = 1, prepare: Callable[[Image], Canvases] = Canvases
    ) -> None:
        """`threads` 0 reads each photo when its turn comes. `exif` as in `decode_photo`. `prepare` makes the canvases."""
        self.paths, self.exif, self.threads, self.prepare = deque(paths), exif, threads, prepare
        self.total = len(paths)
        self.ahead: deque[tuple[Path, int, Future[Reading]]] = deque()
        self.bytes_in_use = 0  # of the photo handed out last
        self.executor = ThreadPoolExecutor(threads) if threads else None

    def take(self) -> Reading:
        """The next photo; IndexError where there is none."""
        self.bytes_in_use, before = 0, len(self.ahead)
        self._fill()
        if not self.ahead:
            path = self.paths.popleft()
            self.bytes_in_use = decoded_bytes(path)
            return self._read(path)._replace(seconds=0.0)
        path, self.bytes_in_use, future = self.ahead.popleft()
        self._fill()
        at_once = min(self.threads, max(before, len(self.ahead)))  # photos read; 0: neither this one nor the next is read aside
        error = future.exception()
        read = Reading(path, None, error, 0.0) if error else future.result()
        return read._replace(seconds=read.seconds / at_once if at_once else 0.0)

    def close(self) -> None:
        """Give up what has not been read yet."""
        if self.executor:
            self.executor.shutdown(wait=False, cancel_futures=True)

    def _fill(self) -> None:
        """Hand photos to the threads as far as the limits allow."""
        while self.executor and self.paths and len(self.ahead) <= self.threads:
            size = decoded_bytes(self.paths[0])
            if self.bytes_in_use + sum(waiting for _, waiting, _ in self.ahead) + size > MAX_BYTES:
                return
            try:
                future = self.executor.submit(self._read, self.paths[0])
            except Exception:  # no thread can be started: photos are read in their turn
                self.executor = None
                return
            self.ahead.append((self.paths.popleft(), size, future))

    def _read(self, path: Path) -> Reading:
        started = time.perf_counter()
        try:
            photo = self.prepare(read_photo(path, self.exif))
        except Exception as error:
            return Reading(path, None, error, 0.0)
        return Reading(path, photo, None, time.perf_counter() - started)


class Aside:
    """A thread for small work beside the models: one piece at a time, in the order given. Leaving it waits for the last.

    Where no thread can be started, each piece is done when it is given.
    """

    def __init__(self) -> None:
        self.executor: ThreadPoolExecutor | None = ThreadPoolExecutor(1)
        self.last = Future[Any]()
        self.last.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        wait([self.last])
        if self.executor:
            self.executor.shutdown()

    def __call__(self, work: Callable[..., Item], *args: Any) -> Callable[[], Item]:
        """Begin `work(*args)` when the piece before is done; what is returned waits for its result, or raises its exception."""
        wait([self.last])
        self.last = self._begin(work, *args)
        return self.last.result

    def _begin(self, work: Callable[..., Item], *args: Any) -> Future[Item]:
        if self.executor:
            try:
                return self.executor.submit(work, *args)
            except Exception:  # no thread can be started
                self.executor = None
        done = Future[Item]()
        try:
            done.set_result(work(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """`items` in their order, each but the first made `Aside`, while the caller works on the one before.

    Raises what making one does.
    """
    end: Any = object()
    item = next(items, end)  # nothing goes on beside it, so it waits for no thread to wake
    with Aside() as aside:
        while item is not end:
            coming = aside(next, items, end)
            yield item
            item = coming()


def threads_beside(providers: set[str]) -> int:
    """How many threads read photos ahead beside models on onnxruntime's `providers`.

    One beside models on the CPU, whose own threads need the processors. Otherwise all processors but the one that feeds the
    GPU: three large detectors on an H200 waited for half of four to decode photos of 12 megapixels, twice as long as they ran.
    """
    return 1 if "CPUExecutionProvider" in providers else max(1, cv2.getNumberOfCPUs() - 1)


def find_photos(folder: Path) -> dict[int, Path]:
    """Photos by image id (the last number in the name), in the order of their names; of two with one id the first counts."""
    photos: dict[int, Path] = {}
    if not folder.is_dir():
        logging.warning("%s: not a folder", folder)
    for path in sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in {".jpg", ".jpeg"}):
        numbers = re.findall(r"[0-9]+", path.stem)
        if not path.is_file():  # reading a pipe could block forever
            logging.warning("%s: skipped: not a file", path.name)
        elif numbers and int(numbers[-1]) not in photos:
            photos[int(numbers[-1])] = path
        else:
            logging.warning("%s: skipped: %s", path.name, "its number came before" if numbers else "no number in its name")
    return photos


def file_bytes(path: Path) -> int:
    """Bytes of a file; 0 where they cannot be read."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def decoded_bytes(path: Path) -> int:
    """Bytes of a JPEG's pixels, by its header; MAX_BYTES where that cannot be read or does not tell."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            width, height, _ = photo_header(head)
            if not width:
                width, height, _ = photo_header(head + file.read())
    except Exception:
        return MAX_BYTES
    return 3 * width * height or MAX_BYTES


def read_photo(path: Path, exif: str = "stored") -> Image:
    """The pixels, uint8 (H, W, 3) RGB, read by the rule `exif`. OSError if unreadable, ValueError if no photo or too large."""
    return decode_photo(path.read_bytes(), exif)


def decode_photo(data: bytes, exif: str = "stored") -> Image:
    """The pixels (H, W, 3), RGB, of a photo file's bytes. ValueError where it is no photo, or a JPEG of more than MAX_PIXELS.

    The stored pixels; with `exif` "turned" those that EXIF turns upright, where that swaps the sides: only there the size in a
    data set's JSON says that the labels mean them. Half turns, mirroring and square photos are read as stored in both cases.
    """
    width, height, orientation = photo_header(data)
    if width * height > MAX_PIXELS:
        raise ValueError(f"got {width} x {height} pixels, need at most {MAX_PIXELS // 10**6} megapixels")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None  # (H, W, 3)
    if bgr is None:
        raise ValueError(f"damaged, cut off or not a photo: {len(data)} bytes that cannot be decoded")
    rgb, bgr = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), None  # two copies at most, also where it is turned
    turns = exif == "turned" and rgb.shape[0] != rgb.shape[1]
    return np.ascontiguousarray(turned(rgb, orientation)) if turns else rgb  # (H, W, 3) or (W, H, 3)


def turned(image: Image, orientation: int) -> Image:
    """`image` (H, W, 3) turned by an EXIF orientation 5..8, (W, H, 3); others, which keep the sides, leave it as it is."""
    if orientation in (5, 7):
        return (image if orientation == 5 else image[::-1, ::-1]).transpose(1, 0, 2)  # (H, W, 3) -> (W, H, 3)
    return np.rot90(image, {6: -1, 8: 1}.get(orientation, 0))  # (H, W, 3) -> (W, H, 3)


def photo_header(data: bytes) -> tuple[int, int, int]:
    """Width, height and EXIF orientation (1..8) of a JPEG's stored pixels, from its first bytes.

    For other files 0, 0 and the orientation of a PNG or WebP, else 1: OpenCV always turns a TIFF.
    """
    at, orientation = 2, 1
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big"), orientation
        if marker == 0xE1 and orientation == 1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10 : at + 2 + length])
        at += 1 if marker == 0xFF else 2 + length
    return 0, 0, _orientation_in_chunks(data)


def _orientation_in_chunks(data: bytes) -> int:
    """The EXIF orientation of a PNG, where it stands before the pixels, or of a WebP; 1 for other files."""
    png, webp = data[:8] == b"\x89PNG\r\n\x1a\n", data[:4] + data[8:12] == b"RIFFWEBP"
    at = 8 if png else 12
    while (png or webp) and at + 8 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        name, length = (second, int.from_bytes(first, "big")) if png else (first, int.from_bytes(second, "little"))
        if name in (b"eXIf", b"EXIF"):
            return _orientation(data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 12 + length if png else 8 + length + length % 2
    return 1


def _orientation(tiff: bytes) -> int:
    """The orientation in an EXIF segment; 1 where it has none, or one that is not in 1..8."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    start = int.from_bytes(tiff[4:8], order)
    for entry in range(start + 2, start + 2 + 12 * int.from_bytes(tiff[start : start + 2], order), 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == 0x0112:
            value = int.from_bytes(tiff[entry + 8 : entry + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1
