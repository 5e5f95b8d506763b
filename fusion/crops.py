"""Boxes on a photo become the classifier's input: letterboxed, never squashed (squashing cost entrants 0.23).

Training and judging cut their crops here, so a crop cannot differ between the two.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from fusion.boxes import Floats, clip
from fusion.views import PADDING, letterbox

Image = npt.NDArray[np.uint8]


def crop(image: Image, box: Floats, size: int, margin: float) -> Image:
    """The part of `image` under `box` (4,), letterboxed to uint8 (size, size, 3).

    The box is widened by `margin` of its width and height on each side, then cut to the photo and rounded outwards to whole
    pixels. Shrinking averages over area, so that fine print does not alias. A box without area gives grey.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box)
    grow_x, grow_y = margin * (x1 - x0), margin * (y1 - y0)
    wide = clip(np.array([[x0 - grow_x, y0 - grow_y, x1 + grow_x, y1 + grow_y]]), image.shape[1], image.shape[0])[0]
    left, top = (int(edge) for edge in np.floor(wide[:2]))
    right, bottom = (int(edge) for edge in np.ceil(wide[2:]))
    if right <= left or bottom <= top:
        return np.full((size, size, 3), PADDING, np.uint8)
    shrinks = max(right - left, bottom - top) > size
    view = letterbox(right - left, bottom - top, size)
    return view.warp(image[top:bottom, left:right], cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def batches(image: Image, boxes: Floats, size: int, margin: float, batch: int) -> Iterator[tuple[Image, int]]:
    """Crops of `boxes` (N, 4) as uint8 (batch, size, size, 3), the last filled up with grey; with each, how many count."""
    for start in range(0, len(boxes), batch):
        part = boxes[start : start + batch]
        crops = np.full((batch, size, size, 3), PADDING, np.uint8)  # (batch, size, size, 3)
        for i, box in enumerate(part):
            crops[i] = crop(image, box, size, margin)
        yield crops, len(part)
