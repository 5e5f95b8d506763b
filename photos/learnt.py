"""The pixels of a photo that a detector or classifier may learn from: regions to ignore are painted over.

What an annotator left out must be learnt neither as a product nor as background. Not every family's loss has a place for that;
a grey that all of them know as the canvas around a photo shows neither, for every family alike.
"""

import numpy as np

from fusion.views import PADDING, Image
from photos.data import Photo
from photos.photo_file import read_image


def learnt_image(photo: Photo) -> Image:
    """The photo, RGB uint8 (H, W, 3), its regions to ignore in grey; products' boxes that overlap them stay."""
    image = read_image(photo.path, photo.width, photo.height)
    return painted(image, photo) if len(photo.ignored) else image


def painted(image: Image, photo: Photo) -> Image:
    """`image` (H, W, 3) of `photo` with its regions to ignore in grey, but for products; another array."""
    shown = image.copy()
    for x0, y0, x1, y1 in _whole_pixels(photo.ignored):
        shown[y0:y1, x0:x1] = PADDING
    for x0, y0, x1, y1 in _whole_pixels(photo.boxes):
        shown[y0:y1, x0:x1] = image[y0:y1, x0:x1]
    return shown


def _whole_pixels(boxes: np.ndarray) -> list[list[int]]:
    """Boxes (N, 4) rounded outwards."""
    return np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1).astype(int).tolist()
