"""What a data set holds, as far as a plan depends on it: photos, boxes, names, sizes, studio photos. Reads no pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photos.data import DataError, Dataset, Photo, product_key
from photos.studio import STUDIO, studio_products
from runs.counted import counted

SMALL = 0.1  # chosen: the share of boxes that may be smaller than a plan counts on: nine in ten are larger


@dataclass(frozen=True)
class Survey:
    """What is labelled, without the test part that a set may come with.

    Attributes:
        photos: to train on and to leave out in turn.
        test_photos: of the set's own test part.
        boxes: on all of `photos`.
        fullest: boxes on the fullest photo.
        names: products that have a box.
        silent_names: products of the list that have none.
        median_boxes: boxes of the median name, among those that have one.
        long_side: pixels, of the photo that a box is on; a tenth of the boxes is on larger ones.
        short_share: the short side of a box as a share of its photo's long side; a tenth of the boxes is smaller.
        crop_side: pixels, the long side of the median box.
        studio_names: names of the list that have studio photos.
        studio_photos: of those names.
        bare: of `photos`, those without a box.
    """

    photos: int
    test_photos: int
    boxes: int
    fullest: int
    names: int
    silent_names: int
    median_boxes: float
    long_side: float
    short_share: float
    crop_side: float
    studio_names: int = 0
    studio_photos: int = 0
    bare: int = 0

    @property
    def categories(self) -> int:
        """All products of the list."""
        return self.names + self.silent_names

    @property
    def summary(self) -> str:
        """All of it that a user wants to see, in one line."""
        silent = f" ({self.silent_names} more without)" if self.silent_names else ""
        test = f"; {counted(self.test_photos, 'test photo')}, kept out of everything" if self.test_photos else ""
        of_names = f" of {counted(self.studio_names, 'name')}"
        studio = f"; {counted(self.studio_photos, 'studio photo')}{of_names}" if self.studio_photos else ""
        return (
            f"{counted(self.photos, 'photo')}, {counted(self.boxes, 'box', 'boxes')}, "
            f"{counted(self.names, 'name')} with boxes{silent}, the median one with {self.median_boxes:.0f}{studio}{test}"
        )


def survey(dataset: Dataset, studio: Path | None = None) -> Survey:
    """Count what `dataset` holds; `studio` is the folder of studio photos, if not the data set's own.

    Raises DataError where no photo outside the test part has a box: there is nothing to learn from.
    """
    photos = [photo for photo in dataset.photos if photo.part != "test"]
    sides, longest = box_sides(photos), np.array([max(photo.width, photo.height) for photo in photos])
    if not len(sides):
        raise DataError(f"{dataset.root}: {counted(len(photos), 'photo')} to train on and 0 boxes, need labels to learn from")
    counts = np.bincount(np.concatenate([photo.labels for photo in photos]), minlength=len(dataset.categories))  # (C,)
    per_box = np.repeat(longest, [len(photo.boxes) for photo in photos])  # (N,)
    pictures = studio_counts(dataset, studio)
    return Survey(
        photos=len(photos),
        test_photos=len(dataset.photos) - len(photos),
        boxes=len(sides),
        fullest=max(len(photo.boxes) for photo in photos),
        names=int((counts > 0).sum()),
        silent_names=int((counts == 0).sum()),
        median_boxes=float(np.median(counts[counts > 0])),
        long_side=float(np.quantile(per_box, 1 - SMALL)),
        short_share=float(np.quantile(sides.min(1) / per_box, SMALL)),
        crop_side=float(np.median(sides.max(1))),
        studio_names=len(pictures),
        studio_photos=sum(pictures),
        bare=sum(len(photo.boxes) == 0 for photo in photos),
    )


def box_sides(photos: Sequence[Photo]) -> np.ndarray:
    """Width and height (N, 2) of every box, in pixels."""
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(photo.boxes for photo in photos)])  # (N, 4)
    return boxes[:, 2:] - boxes[:, :2]


def studio_counts(dataset: Dataset, given: Path | None) -> list[int]:
    """How many studio photos each name of the data set has, of those that have any; empty where there is no such folder.

    The names are those that the classifier learns studio photos by.

    Raises ValueError for a folder that is `given` and is not there.
    """
    folder = given or dataset.root / STUDIO
    if not folder.is_dir():
        if given is not None:
            raise ValueError(f"--studio: got {given}, no such folder")
        return []
    keys = {product_key(category.name) for category in dataset.categories}
    return [len(product.photos) for product in studio_products(folder) if product_key(product.name) in keys]
