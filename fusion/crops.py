"""Boxes on a photo become the classifier's input: letterboxed, unless asked to be squashed (which cost entrants 0.23).

Training and judging cut their crops here, so a crop cannot differ between the two.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from fusion.boxes import Floats, clip
from fusion.views import PADDING, letterbox

Image = npt.NDArray[np.uint8]
FITS = ("letterbox", "squash")


def crop(image: Image, box: Floats, size: int, margin: float, fit: str = "letterbox") -> Image:
    """The part of `image` under `box` (4,), letterboxed or, by `fit`, squashed to uint8 (size, size, 3).

    The box is widened by `margin` of its width and height on each side, then cut to the photo and rounded outwards to whole
    pixels. Shrinking averages over area, so that fine print does not alias. A box without area gives grey. ValueError for a
    `fit` that is not one of FITS.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box)
    grow_x, grow_y = margin * (x1 - x0), margin * (y1 - y0)
    wide = clip(np.array([[x0 - grow_x, y0 - grow_y, x1 + grow_x, y1 + grow_y]]), image.shape[1], image.shape[0])[0]
    left, top = (int(edge) for edge in np.floor(wide[:2]))
    right, bottom = (int(edge) for edge in np.ceil(wide[2:]))
    if right <= left or bottom <= top:
        return np.full((size, size, 3), PADDING, np.uint8)
    how = cv2.INTER_AREA if max(right - left, bottom - top) > size else cv2.INTER_LINEAR
    part = image[top:bottom, left:right]
    if fit == "squash":
        return np.asarray(cv2.resize(part, (size, size), interpolation=how), np.uint8)
    if fit != "letterbox":
        raise ValueError(f"fit: got {fit!r}, allowed: {', '.join(FITS)}")
    return letterbox(right - left, bottom - top, size).warp(part, how)


def batches(
    image: Image, boxes: Floats, size: int, margin: float, batch: int, fit: str = "letterbox"
) -> Iterator[tuple[Image, int]]:
    """Crops of `boxes` (N, 4) as uint8 (batch, size, size, 3), the last filled up with grey; with each, how many count."""
    for start in range(0, len(boxes), batch):
        part = boxes[start : start + batch]
        crops = np.full((batch, size, size, 3), PADDING, np.uint8)  # (batch, size, size, 3)
        for i, box in enumerate(part):
            crops[i] = crop(image, box, size, margin, fit)
        yield crops, len(part)
