"""Data sets of photos that EXIF turns, with labels of either convention."""

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from photos.data import Dataset, read

TURN = {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}  # Pillow's names
BOX = (8, 4, 24, 14)  # x0 y0 x1 y1 of the red product in the stored pixels
SIZES = {"landscape": (64, 40), "square": (48, 48)}
LABELS = ("stored", "turned")  # the pixels that the labels are for


def stored_picture(size: tuple[int, int]) -> Image.Image:
    """A blue photo with one red product."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[..., 2] = 160
    picture[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (220, 0, 0)
    return Image.fromarray(picture)


def labelled(folder: Path, rows: list[tuple[int, str, str]]) -> Dataset:
    """A data set of one photo for each (orientation, shape, convention of its labels), by the rule of `photos.photo_file`."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i, (orientation, shape, labels) in enumerate(rows):
        picture, exif = stored_picture(SIZES[shape]), Image.Exif()
        exif[0x0112] = orientation
        picture.save(folder / "images" / f"img_{i}.jpg", quality=98, subsampling=0, exif=exif)
        if labels == "turned" and orientation >= 5 and shape != "square":
            picture = picture.transpose(Image.Transpose[TURN[orientation]])
        x, y, w, h = cv2.boundingRect((np.asarray(picture)[..., 0] > 128).astype(np.uint8))
        images.append({"id": i, "file_name": f"img_{i}.jpg", "width": picture.width, "height": picture.height})
        annotations.append({"id": i, "image_id": i, "category_id": 0, "bbox": [x, y, w, h]})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "tea"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return read(folder)


def shows_product(image: np.ndarray, box: np.ndarray) -> bool:
    """Whether an RGB image is red in `box` (4,), pixels, and nowhere else; an edge of 2 pixels does not count."""
    x0, y0, x1, y1 = np.rint(box).astype(int)
    red = _red(image)
    around = red.copy()
    around[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = False
    return bool(red[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].all() and not around.any())


def product_box(image: np.ndarray) -> np.ndarray:
    """Where the red product is in an RGB image (H, W, 3): x0 y0 x1 y1, int64 (4,), pixels; zeros where nothing is red."""
    x, y, w, h = cv2.boundingRect(_red(image).astype(np.uint8))
    return np.array([x, y, x + w, y + h])


def _red(image: np.ndarray) -> np.ndarray:
    """Which pixels are redder than blue, bool (H, W)."""
    return image[..., 0].astype(int) > image[..., 2]
