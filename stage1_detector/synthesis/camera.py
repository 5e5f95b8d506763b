"""Photographs of a painted shelf: viewpoint, light, blur, noise, and the boxes of what is seen. Knows nothing about packs."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from stage1_detector.synthesis.pack import Image
from stage1_detector.synthesis.shelf import MARGIN, Painting, Scene, ShelfConfig

MIN_SIDE = 4  # chosen: pixels; a facing whose visible part is narrower or lower is not annotated
BLUR_LONG_SIDE = 640  # pixels: the long side of a photo for which ShelfConfig.blur is stated


class Shot(NamedTuple):
    """One photo (H, W, 3), its boxes float32 (N, 4) in whole pixels, and their products int64 (N,)."""

    image: Image
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def photograph(config: ShelfConfig, scene: Scene, painting: Painting, rng: np.random.Generator) -> Shot:
    """One photo of a scene; another state of `rng` gives another viewpoint and other light."""
    matrix = viewpoint(config.keystone, config.turn, scene.photo, scene.flat, rng)
    image = cv2.warpPerspective(painting.image, matrix, scene.photo, borderMode=cv2.BORDER_REPLICATE)
    owner = cv2.warpPerspective(painting.owner, matrix, scene.photo, flags=cv2.INTER_NEAREST)
    if rng.random() < config.obstacle:
        _obstacle(image, owner, rng)
    middles = np.array([(f.left + f.width / 2, f.bottom - f.height / 2) for f in scene.facings]).reshape(-1, 2)
    boxes, facings = visible_boxes(owner, painting.areas * growth(matrix, middles), config.visible)
    products = np.array([f.product for f in scene.facings], np.int64)  # (F,)
    return Shot(_sensor(config, _light(config, image, rng), rng), boxes, products[facings])


def viewpoint(
    keystone: float, turn: float, photo: tuple[int, int], flat_size: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The homography (3, 3) flat shelf -> photo: of the middle of the shelf, moved, turned, nearer or farther.

    `keystone` and `turn` as in `ShelfConfig`, sizes (width, height) in pixels. A corner of the photo that would lie beyond the
    painted margin is moved to its edge.
    """
    ends = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)  # (4, 2) of the photo
    corner = ends - 0.5
    zoom = rng.uniform(0.9, 1.06)
    across, down = np.clip(rng.normal(0, keystone, 2), -0.25, 0.25)
    corner = corner * zoom * (1 + corner[:, ::-1] * (across, down))  # (4, 2)
    angle = np.radians(np.clip(rng.normal(0, turn), -4, 4))
    corner = (corner * photo) @ np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))]) / photo
    corner = np.clip(corner + rng.uniform(-0.06, 0.06, 2), -0.5 - MARGIN, 0.5 + MARGIN)
    flat = (corner / (1 + 2 * MARGIN) + 0.5) * flat_size  # (4, 2) pixels
    return cv2.getPerspectiveTransform(flat.astype(np.float32), (ends * photo).astype(np.float32))


def growth(matrix: npt.NDArray[np.float64], middles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Pixels of the photo for one pixel of the flat shelf at each of `middles` (F, 2): det(matrix) / w**3 of a homography."""
    return np.linalg.det(matrix) / (middles @ matrix[2, :2] + matrix[2, 2]) ** 3  # (F,)


def visible_boxes(owner: npt.NDArray[np.uint16], areas: npt.NDArray[np.float64], min_share: float,
         ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:  # fmt: skip
    """Boxes (N, 4) of the visible parts of facings in `owner` (H, W), and the facings (N,) they are of.

    Left out are facings of which less than `min_share` of their area, `areas` (F,) pixels, is visible.

    >>> boxes, facings = visible_boxes(
    ...     np.repeat([[0, 1, 1, 1, 1, 2]], 4, axis=0).astype(np.uint16), np.array([16.0, 40.0]), 0.3
    ... )
    >>> boxes.tolist(), facings.tolist()
    ([[1.0, 0.0, 5.0, 4.0]], [0])
    """
    pixels = np.bincount(owner.ravel(), minlength=len(areas) + 1)[1:]  # (F,)
    boxes, facings = [], []
    for i, slices in enumerate(ndimage.find_objects(owner)):
        if slices is None or pixels[i] < min_share * areas[i]:
            continue
        y, x = slices
        if min(y.stop - y.start, x.stop - x.start) >= MIN_SIDE:
            boxes.append((x.start, y.start, x.stop, y.stop))
            facings.append(i)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(facings, np.int64)


def _obstacle(image: Image, owner: npt.NDArray[np.uint16], rng: np.random.Generator) -> None:
    """Paint something out of focus in front of the shelf, at an edge of the photo: a post, a shopper's shoulder."""
    height, width = owner.shape
    x = round(width * rng.choice([rng.uniform(0, 0.15), rng.uniform(0.85, 1)]))
    reach = (round(width * rng.uniform(0.05, 0.12)), round(height * rng.uniform(0.2, 1.2)))
    mask = cv2.ellipse(np.zeros((height, width), np.uint8), (x, height), reach, 0, 0, 360, 255, -1)
    owner[mask > 127] = 0
    soft = cv2.blur(mask, (9, 9))[..., None] / 255  # (H, W, 1)
    image[:] = image * (1 - soft) + rng.uniform(20, 140, 3) * soft


def _light(config: ShelfConfig, image: Image, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Uneven tinted light, with less contrast and colour: float32 (H, W, 3), about 0..255."""
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    a, b, cx, cy = rng.uniform(-0.18, 0.18, 2).tolist() + rng.uniform(-1, 1, 2).tolist()
    field = rng.uniform(0.75, 1.15) + a * x + b * y + rng.uniform(0, 0.3) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.4)
    grey = image.mean(axis=2, keepdims=True)  # (H, W, 1)
    pale = image + (grey - image) * rng.uniform(0, 0.35)
    lit = pale * field[..., None] * (1 + config.tint * rng.standard_normal(3)) * rng.uniform(0.8, 1) + rng.uniform(0, 30)
    return lit.astype(np.float32)


def _sensor(config: ShelfConfig, lit: npt.NDArray[np.float32], rng: np.random.Generator) -> Image:
    """Blur (sometimes of a moving hand), noise, and 8 bits."""
    sigma = rng.uniform(*config.blur) * max(lit.shape) / BLUR_LONG_SIDE
    lit = cv2.GaussianBlur(lit, (0, 0), sigma * (1 + (rng.random() < 0.2)), sigmaY=sigma)
    noise = rng.standard_normal(lit.shape, np.float32) * rng.uniform(*config.noise)
    return np.clip(lit + noise, 0, 255).astype(np.uint8)
