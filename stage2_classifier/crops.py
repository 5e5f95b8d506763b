"""What the classifier learns from: regions of shelf and studio photos, read once, and crops drawn from them anew each time.

A region is the part of a photo around one box, with room to shake the box in. Crops to judge by are cut by `fusion.views.crop`,
the one that cuts at judgment; `stage2_classifier.augment` makes those to learn from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fusion.boxes import clip, iou
from fusion.views import crop
from photos.data import Category, Photo, product_key, read_image
from photos.score import in_regions
from photos.studio import content_box, content_mask, read_studio, studio_products
from stage2_classifier.config import Columns

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]
ROOM = 0.4  # chosen: context kept around a box, as a fraction of its sides; holds 4 sigma of the usual box error
DETAIL = 1.5  # chosen: pixels kept of a box's longer side, in crops' sides; 22,731 boxes at 96 px then fit in about 3 GB
# Measured elsewhere: yolov8n on contest photos; used only where there is no detector to measure.
TYPICAL_ERROR = (0.03, 0.03, 0.05, 0.05)
TINY = 1e-12  # chosen: keeps an empty sum from dividing
DRAWN = -1  # the annotation id of a box that no annotator made: it is not shaken
NO_PRODUCT = 0.3  # chosen: a box that overlaps every product by less than this IoU shows none
BACKGROUND_SHARE = 0.5  # chosen: background crops kept, for each product's


@dataclass(frozen=True)
class Region:
    """A cut-out and the box in it: image uint8 (h, w, 3) RGB, box float32 (4,) in its pixels, label an index.

    `mask` uint8 (h, w), of studio regions only, is 255 on the product and 0 on the flat ground around it. The boxes of
    studio and of `still` regions are not shaken.
    """

    image: Image
    box: npt.NDArray[np.float32]
    label: int
    studio: bool = False
    mask: Image | None = None
    still: bool = False


class CropFormat(NamedTuple):
    """How crops are cut: side in pixels, margin around the box as a fraction of its sides, and how the box is fitted."""

    size: int
    margin: float
    fit: str = "letterbox"


def shelf_regions(photos: Sequence[Photo], size: int) -> list[Region]:
    """One region for each annotated box of `photos`, shrunk so that the box is at most DETAIL x `size` pixels."""
    regions = []
    for photo in photos:
        image = read_image(photo.path, photo.width, photo.height)
        for box, label, number in zip(photo.boxes, photo.labels, photo.annotation_ids, strict=True):
            regions.append(replace(cut(image, box, int(label), size), still=bool(number == DRAWN)))
    return regions


def cut(image: Image, box: npt.NDArray[np.float32], label: int, size: int, studio: bool = False) -> Region:
    """The region of `image` around `box`, with ROOM on each side where the photo has it; at least 1 px."""
    room = ROOM * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
    limit = np.array([image.shape[1], image.shape[0]])
    corners = np.rint(box + room)
    x0, y0 = np.clip(corners[:2], 0, limit - 1).astype(int)
    x1, y1 = np.clip(corners[2:], (x0 + 1, y0 + 1), limit).astype(int)
    part, inner = image[y0:y1, x0:x1], box - np.array([x0, y0, x0, y0], np.float32)
    shrink = min(1.0, DETAIL * size / float((box[2:] - box[:2]).max()))
    if shrink < 1:
        width, height = (max(1, round(side * shrink)) for side in (x1 - x0, y1 - y0))
        part = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    mask = content_mask(part) if studio else None
    return Region(np.ascontiguousarray(part), (inner * shrink).astype(np.float32), label, studio, mask)


def megabytes(regions: Sequence[Region]) -> float:
    """What the pictures of `regions` take in memory, in MB."""
    return sum(region.image.nbytes for region in regions) / 1e6


def with_background(photo: Photo, columns: Columns, rng: np.random.Generator, detected: Boxes | None = None) -> Photo:
    """`photo` with boxes that show no product added, under the last label: those of `detected` (M, 4), and drawn ones."""
    drawn = background_boxes(photo, round(BACKGROUND_SHARE * len(photo.boxes)), rng)
    empty = np.concatenate([drawn] + ([] if detected is None else [away(detected, photo)])).astype(np.float32)  # (K, 4)
    labels = np.full(len(empty), columns.names, np.int64)
    boxes = np.concatenate([photo.boxes, empty])
    ids = np.concatenate([photo.annotation_ids, np.full(len(empty), DRAWN)])
    return replace(photo, boxes=boxes, labels=np.concatenate([photo.labels, labels]), annotation_ids=ids)


def away(boxes: Boxes, photo: Photo) -> Boxes:
    """Those of `boxes` (N, 4) that overlap each product of `photo` by less than NO_PRODUCT, and lie in no region to ignore."""
    boxes = boxes[~in_regions(boxes, photo.ignored, NO_PRODUCT)]
    return boxes[iou(boxes, photo.boxes).max(1, initial=0.0) < NO_PRODUCT] if len(photo.boxes) else boxes


def background_boxes(photo: Photo, n: int, rng: np.random.Generator) -> Boxes:
    """Up to `n` boxes (K, 4) away from the products: in gaps, between neighbours, parts of one product, several at once."""
    if len(photo.boxes) == 0 or n == 0:
        return np.zeros((0, 4), np.float32)
    box = photo.boxes[rng.integers(len(photo.boxes), size=8 * n)].astype(np.float64)  # (M, 4)
    middle, sides, kind = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2], rng.integers(4, size=8 * n)[:, None]
    anywhere = rng.uniform(size=middle.shape) * (photo.width, photo.height)
    beside = middle + sides * rng.uniform(-1, 1, middle.shape)
    middle = np.select([kind == 0, kind < 3], [anywhere, beside], middle)
    scale = np.select([kind < 2, kind == 2], [1.0, rng.uniform(0.3, 0.55, kind.shape)], rng.uniform(1.8, 2.5, kind.shape))
    drawn = np.concatenate([middle - sides * scale / 2, middle + sides * scale / 2], 1).astype(np.float32)
    seen = clip(drawn, photo.width, photo.height)
    whole = (seen[:, 2:] - seen[:, :2] > 0.7 * (drawn[:, 2:] - drawn[:, :2])).all(1)
    return away(seen[whole], photo)[:n]


def studio_regions(folder: Path, categories: tuple[Category, ...], size: int) -> list[Region]:
    """One region for each studio photo of a product whose name is a category's. Raises ValueError when none is."""
    names = {product_key(category.name): i for i, category in enumerate(categories)}
    products = studio_products(folder)
    labelled = [(path, names[key]) for name, paths in products if (key := product_key(name)) in names for path in paths]
    regions = []
    for path, label in labelled:
        try:
            rgb = read_studio(path)
        except ValueError as error:
            raise ValueError(f"studio photos: {error}") from None
        regions.append(cut(rgb, content_box(rgb), label, size, studio=True))
    if not regions:
        raise ValueError(f"studio photos: got {folder}, none of its {len(products)} products has the name of a category")
    return regions


def shake(box: npt.NDArray[np.float32], error: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """`box` (4,) moved and resized as a detector errs.

    `error` (4,) is the spread of centre x and y, as fractions of the sides, and of log width and height.

    >>> shake(np.array([0, 0, 10, 20], np.float32), np.zeros(4), np.random.default_rng(0)).tolist()
    [0.0, 0.0, 10.0, 20.0]
    """
    centre, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    noise = np.clip(rng.normal(size=4), -2.5, 2.5) * error
    centre, half = centre + noise[:2] * sides, sides * np.exp(noise[2:]) / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def crops_of(
    regions: list[Region],
    picks: npt.NDArray[np.int64],
    error: npt.NDArray[np.float64],
    form: CropFormat,
    rng: np.random.Generator,
) -> Image:
    """Crops of `regions[picks]` with their boxes shaken by `error`: uint8 (len(picks), size, size, 3)."""
    chosen = [regions[i] for i in picks]
    crops = [crop(r.image, r.box if r.studio or r.still else shake(r.box, error, rng), *form) for r in chosen]
    return np.stack(crops) if crops else np.zeros((0, form.size, form.size, 3), np.uint8)


def box_error(truth: list[npt.NDArray[np.float32]], detected: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """The spread (4,) of a detector's boxes around the true ones, as `shake` wants it: 1.4826 x median |error|.

    `truth[i]` and `detected[i]` (N_i, 4) are matched pairs of one photo. TYPICAL_ERROR when there are fewer than 20 pairs.
    """
    pairs = [np.concatenate([t, f], 1).astype(np.float64) for t, f in zip(truth, detected, strict=True)]
    both = np.concatenate([np.zeros((0, 8)), *pairs])  # (M, 8)
    if len(both) < 20:
        return np.array(TYPICAL_ERROR)
    t, f = both[:, :4], both[:, 4:]
    sides_t, sides_f = t[:, 2:] - t[:, :2], f[:, 2:] - f[:, :2]
    shift = ((f[:, :2] + f[:, 2:]) - (t[:, :2] + t[:, 2:])) / 2 / sides_t  # (M, 2)
    errors = np.concatenate([shift, np.log(sides_f / sides_t)], 1)  # (M, 4)
    return np.asarray(1.4826 * np.median(np.abs(errors), axis=0))


def draw_order(
    labels: npt.NDArray[np.int64], columns: Columns, balance: float, background: float, n: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """`n` picks from regions of these `labels`: a share `background` of no product; of the others each category weighs by its
    count^-balance, but the unknown product as often as it comes.
    """
    counts = np.bincount(labels, minlength=columns.width)
    weights = counts[labels].astype(np.float64) ** -balance
    unknown, empty = labels == columns.unknown, labels == columns.names
    named = ~unknown & ~empty
    weights[named] *= named.sum() / max(weights[named].sum(), TINY)
    weights[unknown] = 1.0
    weights[~empty] *= (1 - background * empty.any()) / max(weights[~empty].sum(), TINY)
    weights[empty] = background / max(empty.sum(), 1)
    return rng.choice(len(labels), size=n, p=weights / weights.sum())
