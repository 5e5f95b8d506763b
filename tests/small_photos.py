"""One small photo on disk, with boxes."""

from pathlib import Path

import numpy as np
from PIL import Image

from photos.data import Photo


def photo(folder: Path, number: int, boxes: list[list[float]], turned: bool = False) -> Photo:
    """A 60 x 40 photo on disk; `turned`: stored so, with an EXIF tag that turns it, while the annotations mean it as stored."""
    path = folder / f"img_{number:05d}.jpg"
    image = Image.fromarray(np.full((40, 60, 3), number, np.uint8))
    exif = image.getexif()
    if turned:
        exif[0x0112] = 6
    image.save(path, exif=exif)
    n = len(boxes)
    return Photo(number, path, 60, 40, np.array(boxes, np.float32).reshape(n, 4), np.arange(n), np.arange(n), None)
