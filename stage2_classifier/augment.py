"""Augmented training crops: box error, tilt and letterbox in one affine warp; light and colour in one matrix; blur; occlusion.

Studio crops can be bridged to the shelf's domain first: another background, perspective, uneven light, low resolution.
Without tilt a crop is cut by `fusion.views.crop`, as at judgment. Knows nothing about networks.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from fusion.boxes import clip
from fusion.views import PADDING, View, crop, letterbox
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.crops import Image, Region, shake

Matrix = npt.NDArray[np.float64]
TILT_PROBABILITY = 0.7  # chosen: that a crop is rotated and shifted
MAX_SHIFT = 0.04  # chosen: in shares of the crop's side
ERASED_AREA = (0.02, 0.2)  # chosen: of an occluding rectangle, in shares of the crop
MAX_CORNER_SHIFT = 0.1  # chosen: of a bridged product, in shares of its sides
MIN_RESOLUTION = 0.3  # chosen: of a bridged product, side in pixels as a share of the crop's
CLUTTER_PROBABILITY = 0.3  # chosen: that the background of a bridged product is drawn
BLUR_SIGMA = (0.3, 1.6)  # chosen: in pixels of the crop
# The YIQ colour space (NTSC 1953): in it saturation and hue are a scaling and a turn of the two colour axes.
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
RGB = np.linalg.inv(YIQ)


def augmented(
    regions: list[Region], picks: npt.NDArray[np.int64], error: npt.NDArray[np.float64], config: ClassifierConfig,
    rngs: Sequence[np.random.Generator],
) -> Image:  # fmt: skip
    """Crops of `regions[picks]`, each drawn by the generator in its place of `rngs`: uint8 (len(picks), size, size, 3)."""
    crops = np.empty((len(picks), config.size, config.size, 3), np.uint8)
    for i, (pick, rng) in enumerate(zip(picks, rngs, strict=True)):
        region = regions[pick]
        if region.studio and config.bridge:
            region = bridged(region, config, regions[rng.integers(len(regions))], rng)
        crops[i] = augmented_crop(region, error, config, rng)
    return crops


def augmented_crop(region: Region, error: npt.NDArray[np.float64], config: ClassifierConfig, rng: np.random.Generator) -> Image:
    """One augmented crop of `region`, uint8 (size, size, 3)."""
    box = region.box if region.studio or region.still else shake(region.box, error, rng)
    turn = tilt(config, rng) if rng.random() < TILT_PROBABILITY else None
    image = cv2.transform(warped(region.image, box, config, turn), colour_matrix(config.colour, rng))
    if rng.random() < config.blur:
        image = cv2.GaussianBlur(image, (5, 5), rng.uniform(*BLUR_SIGMA))
    if rng.random() < config.erase:
        erase(image, rng)
    return np.asarray(image, np.uint8)


def tilt(config: ClassifierConfig, rng: np.random.Generator) -> Matrix:
    """A rotation around the crop's middle by up to `config.rotate` degrees, a shift by up to MAX_SHIFT: (2, 3), in edges."""
    middle = config.size / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-config.rotate, config.rotate), 1.0)
    matrix[:, 2] += rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * config.size
    return np.asarray(matrix, np.float64)


def warped(image: Image, box: npt.NDArray[np.float32], config: ClassifierConfig, turn: Matrix | None) -> Image:
    """What `crop` cuts, transformed by `turn` (2, 3) on its canvas, in one warp; without `turn` it is `crop` itself."""
    if turn is None:
        return crop(image, box, config.size, config.margin, config.fit)
    room = config.margin * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
    wide = clip((box + room)[None], image.shape[1], image.shape[0])[0]
    (left, top), (right, bottom) = np.floor(wide[:2]).astype(int), np.ceil(wide[2:]).astype(int)
    if right <= left or bottom <= top:
        return np.full((config.size, config.size, 3), PADDING, np.uint8)
    view = filling(right - left, bottom - top, config)
    matrix = turn @ np.vstack([view, (0, 0, 1)])  # (2, 3)
    return View(matrix, config.size, config.size).warp(image[top:bottom, left:right])


def filling(width: int, height: int, config: ClassifierConfig) -> Matrix:
    """How a width x height part fills the crop, by `config.fit`: (2, 3), edges to edges."""
    if config.fit == "letterbox":
        return letterbox(width, height, config.size).matrix
    return np.array([[config.size / width, 0.0, 0.0], [0.0, config.size / height, 0.0]])


def colour_matrix(strength: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Brightness, contrast, saturation and hue by chance, as one matrix (3, 4) on RGB 0..255; `strength` 0 changes nothing.

    >>> np.abs(colour_matrix(0.0, np.random.default_rng(0)) - np.eye(3, 4)).max() < 1e-3
    True
    """
    light, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    hue = rng.uniform(-strength, strength) / 10 * 2 * np.pi  # radians
    turn = np.array([[1.0, 0, 0], [0, np.cos(hue), -np.sin(hue)], [0, np.sin(hue), np.cos(hue)]])
    turn[1:] *= saturation
    linear = light * contrast * (RGB @ turn @ YIQ)  # (3, 3)
    return np.column_stack([linear, np.full(3, 128 * (1 - contrast))]).astype(np.float32)


def erase(image: Image, rng: np.random.Generator) -> None:
    """Cover a rectangle of `image` with grey, in place (Zhong et al. 2020, random erasing)."""
    size = image.shape[0]
    area, ratio = rng.uniform(*ERASED_AREA), np.exp(rng.uniform(-1.2, 1.2))
    w, h = (min(size, max(1, round(size * float(side)))) for side in (np.sqrt(area * ratio), np.sqrt(area / ratio)))
    x, y = rng.integers(size - w + 1), rng.integers(size - h + 1)
    image[y : y + h, x : x + w] = PADDING


# -- from the studio to the shelf ------------------------------------------------------------------------------------------


def bridged(region: Region, config: ClassifierConfig, other: Region, rng: np.random.Generator) -> Region:
    """A studio region as a shelf would show it, by `config.bridge` in [0, 1]: fewer pixels, in perspective, in front of other
    goods, in uneven light. The background is taken from `other`. The box of the result is shaken like a shelf region's.
    """
    strength, region = config.bridge, distant(region, config, rng)
    height, width = region.image.shape[:2]
    ends = region.box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)  # corners of the content
    sides = region.box[2:] - region.box[:2]
    moved = (ends + rng.uniform(-MAX_CORNER_SHIFT, MAX_CORNER_SHIFT, (4, 2)) * strength * sides).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(ends, moved)
    image = cv2.warpPerspective(region.image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    if region.mask is not None and rng.random() < strength:
        ground = cv2.warpPerspective(region.mask, matrix, (width, height)) < 128  # (h, w)
        image[ground] = cv2.resize(behind(other, rng), (width, height))[ground]
    box = clip(np.concatenate([moved.min(0), moved.max(0)])[None], width, height)[0]
    return replace(region, image=lit(image, strength, rng), box=box, studio=False, mask=None)


def distant(region: Region, config: ClassifierConfig, rng: np.random.Generator) -> Region:
    """`region` as if from further away: its product no larger than a share of the crop, at full strength MIN_RESOLUTION."""
    share = 1 - (1 - MIN_RESOLUTION) * config.bridge * rng.random()
    shrink = min(1.0, share * config.size / float((region.box[2:] - region.box[:2]).max()))
    size = max(2, round(region.image.shape[1] * shrink)), max(2, round(region.image.shape[0] * shrink))
    scale = np.array(size, np.float32) / (region.image.shape[1], region.image.shape[0])
    image = np.asarray(cv2.resize(region.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    mask = None if region.mask is None else np.asarray(cv2.resize(region.mask, size, interpolation=cv2.INTER_AREA), np.uint8)
    return replace(region, image=image, mask=mask, box=(region.box * np.tile(scale, 2)).astype(np.float32))


def behind(other: Region, rng: np.random.Generator) -> Image:
    """The background of a product: the shelf around `other`, or two of it side by side if it is a studio's, or clutter."""
    x0, y0, x1, y1 = np.rint(other.box).astype(int)
    goods = other.image[max(y0, 0) : y1, max(x0, 0) : x1] if other.studio else other.image
    if goods.size == 0 or rng.random() < CLUTTER_PROBABILITY:
        return clutter(rng)
    return np.hstack([goods, goods]) if other.studio else goods


def clutter(rng: np.random.Generator) -> Image:
    """A drawn background of a product: a board with coloured rectangles, uint8 (64, 64, 3)."""
    canvas = np.full((64, 64, 3), rng.integers(20, 200, 3), np.uint8)
    for _ in range(6):
        (x, y), (w, h) = rng.integers(0, 56, 2), rng.integers(8, 40, 2)
        canvas[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return canvas


def lit(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Light that falls off across the picture, by up to half of `strength` from end to end."""
    height, width = image.shape[:2]
    (x, y), level = rng.uniform(-0.25, 0.25, 2) * strength, 1 + rng.uniform(-0.35, 0.15) * strength
    gain = level + np.linspace(-y, y, height)[:, None] + np.linspace(-x, x, width)  # (h, w)
    return np.asarray(cv2.multiply(image, cv2.merge([gain.astype(np.float32)] * 3), dtype=cv2.CV_8U), np.uint8)
