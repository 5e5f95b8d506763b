"""Ways to shrink a photo to a detector's canvas, and copies of data sets that are shrunk so.

A photo that is shrunk before a detector asks for it fills its canvas as it is. So a detector can be trained and judged on
canvases made in any way, with no change to what makes them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from fusion.views import Image, letterbox
from photos.data import Dataset, Photo, read_image
from photos.formats import writing

Size = tuple[int, int]  # width and height, pixels
PIXELS = "pixels"  # folder of the shrunk photos
SNAP = 1e-9  # derived: far below the reciprocal of any photo's side


def linear(image: Image, size: Size) -> Image:
    """Two by two pixels around each place: ultralytics' way, and that of canvases. Beyond a half it leaves pixels out."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def area(image: Image, size: Size) -> Image:
    """The mean of all that a pixel covers, wherever a photo becomes smaller."""
    return (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        if shrink(image, size) > 1
        else linear(image, size)
    )


def area_below_half(image: Image, size: Size) -> Image:
    """`area` where a photo becomes less than half as large, otherwise `linear`."""
    return area(image, size) if shrink(image, size) > 2 else linear(image, size)


def area_then_linear(image: Image, size: Size) -> Image:
    """`area` by the largest whole number that leaves no side too small, then `linear`."""
    number, (height, width) = int(shrink(image, size) + SNAP), image.shape[:2]
    return linear(area(image, (width // number, height // number)) if number > 1 else image, size)


def shrink(image: Image, size: Size) -> float:
    """How many times smaller the photo becomes: of both sides, the lesser number; below 1 where it becomes larger."""
    return min(image.shape[1] / size[0], image.shape[0] / size[1])


WAYS: dict[str, Callable[[Image, Size], Image]] = {
    "linear": linear,
    "area": area,
    "area_below_half": area_below_half,
    "area_then_linear": area_then_linear,
}
BASE = "linear"


def size_on_canvas(photo: Photo, side: int) -> Size:
    """How large `photo` lies on a canvas of `side` pixels."""
    view = letterbox(photo.width, photo.height, side)
    return round(view.matrix[0, 0] * photo.width), round(view.matrix[1, 1] * photo.height)


def boxes_at(photo: Photo, boxes: np.ndarray, size: Size) -> np.ndarray:
    """`boxes` (N, 4) of `photo` in pixels of its copy of `size`."""
    return np.asarray(boxes * np.tile(np.divide(size, (photo.width, photo.height)), 2), np.float32)


def resized(photo: Photo, size: Size, path: Path) -> Photo:
    """The record of a copy of `photo` of `size`, in PATH."""
    boxes, ignored = (boxes_at(photo, boxes, size) for boxes in (photo.boxes, photo.ignored))
    name = str(PurePosixPath(photo.name).with_suffix(path.suffix))
    return replace(photo, path=path, name=name, width=size[0], height=size[1], boxes=boxes, ignored=ignored)


def shrunk(photo: Photo, side: int, way: str) -> Image:
    """`photo` as large as it lies on a canvas of `side` pixels, uint8 (H, W, 3)."""
    return WAYS[way](read_image(photo.path, photo.width, photo.height), size_on_canvas(photo, side))


def write_set(dataset: Dataset, photos: dict[str, Sequence[Photo]], side: int, way: str, out: Path) -> None:
    """Write a copy of `dataset` to OUT: its `photos` of each part, shrunk to canvases of `side` pixels, without loss.

    OSError where a photo cannot be written.
    """
    pixels = out.with_name(f"{out.name}_{PIXELS}")
    pixels.mkdir(parents=True, exist_ok=True)
    copies = []
    for part, of_part in photos.items():
        for photo in of_part:
            path = pixels / f"{photo.id}.png"
            if not cv2.imwrite(str(path), cv2.cvtColor(shrunk(photo, side, way), cv2.COLOR_RGB2BGR)):
                raise OSError(f"{path}: cannot be written")
            copies.append(replace(resized(photo, size_on_canvas(photo, side), path), part=part))
    writing.write(replace(dataset, root=pixels, photos=tuple(copies)), "coco", out)
