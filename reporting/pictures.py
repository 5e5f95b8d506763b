"""Crops and whole photos as they stand in the page: JPEG in data URIs. Each photo is read once, whatever is asked of it."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from photos.data import Photo, read_image

CROP_SIDE, PHOTO_SIDE = 96, 1100  # chosen: pixels, the longest side; a crop is shown at this size or smaller
CROP_QUALITY, PHOTO_QUALITY = 80, 70  # chosen: of JPEG, in percent


class View(NamedTuple):
    """A part of a photo, x0 y0 x1 y1 in its pixels, or the whole where `box` is None."""

    photo: int
    box: tuple[float, float, float, float] | None = None


class Picture(NamedTuple):
    """An encoded picture and its size in pixels."""

    uri: str
    width: int
    height: int


def crop_of(photo: int, box: np.ndarray) -> View:
    """The view of a box (4,) on the photo of this id."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return View(photo, (x0, y0, x1, y1))


def encode(views: Iterable[View], photos: Sequence[Photo]) -> dict[View, Picture]:
    """The picture of each view. DataError for a photo that cannot be read."""
    wanted: dict[int, list[View]] = defaultdict(list)
    for view in dict.fromkeys(views):
        wanted[view.photo].append(view)
    by_id = {photo.id: photo for photo in photos}
    pictures: dict[View, Picture] = {}
    for number, own in wanted.items():
        photo = by_id[number]
        image = read_image(photo.path, photo.width, photo.height)
        pictures |= {view: picture_of(image, view) for view in own}
    return pictures


def picture_of(image: np.ndarray, view: View) -> Picture:
    """One view of a photo, uint8 (H, W, 3) RGB."""
    if view.box is None:
        return jpeg(image, PHOTO_SIDE, PHOTO_QUALITY)
    height, width = image.shape[:2]
    x0, y0 = (int(np.clip(np.floor(value), 0, most - 1)) for value, most in zip(view.box[:2], (width, height), strict=True))
    x1, y1 = int(np.ceil(min(view.box[2], width))), int(np.ceil(min(view.box[3], height)))
    return jpeg(image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], CROP_SIDE, CROP_QUALITY)


def jpeg(image: np.ndarray, side: int, quality: int) -> Picture:
    """A picture, uint8 (H, W, 3) RGB, scaled down to `side` pixels at most."""
    scale = min(1.0, side / max(image.shape[:2]))
    width, height = (max(1, round(length * scale)) for length in image.shape[1::-1])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else image
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"report: a picture of {width} x {height} pixels could not be encoded as JPEG")
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}", width, height)
