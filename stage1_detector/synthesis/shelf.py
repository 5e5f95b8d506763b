"""Flat shelves of a drawn shop: packs placed in runs on rows, and painted. `camera` photographs them."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from stage1_detector.synthesis.catalogue import Catalogue
from stage1_detector.synthesis.pack import Family, Image, Product, cut_to_scene, draw_pack, with_border

MARGIN = 0.18  # derived: share of the photo painted beyond each of its edges, so that no viewpoint shows the end of the shelf
FINE = 1.25  # chosen: pixels of the flat painting per pixel of the photo
RAIL = 0.11  # chosen: depth of a board's front edge / distance from shelf to shelf
GAPS = 0.3  # chosen: chance of an empty stretch after a run
STICKERS = 0.1  # chosen: chance that a pack has a sticker
PAD = 4  # chosen: pixels around a pack on the flat shelf, so that it can lean
TURN = 0.08  # chosen: a drum is turned by -2 to 2 times this share of its width
DRAWN_HEIGHT = 180  # chosen: pixels of height at which a pack is drawn before it is scaled down to the shelf


@dataclass(frozen=True)
class ShelfConfig:
    """How a drawn shop looks. (contest): measured on the contest's photos; (chosen): picked by eye or for the time it takes."""

    count: int  # photos (chosen)
    categories: int  # products; contest 356
    families: int  # of look-alikes (chosen)
    tail: float  # frequency of rank r falls as exp(-r / (tail * categories)); contest 0.175
    sizes: tuple[tuple[int, int], ...]  # (width, height) of photos, pixels (chosen)
    rows: tuple[int, int]  # least and most shelves a photo; contest 6..16
    side: float  # usual side of a pack / long side of the photo; contest: 0.052 seen, after low shelves cut the tall packs
    stock: tuple[float, float]  # least and most share of a shelf that holds packs (chosen, for the boxes a photo)
    shots: tuple[float, ...] = (0.4, 0.4, 0.2)  # chance that a scene is photographed 1, 2, 3 times (chosen)
    runs: tuple[float, ...] = (0.32, 0.42, 0.16, 0.06, 0.04)  # chance of 1, 2, ... of a product side by side (chosen
    # so that, cut by the photo's edges and by what hides them, they are seen as the contest's 0.41, 0.39, 0.13, 0.05)
    gap_share: tuple[float, ...] = (0.0, 0.1, 0.5, 0.9, 1.0)  # share of neighbours ...
    gap: tuple[float, ...] = (-0.4, -0.28, -0.04, 0.37, 0.8)  # ... whose gap / width is less (contest: the inner three)
    visible: float = 0.3  # a facing of which less is seen is not annotated (chosen)
    keystone: float = 0.1  # standard deviation of the perspective: change of scale from edge to edge (chosen)
    turn: float = 1.5  # standard deviation of the camera's roll, degrees (chosen)
    tint: float = 0.1  # standard deviation of the light's colour, share of each channel (chosen)
    blur: tuple[float, float] = (0.4, 1.1)  # least and most Gaussian sigma, pixels at a long side of 640 (chosen)
    noise: tuple[float, float] = (2.0, 8.0)  # least and most sensor noise, grey levels (chosen)
    jpeg: tuple[int, int] = (45, 88)  # least and most quality (chosen)
    obstacle: float = 0.15  # chance that something stands before the shelf (chosen)


@dataclass(frozen=True)
class Facing:
    """One pack on the flat shelf, in its pixels: left and bottom edge, size, lean in degrees, top of the rail below."""

    product: int
    left: float
    bottom: float
    width: float
    height: float
    lean: float
    foot: float


@dataclass(frozen=True)
class Scene:
    """One arrangement: the photo's size, the flat shelf's size, its rows (top, bottom) and facings, back to front."""

    photo: tuple[int, int]
    flat: tuple[int, int]
    rows: tuple[tuple[float, float], ...]
    facings: tuple[Facing, ...]


@dataclass(frozen=True)
class Painting:
    """The flat shelf, the owner of each pixel (index of a facing + 1, or 0), and the area of each facing if nothing hid it."""

    image: Image  # (H, W, 3)
    owner: npt.NDArray[np.uint16]  # (H, W)
    areas: npt.NDArray[np.int64]  # (F,)


def arrange(config: ShelfConfig, catalogue: Catalogue, rng: np.random.Generator) -> Scene:
    """Fill the shelves of one scene with runs of products, look-alikes near one another."""
    photo = config.sizes[rng.integers(len(config.sizes))]
    width, height = (round(n * (1 + 2 * MARGIN) * FINE) for n in photo)
    usual, count = np.mean(config.rows), rng.integers(config.rows[0], config.rows[1] + 1)
    pitch = photo[1] * FINE / count  # pixels from shelf to shelf
    side = config.side * max(photo) * FINE * (usual / count) ** 0.7
    stock = rng.uniform(*config.stock)
    tops = np.arange(rng.uniform(-0.9, -0.3) * pitch, height, pitch)
    facings: list[Facing] = []
    for top in tops:
        row = _row(config, catalogue, _Room(side, width, top + (1 - RAIL) * pitch, 0.8 * pitch), stock, rng)
        facings += [row[i] for i in rng.permutation(len(row))]
    return Scene(photo, (width, height), tuple((float(t), float(t + pitch)) for t in tops), tuple(facings))


@dataclass(frozen=True)
class _Room:
    """One shelf, in pixels: the usual side of a pack, its width, where packs stand, the tallest that fits."""

    side: float
    width: float
    bottom: float
    tallest: float


def _row(config: ShelfConfig, catalogue: Catalogue, room: _Room, stock: float, rng: np.random.Generator) -> list[Facing]:
    """One shelf, left to right: run after run, with empty stretches such that packs take `stock` of its width."""
    chances = np.array(config.runs) / sum(config.runs)
    row: list[Facing] = []
    x, product = rng.uniform(-1, 0) * room.side, -1
    while x < room.width:
        product = _next_product(catalogue, product, rng)
        for _ in range(1 + rng.choice(len(chances), p=chances)):
            row.append(_place(catalogue.products[product].family, product, x, room, rng))
            x += row[-1].width * (1 + np.interp(rng.random(), config.gap_share, config.gap))
        if rng.random() < GAPS:
            x += rng.exponential(2 * room.side * (1 / stock - 1) / GAPS)  # a run is about 2 sides long
    return row


def _next_product(catalogue: Catalogue, last: int, rng: np.random.Generator) -> int:
    """Another product than `last`: four times in five one of the same family, if there is one."""
    family = catalogue.products[last].family if last >= 0 and rng.random() < 0.8 else None
    chance = np.array(catalogue.weights) * [
        family in (None, p.family) and i != last for i, p in enumerate(catalogue.products)
    ]  # (C,)
    if not chance.sum():
        return last
    return int(rng.choice(len(chance), p=chance / chance.sum()))


def _place(family: Family, index: int, left: float, room: _Room, rng: np.random.Generator) -> Facing:
    height = min(room.side * family.size / family.aspect**0.5, room.tallest)
    width = height * family.aspect * rng.uniform(0.9, 1)  # a pack that stands askew is narrower
    return Facing(index, left, room.bottom - rng.uniform(0, 0.04) * height, width, height, rng.normal(0, 1.2), room.bottom)


def paint(scene: Scene, catalogue: Catalogue, rng: np.random.Generator) -> Painting:
    """Paint the flat shelf: its back, the packs with their shadows, the rails with their prices."""
    width, height = scene.flat
    flat = np.empty((height, width, 3), np.uint8)
    flat[:] = rng.uniform(35, 130) * rng.uniform(0.95, 1.05, 3)
    owner = np.zeros((height, width), np.uint16)
    areas = [0] * len(scene.facings)
    for i, facing in enumerate(scene.facings):
        pack = _pack(catalogue.products[facing.product], facing, rng)
        areas[i] = int(np.count_nonzero(pack[..., 3] > 127))
        _paste(flat, owner, facing, i + 1, pack)
    rail = rng.uniform(90, 235, 3) * 0.5 + rng.uniform(90, 235) * 0.5  # (3,)
    for top, bottom in scene.rows:
        _shade_row(flat[max(0, round(top)) : round(bottom)])
        _rail(flat, owner, (bottom - RAIL * (bottom - top), bottom), rail)
    for facing in scene.facings:
        if rng.random() < 0.5:
            _price(flat, facing, scene.rows[1][1] - scene.rows[0][1], rng)
    return Painting(flat, owner, np.array(areas))


@lru_cache(maxsize=1024)
def _drawn_large(product: Product, turn: int) -> Image:
    return draw_pack(product, DRAWN_HEIGHT, turn=TURN * turn)


def _pack(product: Product, facing: Facing, rng: np.random.Generator) -> Image:
    """The pack as it stands on the shelf (h, w, 4): in its own light, sometimes with a sticker, scaled, leaning."""
    size = (max(2, round(facing.width)), max(2, round(facing.height)))
    image = cv2.resize(_drawn_large(product, int(rng.integers(-2, 3))), size, interpolation=cv2.INTER_AREA)
    if rng.random() < STICKERS:
        _sticker(image, rng)
    x = np.linspace(0, 1, size[0])
    shine = np.exp(-(((x - rng.uniform(0.1, 0.9)) / rng.uniform(0.03, 0.12)) ** 2)) * max(0, rng.uniform(-200, 110))  # (w,)
    image[..., :3] = np.clip(image[..., :3] * rng.uniform(0.75, 1.05) + shine[None, :, None], 0, 255)
    image = with_border(image, PAD)
    middle = (image.shape[1] / 2 - 0.5, image.shape[0] / 2 - 0.5)
    return cv2.warpAffine(image, cv2.getRotationMatrix2D(middle, facing.lean, 1), image.shape[1::-1])


def _sticker(image: Image, rng: np.random.Generator) -> None:
    """Paint a round yellow or red sticker on a pack."""
    height, width = image.shape[:2]
    middle = (round(rng.uniform(0.15, 0.85) * width), round(rng.uniform(0.3, 0.9) * height))
    disc = cv2.circle(np.zeros((height, width), np.uint8), middle, round(rng.uniform(0.08, 0.14) * height), 255, -1)
    image[..., :3][disc > 0] = (250, 225, 40) if rng.random() < 0.5 else (225, 30, 40)


def _paste(flat: Image, owner: npt.NDArray[np.uint16], facing: Facing, number: int, pack: Image) -> None:
    """Paste a pack with its shadow onto the shelf and mark the pixels it owns; what lies outside the shelf is cut off."""
    x, y = round(facing.left) - PAD, round(facing.bottom - facing.height) - PAD
    inside, pack = cut_to_scene(pack, x, y, flat)
    part = flat[inside]
    if not pack.size:
        return
    alpha = pack[..., 3:] / np.float32(255)  # (h, w, 1)
    shadow = 1 - 0.55 * cv2.blur(pack[..., 3], (9, 9))[..., None] / np.float32(255)  # (h, w, 1)
    part[:] = pack[..., :3] * alpha + part * (shadow * (1 - alpha))
    owner[inside][pack[..., 3] > 127] = number


def _shade_row(row: Image) -> None:
    """Darken the top of a row, which is in the shadow of the board above."""
    light = 1 - 0.5 * np.exp(-np.linspace(0, 6, len(row)))  # (h,)
    row[:] = row * light[:, None, None]


def _rail(flat: Image, owner: npt.NDArray[np.uint16], reach: tuple[float, float], colour: npt.NDArray[np.float64]) -> None:
    """Paint the front edge of a board from y `reach[0]` to `reach[1]`, which hides what is behind it."""
    rows = slice(*(max(0, round(y)) for y in reach))
    edge, owner[rows] = flat[rows], 0
    edge[:] = colour * np.linspace(1.05, 0.7, len(edge))[:, None, None]


def _price(flat: Image, facing: Facing, pitch: float, rng: np.random.Generator) -> None:
    """Paint a price tag on the rail below a facing."""
    depth = RAIL * pitch
    x, y = round(facing.left + rng.uniform(0, 0.4) * facing.width), round(facing.foot)
    paper = (250, 250, 245) if rng.random() < 0.8 else (250, 215, 40)
    cv2.rectangle(flat, (x, y), (round(x + 2.2 * depth), round(y + 0.95 * depth)), paper, -1)
    price, low = f"{rng.integers(9, 99)}.{rng.integers(10)}0", round(y + 0.75 * depth)
    cv2.putText(flat, price, (x + 2, low), cv2.FONT_HERSHEY_SIMPLEX, depth / 40, (30, 30, 30), 1, cv2.LINE_AA)
