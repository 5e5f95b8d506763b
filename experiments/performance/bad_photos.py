"""Folders that a judge could hand to run.py by mistake or malice, and JPEGs with bytes changed at random."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (96, 64)  # of most photos here, width and height in pixels
NAME = "img_00001.jpg"


def picture(width: int = SIZE[0], height: int = SIZE[1]) -> Image.Image:
    """A photo with some structure, RGB."""
    y, x = np.mgrid[:height, :width]
    planes = [(x * 255 // max(1, width - 1)), (y * 255 // max(1, height - 1)), ((x // 8 + y // 8) % 2 * 255)]
    return Image.fromarray(np.stack(planes, 2).astype(np.uint8))


def jpeg(path: Path, image: Image.Image | None = None, **options: object) -> None:
    """A JPEG at `path`, whatever the suffix of its name."""
    (image or picture()).save(path, "JPEG", **options)


def truncated(folder: Path, share: float) -> None:
    jpeg(folder / NAME)
    data = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(data[: max(1, int(len(data) * share))])


def oriented(folder: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    jpeg(folder / NAME, exif=exif)


def sixteen_bit(folder: Path) -> None:
    data = cv2.imencode(".png", np.asarray(picture()).astype(np.uint16) * 257)[1]
    (folder / NAME).write_bytes(data.tobytes())


def huge(folder: Path) -> None:
    image = np.zeros((9000, 12000, 3), np.uint8)
    image[4000:5000, 4000:5000] = 200
    (folder / NAME).write_bytes(cv2.imencode(".jpg", image)[1].tobytes())


def unreadable(folder: Path) -> None:
    """No permission, and for root, whom that does not stop, a link that points nowhere."""
    jpeg(folder / NAME)
    (folder / NAME).chmod(0)
    (folder / "img_00002.jpg").symlink_to(folder / "nowhere.jpg")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / NAME)


def named(*names: str) -> Callable[[Path], None]:
    """A folder of good photos under these names."""

    def make(folder: Path) -> None:
        for name in names:
            jpeg(folder / name)

    return make


def one_photo(save: Callable[[Path], object]) -> Callable[[Path], None]:
    """A folder of one photo, which `save` puts at the path it is given."""
    return lambda folder: save(folder / NAME) and None


def cut(share: float) -> Callable[[Path], None]:
    return lambda folder: truncated(folder, share)


def turned(orientation: int) -> Callable[[Path], None]:
    return lambda folder: oriented(folder, orientation)


# Each turns an existing, empty folder into a case; "missing folder" removes it.
CASES: dict[str, Callable[[Path], object]] = {
    "empty folder": lambda folder: None,
    "missing folder": lambda folder: folder.rmdir(),
    "empty file": one_photo(lambda path: path.write_bytes(b"")),
    **{f"truncated at {k} of 20": cut(k / 20) for k in range(20)},
    "PNG named .jpg": one_photo(lambda path: picture().save(path, "PNG")),
    "GIF named .jpg": one_photo(lambda path: picture().save(path, "GIF")),
    "CMYK": one_photo(lambda path: jpeg(path, picture().convert("CMYK"))),
    "grey": one_photo(lambda path: jpeg(path, picture().convert("L"))),
    "16 bit": sixteen_bit,
    "palette": one_photo(lambda path: picture().convert("P").save(path, "PNG")),
    "with alpha": one_photo(lambda path: picture().convert("RGBA").save(path, "PNG")),
    "progressive": one_photo(lambda path: jpeg(path, progressive=True)),
    **{f"EXIF orientation {k}": turned(k) for k in range(1, 9)},
    "1 x 1": one_photo(lambda path: jpeg(path, picture(1, 1))),
    "1 x 5000": one_photo(lambda path: jpeg(path, picture(1, 5000))),
    "5000 x 1": one_photo(lambda path: jpeg(path, picture(5000, 1))),
    "12000 x 9000": huge,
    "text file": one_photo(lambda path: path.write_text("no photo")),
    "folder named as a photo": one_photo(lambda path: path.mkdir()),
    "pipe named as a photo": pipe,
    "names without digits": named("shelf.jpg", "hylle.jpg"),
    "names with spaces": named("my shelf 1.jpg", " img 2 .jpg"),
    "unicode names": named("hylle_ø_1.jpg", "棚_2.jpg", "img_٣.jpg", "\udcff_4.jpg"),
    "upper-case suffix": named("img_1.JPG", "img_2.JPEG", "img_3.JpEg"),
    "two names with one id": named("img_1.jpg", "img_01.jpg", "img_1.jpeg"),
    "a number too long for 64 bits": named(f"img_{'9' * 40}.jpg"),
    "unreadable file": unreadable,
    "a file in place of the folder": lambda folder: (folder.rmdir(), folder.write_text("no folder")),
}
SLOW = ("12000 x 9000",)


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """`data` with one to eight bytes changed, and at times a piece cut out or repeated."""
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        changed[place] = rng.integers(0, 256)
    start, stop = sorted(rng.integers(0, len(data), 2).tolist())
    match rng.integers(0, 8):
        case 0:
            del changed[start:stop]
        case 1:
            changed[start:start] = changed[start:stop]
    return bytes(changed)


def write_mutated(folder: Path, count: int, seed: int = 0) -> None:
    """`count` JPEGs, each of one of three good ones (plain, progressive, grey), mutated."""
    rng, good = np.random.default_rng(seed), []
    for options in ({}, {"progressive": True}, {"image": picture().convert("L")}):
        jpeg(folder / NAME, **options)
        good.append((folder / NAME).read_bytes())
    for i in range(count):
        (folder / f"img_{i:05d}.jpg").write_bytes(mutated(rng, good[i % len(good)]))
