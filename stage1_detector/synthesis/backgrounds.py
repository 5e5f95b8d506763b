"""Backgrounds for packages: random surfaces like walls, boards, cloth or stone, and photos with their products removed."""

import cv2
import numpy as np
import numpy.typing as npt

from stage1_detector.synthesis.pack import Image

INPAINT_SIDE = 96  # chosen: pixels of the long side at which the products of a photo are inpainted


def random_surface(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """A random surface (H, W, 3), `size` (width, height) pixels: a colour, unevenness large and small, grain, boards."""
    height = size[1]
    tint = 1 + rng.normal(0, 0.12, 3)
    field = rng.uniform(30, 220) * tint + _noise(size, int(rng.integers(2, 8)), rng)[..., None] * rng.uniform(2, 30)
    field += _noise(size, int(rng.integers(20, 90)), rng, stretch=rng.choice((1.0, 0.15, 6.0)))[..., None] * rng.uniform(0, 14)
    if rng.random() < 0.3:  # planks, tiles or slats: dark joints
        pitch = rng.uniform(0.05, 0.4) * height
        joints = np.abs((np.arange(height) / pitch) % 1 - 0.5) > 0.48  # (H,)
        field[joints] *= rng.uniform(0.5, 0.9)
    for _ in range(rng.choice((0, 0, 1, 3, 6))):  # objects out of focus
        _blot(field, rng)
    return np.clip(field, 0, 255).astype(np.uint8)


def remove_products(photo: Image, boxes: npt.NDArray[np.float32]) -> Image:
    """`photo` (H, W, 3) with the content of `boxes` (N, 4) inpainted from its surroundings; elsewhere it stays sharp."""
    height, width = photo.shape[:2]
    scale = INPAINT_SIDE / max(width, height)
    small = cv2.resize(photo, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    hole = np.zeros(small.shape[:2], np.uint8)
    for x0, y0, x1, y1 in boxes * scale:
        hole[max(0, int(y0) - 1) : int(y1) + 2, max(0, int(x0) - 1) : int(x1) + 2] = 255
    filled = cv2.inpaint(small, hole, 3, cv2.INPAINT_TELEA)
    soft = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    mask = cv2.blur(cv2.resize(hole, (width, height)), (9, 9))[..., None] / np.float32(255)  # (H, W, 1)
    return (soft * mask + photo * (1 - mask)).astype(np.uint8)


def _noise(size: tuple[int, int], cells: int, rng: np.random.Generator, stretch: float = 1.0) -> npt.NDArray[np.float32]:
    """Smooth noise (H, W), standard deviation about 1, `cells` to the photo's width, `stretch` times as many to its height."""
    coarse = rng.standard_normal((max(2, round(cells * stretch)), max(2, cells)), np.float32)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _blot(field: npt.NDArray[np.floating], rng: np.random.Generator) -> None:
    """A soft-edged ellipse or bar of another colour."""
    height, width = field.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    middle = (round(rng.uniform(0, width)), round(rng.uniform(0, height)))
    reach = (round(rng.uniform(0.02, 0.4) * width), round(rng.uniform(0.02, 0.4) * height))
    cv2.ellipse(mask, middle, reach, rng.uniform(0, 180), 0, 360, 255, -1)
    soft = cv2.blur(mask, (31, 31))[..., None] / 255 * rng.uniform(0.3, 1)  # (H, W, 1)
    field[:] = field * (1 - soft) + rng.uniform(20, 230, 3) * soft
