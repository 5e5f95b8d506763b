"""Photos and labels laid out as ultralytics reads them; photos of more than twice the canvas averaged, as at judgment."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2

from fusion.views import Shape, average, letterbox
from photos.data import Photo
from photos.learnt import learnt_image
from photos.photo_file import SUFFIXES, photo_kind, read_header
from runs.command import say, ticker
from runs.link import link_or_copy
from stage1_detector.config import DetectorConfig
from stage1_detector.engine import PROGRESS_SECONDS

THREADS = 4  # chosen: that lay photos out
LINKED = ("JPEG", "PNG", "BMP")  # kinds that ultralytics decodes as `read_image` does
SMALLEST_SIDE = 10  # taken: ultralytics leaves out photos with a shorter one
Shrink = Callable[[Photo], int]


def shrink_of(config: DetectorConfig) -> Shrink:
    """By which whole number each photo is averaged, as `View.warp` does at judgment, before ultralytics interpolates it.

    By less where it would have a side below SMALLEST_SIDE, which ultralytics leaves out.
    """
    shape: Shape = "stretch" if config.family == "rtdetr" else "square"

    def shrink(photo: Photo) -> int:
        view = letterbox(photo.width, photo.height, config.size, shape)
        number = replace(view, averaged=config.shrinking == "average").whole_shrink
        return max(1, min(number, min(photo.width, photo.height) // SMALLEST_SIDE))

    return shrink


def as_large(photo: Photo) -> int:
    """1: the photo stays as large as it is."""
    return 1


def link_photos(photos: tuple[Photo, ...], folder: Path, agnostic: bool, prefix: str = "", shrink: Shrink = as_large) -> Path:
    """Lay `photos` out as ultralytics reads them, FOLDER/images + FOLDER/labels, and return FOLDER/images.

    Without a `prefix` what is there is removed: photos of other folds, or ultralytics' cache of other labels. `shrink` says by
    which whole number each photo is averaged.
    """
    if not prefix:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    tell = ticker(f"photos for {folder.name} laid out", PROGRESS_SECONDS)
    with ThreadPoolExecutor(THREADS) as pool:
        links = pool.map(lambda p: _link(p, folder / "images" / f"{prefix}{p.id:08d}", shrink(p)), photos)
        for i, _ in enumerate(links):
            tell(i + 1, len(photos))
    for photo in photos:
        (folder / "labels" / f"{prefix}{photo.id:08d}.txt").write_text(label_lines(photo, agnostic))
    return folder / "images"


def tell_left_out(folder: Path, kept: Sequence[str]) -> None:
    """Say which of the photos laid out in FOLDER ultralytics leaves out, if any: it tells nobody."""
    left = sorted({path.name for path in folder.iterdir()} - {Path(file).name for file in kept})
    if left:
        names = ", ".join(f"{(folder / name).resolve().name}" for name in left[:3])
        say(
            f"{folder.parent.name}: ultralytics leaves out {len(left)} of {len(left) + len(kept)} photos, such as {names}: "
            f"damaged, or with a side below {SMALLEST_SIDE} px"
        )


def _link(photo: Photo, link: Path, shrink: int = 1) -> None:
    """A link named LINK and the suffix of the photo's kind, which ultralytics goes by; or a copy with the pixels to learn from.

    A copy is made of a photo that ultralytics would turn or mirror by EXIF (a JPEG of quality 98), of one that is averaged by
    `shrink`, of one with regions to ignore, and of kinds that ultralytics reads in other ways than we do (PNG, without loss).
    """
    kind, is_turned = photo_kind(photo.path), read_header(photo.path).orientation != 1
    if kind in LINKED and not is_turned and not len(photo.ignored) and shrink == 1:
        link_or_copy(photo.path, link.with_suffix(SUFFIXES[kind]))
        return
    image = cv2.cvtColor(learnt_image(photo), cv2.COLOR_RGB2BGR)
    suffix = ".jpg" if kind == "JPEG" and not len(photo.ignored) and shrink == 1 else ".png"
    quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if suffix == ".jpg" else []
    _, encoded = cv2.imencode(suffix, image if shrink == 1 else average(image, shrink), quality)
    path = link.with_suffix(suffix)
    try:  # cv2.imwrite says nothing where the disk is full
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from None


def label_lines(photo: Photo, agnostic: bool) -> str:
    """The annotations of `photo` in YOLO's text format: a line for each box, class, centre and size as fractions of it."""
    lines = []
    for (x0, y0, x1, y1), label in zip(photo.boxes.astype(float), photo.labels, strict=True):
        cx, cy, w, h = (
            (x0 + x1) / 2 / photo.width,
            (y0 + y1) / 2 / photo.height,
            (x1 - x0) / photo.width,
            (y1 - y0) / photo.height,
        )
        lines.append(f"{0 if agnostic else label} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n")
    return "".join(lines)
