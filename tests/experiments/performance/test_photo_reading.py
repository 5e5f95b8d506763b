"""Copies that joined their photo and photos of two places that joined are counted."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from experiments.performance.photo_copies import CHANGES
from experiments.performance.photo_reading import scene_counts
from photos.data import Category, Dataset, Photo


def photo(folder: Path, number: int, seed: int, part: str) -> Photo:
    """A photo of rectangles in places and colours that `seed` decides."""
    rng, image = np.random.default_rng(seed), np.zeros((360, 480, 3), np.uint8)
    for x, y, w, h, *colour in rng.integers(0, (480, 360, 50, 50, 256, 256, 256), (400, 7)).tolist():
        cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), image)
    return Photo(number, path, 480, 360, np.float32([[200, 160, 260, 200]]), np.zeros(1, np.int64), np.zeros(1, np.int64), part)


def test_copies_and_false_joins_are_counted(tmp_path: Path) -> None:
    photos = (photo(tmp_path, 0, 0, "train"), photo(tmp_path, 1, 1, "test"))
    dataset = Dataset(tmp_path, (Category(0, "tea"),), photos)
    copied = 1 + len(CHANGES)
    assert scene_counts(dataset) == (2, (2,) * len(CHANGES), copied**2, 0)
    same = replace(dataset, photos=(photos[0], photo(tmp_path, 1, 0, "test")))
    assert scene_counts(same).false_joins == copied**2
