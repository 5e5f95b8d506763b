"""Copies of a photo that a data set may hold beside it: mirrored, cropped, or both."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Change:
    """How a copy differs from its photo: `share` of each side is kept, at a random place, and it may be mirrored."""

    share: float = 1.0
    mirror: bool = False


CHANGES = {"mirrored": Change(mirror=True), "80 % crop": Change(0.8), "mirrored 80 % crop": Change(0.8, mirror=True)}


class Copy(NamedTuple):
    """A copy uint8 (h, w, 3) and the part of the photo that it shows: x0 y0 x1 y1, int64 (4,), pixels of the photo."""

    image: np.ndarray
    window: np.ndarray


def copy_of(image: np.ndarray, change: Change, rng: np.random.Generator) -> Copy:
    """A changed copy of a photo uint8 (H, W, 3).

    >>> copy_of(np.zeros((10, 20, 3), np.uint8), Change(0.8), np.random.default_rng(0)).image.shape
    (8, 16, 3)
    """
    height, width = (round(side * change.share) for side in image.shape[:2])
    x, y = (int(rng.integers(0, room + 1)) for room in (image.shape[1] - width, image.shape[0] - height))
    part = image[y : y + height, x : x + width]
    return Copy(np.ascontiguousarray(part[:, ::-1] if change.mirror else part), np.array([x, y, x + width, y + height]))
