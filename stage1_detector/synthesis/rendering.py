"""Render photos of shelves from pictures of packages: pasted onto a flat scene, which is then photographed.

About 0.2 s of one core for a photo of 1280 x 960 pixels: images stay in 8 bits, and light is one multiplication at the end.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from stage1_detector.synthesis.camera import BLUR_LONG_SIDE, Shot, growth, viewpoint, visible_boxes
from stage1_detector.synthesis.layout import PlacedPackage, Scene, ShelfAppearance, arrange
from stage1_detector.synthesis.pack import Image, cut_to_scene, with_border

PAD = 8  # chosen: pixels around a package, for its shadow
SHADE = 0.45  # chosen: share of the light that the shadow of a package takes
COARSE = 8  # chosen: light is computed on every 8th pixel
BEHIND = 0.62  # chosen: share of the light that reaches packages behind others
HALVES = 3  # chosen: a cut-out of 256 pixels is then kept down to 32
MATCH = 0.5  # chosen: exponent; 1 gives a package the full colour of its surroundings, 0 none of it


@dataclass(frozen=True, eq=False)
class Stock:
    """The products to put on shelves: for each of C products its pictures, uint8 (H, W, 4) RGBA, or PNG files of them.

    `aspects` (C,) are width / height, `sizes` (C,) are side / usual side, `labels` int64 (C,) are categories.
    Raises ValueError for a product without a picture.
    """

    pictures: tuple[tuple[Image | Path, ...], ...]
    aspects: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.pictures or not all(self.pictures):
            raise ValueError(f"stock: got {len(self.pictures)} products, need at least 1, each with a picture")

    def picture(self, product: int, least: tuple[int, int], rng: np.random.Generator) -> Image:
        """One of a product's pictures, at least `least` (width, height) pixels where there is one of that size."""
        views = self.pictures[product]
        view = views[int(rng.integers(len(views)))]
        return read_at_least(view, least) if isinstance(view, Path) else view


def read_at_least(path: Path, least: tuple[int, int]) -> Image:
    """The smallest image of `read_pyramid` with at least `least` (width, height) pixels, which is quick to shrink further."""
    enough = [image for image in read_pyramid(path) if image.shape[1] >= least[0] and image.shape[0] >= least[1]]
    return enough[-1] if enough else read_pyramid(path)[0]


@lru_cache(maxsize=2048)
def read_pyramid(path: Path) -> list[Image]:
    """A picture from disk at full, half, quarter size and so on, halved HALVES times at most."""
    images = [read_png(path)]
    while len(images) <= HALVES and min(images[-1].shape[:2]) >= 8:
        height, width = images[-1].shape[:2]
        images.append(cv2.resize(images[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return images


def read_png(path: Path) -> Image:
    """A picture (H, W, 4) RGBA from disk. Raises ValueError where it is not a PNG with transparency."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        raise ValueError(f"{path}: not a cut-out (a PNG with transparency); remove it, and it is made again")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8)


def render(appearance: ShelfAppearance, stock: Stock, background: Image, rng: np.random.Generator) -> Shot:
    """One photo of products of `stock` before `background`, an image (H, W, 3) of any size."""
    scene = arrange(appearance, stock.aspects, stock.sizes, rng)
    flat, owner, areas = paint(scene, stock, background, rng)
    matrix = viewpoint(appearance.keystone, appearance.turn, scene.photo, scene.flat, rng)
    image = cv2.warpPerspective(flat, matrix, scene.photo, borderMode=cv2.BORDER_REPLICATE)
    owner = cv2.warpPerspective(owner, matrix, scene.photo, flags=cv2.INTER_NEAREST)
    middles = np.array([(p.x, p.y) for p in scene.placed]).reshape(-1, 2)
    boxes, visible = visible_boxes(owner, areas * growth(matrix, middles), appearance.visible)
    products = np.array([p.product for p in scene.placed], np.int64)  # (P,)
    return Shot(expose(appearance, image, rng), boxes, stock.labels[products[visible]])


def paint(
    scene: Scene, stock: Stock, background: Image, rng: np.random.Generator
) -> tuple[Image, npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """The flat scene (H, W, 3), the owner of each pixel (H, W), and the area of each package in pixels (P,).

    An owner is the index of a package + 1, or 0. Packages behind others own no pixels, as they are not annotated.
    """
    flat = cv2.resize(background, scene.flat, interpolation=cv2.INTER_LINEAR)
    if scene.boards:
        flat = cv2.convertScaleAbs(flat, alpha=rng.uniform(0.35, 0.9))
    owner = np.zeros(flat.shape[:2], np.uint16)
    areas = np.zeros(len(scene.placed), np.int64)
    tones = _tones(background)
    for i, package in enumerate(scene.placed):
        picture = _package_picture(stock, package, tones, scene.flat, rng)
        areas[i] = np.count_nonzero(picture[..., 3] > 127)
        _paste(flat, owner, package, i + 1, picture)
    if scene.boards:
        _boards(flat, owner, scene, rng)
        _light_rows(flat, scene, rng)
    return flat, owner, areas


def expose(appearance: ShelfAppearance, image: Image, rng: np.random.Generator) -> Image:
    """`image` (H, W, 3) in uneven tinted light, with less contrast and colour, blurred and noisy; uint8."""
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height // COARSE + 1)[:, None], np.linspace(-1, 1, width // COARSE + 1)[None]
    a, b, cx, cy = rng.uniform(-0.2, 0.2, 2).tolist() + rng.uniform(-1, 1, 2).tolist()
    field = rng.uniform(0.7, 1.3) + a * x + b * y + rng.uniform(0, 0.3) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.4)
    image = _lit(image, field[..., None] * (1 + rng.normal(0, 0.07, 3)))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pale = rng.uniform(0, 0.35)
    image = cv2.addWeighted(image, (1 - pale) * (veil := rng.uniform(0.8, 1)), grey, pale * veil, rng.uniform(0, 30))
    sigma = rng.uniform(*appearance.blur) * max(image.shape) / BLUR_LONG_SIDE
    image = cv2.GaussianBlur(image, (0, 0), sigma * (1 + (rng.random() < 0.2)), sigmaY=sigma)
    return _noisy(image, rng.uniform(*appearance.noise), rng)


def _noisy(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """`image` with Gaussian sensor noise, drawn for a quarter of the rows and shifted for the others, to save time."""
    strip = rng.standard_normal((len(image) // 4 + 1, *image.shape[1:]), np.float32) * sigma
    noise = np.concatenate([np.roll(strip, int(rng.integers(strip.shape[1])), 1) for _ in range(4)])[: len(image)]
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def _lit(image: Image, light: npt.NDArray[np.floating]) -> Image:
    """`image` (H, W, 3) times `light` (h, w, 3), which is resized to it."""
    full = cv2.resize(light.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(image, full, dtype=cv2.CV_8U), np.uint8)


def _tones(background: Image) -> npt.NDArray[np.float64]:
    """The colour of the surroundings on a coarse grid (8, 8, 3), relative to a middle grey."""
    return cv2.resize(background, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float64) / 118


def _package_picture(
    stock: Stock, package: PlacedPackage, tones: npt.NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator
) -> Image:
    """The picture of a package, RGBA with PAD pixels around it: scaled, in the light of its surroundings, rotated."""
    width, height = max(2, round(package.width)), max(2, round(package.height))
    picture = stock.picture(package.product, (width, height), rng)
    interpolation = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_LINEAR
    picture = cv2.resize(picture, (width, height), interpolation=interpolation)
    row, column = (int(np.clip(8 * a / b, 0, 7)) for a, b in ((package.y, size[1]), (package.x, size[0])))
    gain = np.clip(tones[row, column], 0.4, 1.4) ** MATCH * rng.uniform(0.8, 1.1) * (BEHIND if package.behind else 1)  # (3,)
    picture = cv2.multiply(picture, (*gain.tolist(), 1.0))
    picture = with_border(picture, PAD)
    return picture if package.angle == 0 else _turned(picture, package.angle)


def _turned(picture: Image, angle: float) -> Image:
    """`picture` rotated by `angle` degrees, on a canvas large enough for all of it."""
    height, width = picture.shape[:2]
    cos, sin = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
    size = round(width * cos + height * sin), round(width * sin + height * cos)
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), angle, 1)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE) if angle % 90 else
                      cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)  # fmt: skip


def _paste(flat: Image, owner: npt.NDArray[np.uint16], package: PlacedPackage, number: int, picture: Image) -> None:
    """Paste a package with its shadow onto the scene and mark the pixels it owns; what lies outside the scene is cut off."""
    x, y = round(package.x - picture.shape[1] / 2), round(package.y - picture.shape[0] / 2)
    inside, picture = cut_to_scene(picture, x, y, flat)
    part = flat[inside]
    if not picture.size:
        return
    alpha = picture[..., 3]
    shadow = cv2.blur(alpha, (2 * PAD - 1, 2 * PAD - 1))
    under = cv2.multiply(part, cv2.merge([cv2.convertScaleAbs(shadow, alpha=-SHADE, beta=255)] * 3), scale=1 / 255)
    over = cv2.merge([alpha] * 3)
    part[:] = cv2.add(
        cv2.multiply(picture[..., :3], over, scale=1 / 255), cv2.multiply(under, cv2.bitwise_not(over), scale=1 / 255)
    )
    owner[inside][alpha > 127] = 0 if package.behind else number


def _boards(flat: Image, owner: npt.NDArray[np.uint16], scene: Scene, rng: np.random.Generator) -> None:
    """Paint the front edges of the boards, which hide what is behind them; without price tags, with few, or with many."""
    edge = rng.uniform(60, 235) * (1 + rng.normal(0, 0.08, 3))  # (3,)
    tag_share, tag_aspect = rng.choice((0.0, 0.3, 0.9)), rng.uniform(1.2, 3)
    for top, bottom in scene.boards:
        rows = slice(max(0, round(top)), max(0, round(bottom)))
        part, owner[rows] = flat[rows], 0
        if not len(part):
            continue
        part[:] = np.clip(edge * np.linspace(1.1, 0.75, len(part))[:, None, None], 0, 255)
        height = round(0.9 * (bottom - top))
        for x in np.arange(rng.uniform(0, height), flat.shape[1], tag_aspect * height * rng.uniform(1.05, 2)):
            if rng.random() < tag_share:
                _tag(flat, (round(x), round(top), round(tag_aspect * height * 0.9), height), rng)


def _tag(flat: Image, rectangle: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    """Paint a price tag into `rectangle`, x y width height in pixels."""
    x, y, width, height = rectangle
    paper = (250, 250, 245) if rng.random() < 0.8 else (250, 215, 40)
    cv2.rectangle(flat, (x, y), (x + width, y + height), paper, -1)
    price = f"{rng.integers(9, 99)}.{rng.integers(10)}0"
    cv2.putText(
        flat, price, (x + 2, y + round(0.8 * height)), cv2.FONT_HERSHEY_SIMPLEX, height / 40, (30, 30, 30), 1, cv2.LINE_AA
    )


def _light_rows(flat: Image, scene: Scene, rng: np.random.Generator) -> None:
    """Darken the top of each row, which is in the shadow of the board above."""
    light = np.ones(flat.shape[0] // COARSE + 1)
    deep = rng.uniform(0.2, 0.6)
    for (_, start), (end, _) in zip(scene.boards, [*scene.boards[1:], (flat.shape[0], 0)], strict=True):
        rows = slice(max(0, round(start / COARSE)), max(0, round(end / COARSE)))
        light[rows] = 1 - deep * np.exp(-np.linspace(0, 5, len(light[rows])))
    flat[:] = _lit(flat, np.broadcast_to(light[:, None, None], (len(light), 2, 3)))
