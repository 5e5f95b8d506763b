"""Photos of shelves composed of pictures of packages, fast: laid on a flat scene, then photographed. Knows nothing about files.

About 0.2 s of one core for a photo of 1280 x 960 pixels: all is 8 bit, and light is one multiplication at the end.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from stage1_detector.synthesis.camera import LONG, Shot, growth, seen, viewpoint
from stage1_detector.synthesis.layout import Look, Placed, Scene, arrange
from stage1_detector.synthesis.pack import Image

PAD = 8  # chosen: pixels round a package, room for its shadow
SHADE = 0.45  # chosen: how much light a package takes from what is right behind and below it
COARSE = 8  # chosen: light is computed on every 8th pixel
BEHIND = 0.62  # chosen: light that reaches the second row
HALVES = 3  # chosen: a cut-out of 256 pixels is then at hand down to 32
MATCH = 0.5  # chosen: how far a package's light follows the colour of its surroundings


@dataclass(frozen=True, eq=False)
class Stock:
    """What there is to put on shelves: for each of C products its pictures, uint8 (H, W, 4) RGBA or PNG files of such.

    `aspects` (C,) are width / height, `sizes` (C,) sides relative to the usual, `labels` int64 (C,) categories.
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
        """One of a product's pictures, at least `least` (width, height) large where it comes so large."""
        views = self.pictures[product]
        view = views[int(rng.integers(len(views)))]
        return read_large(view, least) if isinstance(view, Path) else view


def read_large(path: Path, least: tuple[int, int]) -> Image:
    """The smallest of `halved` that is at least so large: shrinking it costs a tenth of shrinking the whole."""
    enough = [image for image in halved(path) if image.shape[1] >= least[0] and image.shape[0] >= least[1]]
    return enough[-1] if enough else halved(path)[0]


@lru_cache(maxsize=2048)
def halved(path: Path) -> list[Image]:
    """A picture from disk and its halves, quarters and so on, down to HALVES times."""
    images = [read_png(path)]
    while len(images) <= HALVES and min(images[-1].shape[:2]) >= 8:
        height, width = images[-1].shape[:2]
        images.append(cv2.resize(images[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return images


def read_png(path: Path) -> Image:
    """A picture (H, W, 4) RGBA from disk. ValueError where it is none."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        raise ValueError(f"{path}: not a cut-out (a PNG with transparency); remove it, and it is made again")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8)


def compose(look: Look, stock: Stock, back: Image, rng: np.random.Generator) -> Shot:
    """One photo of products of `stock` before `back`, an image (H, W, 3) of any size."""
    scene = arrange(look, stock.aspects, stock.sizes, rng)
    flat, owner, areas = paint(scene, stock, back, rng)
    matrix = viewpoint(look.keystone, look.turn, scene.photo, scene.flat, rng)
    image = cv2.warpPerspective(flat, matrix, scene.photo, borderMode=cv2.BORDER_REPLICATE)
    owner = cv2.warpPerspective(owner, matrix, scene.photo, flags=cv2.INTER_NEAREST)
    middles = np.array([(p.x, p.y) for p in scene.placed]).reshape(-1, 2)
    boxes, which = seen(owner, areas * growth(matrix, middles), look.visible)
    products = np.array([p.product for p in scene.placed], np.int64)  # (P,)
    return Shot(expose(look, image, rng), boxes, stock.labels[products[which]])


def paint(
    scene: Scene, stock: Stock, back: Image, rng: np.random.Generator
) -> tuple[Image, npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """The flat scene (H, W, 3), whose each pixel is (index of the package + 1, or 0), and each package's own pixels (P,).

    What stands behind is nobody's: it is not to be found.
    """
    flat = cv2.resize(back, scene.flat, interpolation=cv2.INTER_LINEAR)
    if scene.boards:
        flat = cv2.convertScaleAbs(flat, alpha=rng.uniform(0.35, 0.9))
    owner = np.zeros(flat.shape[:2], np.uint16)
    areas = np.zeros(len(scene.placed), np.int64)
    tones = _tones(back)
    for i, one in enumerate(scene.placed):
        picture = _standing(stock, one, tones, scene.flat, rng)
        areas[i] = np.count_nonzero(picture[..., 3] > 127)
        _put(flat, owner, one, i + 1, picture)
    if scene.boards:
        _boards(flat, owner, scene, rng)
        _light_rows(flat, scene, rng)
    return flat, owner, areas


def expose(look: Look, image: Image, rng: np.random.Generator) -> Image:
    """Uneven tinted light, a veil, blur and noise, in 8 bits (H, W, 3)."""
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height // COARSE + 1)[:, None], np.linspace(-1, 1, width // COARSE + 1)[None]
    a, b, cx, cy = rng.uniform(-0.2, 0.2, 2).tolist() + rng.uniform(-1, 1, 2).tolist()
    field = rng.uniform(0.7, 1.3) + a * x + b * y + rng.uniform(0, 0.3) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.4)
    image = _lit(image, field[..., None] * (1 + rng.normal(0, 0.07, 3)))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pale = rng.uniform(0, 0.35)
    image = cv2.addWeighted(image, (1 - pale) * (veil := rng.uniform(0.8, 1)), grey, pale * veil, rng.uniform(0, 30))
    sigma = rng.uniform(*look.blur) * max(image.shape) / LONG
    image = cv2.GaussianBlur(image, (0, 0), sigma * (1 + (rng.random() < 0.2)), sigmaY=sigma)
    return _noisy(image, rng.uniform(*look.noise), rng)


def _noisy(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Noise of the sensor: Gaussian, made for a quarter of the rows and shifted for the others, to save time."""
    strip = rng.standard_normal((len(image) // 4 + 1, *image.shape[1:]), np.float32) * sigma
    noise = np.concatenate([np.roll(strip, int(rng.integers(strip.shape[1])), 1) for _ in range(4)])[: len(image)]
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def _lit(image: Image, light: npt.NDArray[np.floating]) -> Image:
    """`image` (H, W, 3) times `light` (h, w, 3), which is brought to its size."""
    full = cv2.resize(light.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(image, full, dtype=cv2.CV_8U), np.uint8)


def _tones(back: Image) -> npt.NDArray[np.float64]:
    """The colour of the surroundings on a coarse grid (8, 8, 3), relative to a middle grey."""
    return cv2.resize(back, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float64) / 118


def _standing(
    stock: Stock, one: Placed, tones: npt.NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator
) -> Image:
    """The package as it is seen there, RGBA with PAD around it: scaled, in its own light, turned."""
    wide, high = max(2, round(one.width)), max(2, round(one.height))
    picture = stock.picture(one.product, (wide, high), rng)
    picture = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA if wide < picture.shape[1] else cv2.INTER_LINEAR)
    row, column = (int(np.clip(8 * a / b, 0, 7)) for a, b in ((one.y, size[1]), (one.x, size[0])))
    gain = np.clip(tones[row, column], 0.4, 1.4) ** MATCH * rng.uniform(0.8, 1.1) * (BEHIND if one.behind else 1)  # (3,)
    picture = cv2.multiply(picture, (*gain.tolist(), 1.0))
    picture = cv2.copyMakeBorder(picture, PAD, PAD, PAD, PAD, cv2.BORDER_REPLICATE)
    picture[:PAD, :, 3] = picture[-PAD:, :, 3] = picture[:, :PAD, 3] = picture[:, -PAD:, 3] = 0
    return picture if one.angle == 0 else _turned(picture, one.angle)


def _turned(picture: Image, angle: float) -> Image:
    """`picture` turned by `angle` degrees, on a canvas that holds it whole."""
    high, wide = picture.shape[:2]
    cos, sin = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
    size = round(wide * cos + high * sin), round(wide * sin + high * cos)
    matrix = cv2.getRotationMatrix2D((wide / 2 - 0.5, high / 2 - 0.5), angle, 1)
    matrix[:, 2] += (size[0] - wide) / 2, (size[1] - high) / 2
    return np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE) if angle % 90 else
                      cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)  # fmt: skip


def _put(flat: Image, owner: npt.NDArray[np.uint16], one: Placed, number: int, picture: Image) -> None:
    """Lay a package over the scene with its shadow, and mark its pixels as its own; what lies outside is lost."""
    x, y = round(one.x - picture.shape[1] / 2), round(one.y - picture.shape[0] / 2)
    picture = picture[max(0, -y) :, max(0, -x) :]
    inside = (slice(max(0, y), max(0, y) + picture.shape[0]), slice(max(0, x), max(0, x) + picture.shape[1]))
    part = flat[inside]
    picture = picture[: part.shape[0], : part.shape[1]]
    if not picture.size:
        return
    alpha = picture[..., 3]
    shadow = cv2.blur(alpha, (2 * PAD - 1, 2 * PAD - 1))
    under = cv2.multiply(part, cv2.merge([cv2.convertScaleAbs(shadow, alpha=-SHADE, beta=255)] * 3), scale=1 / 255)
    over = cv2.merge([alpha] * 3)
    part[:] = cv2.add(
        cv2.multiply(picture[..., :3], over, scale=1 / 255), cv2.multiply(under, cv2.bitwise_not(over), scale=1 / 255)
    )
    owner[inside][alpha > 127] = 0 if one.behind else number


def _boards(flat: Image, owner: npt.NDArray[np.uint16], scene: Scene, rng: np.random.Generator) -> None:
    """The front edges of the boards, which hide what is behind them, some with tags: of paper, in places, or in a row."""
    edge = rng.uniform(60, 235) * (1 + rng.normal(0, 0.08, 3))  # (3,)
    tags, wide = rng.choice((0.0, 0.3, 0.9)), rng.uniform(1.2, 3)
    for top, bottom in scene.boards:
        rows = slice(max(0, round(top)), max(0, round(bottom)))
        part, owner[rows] = flat[rows], 0
        if not len(part):
            continue
        part[:] = np.clip(edge * np.linspace(1.1, 0.75, len(part))[:, None, None], 0, 255)
        high = round(0.9 * (bottom - top))
        for x in np.arange(rng.uniform(0, high), flat.shape[1], wide * high * rng.uniform(1.05, 2)):
            if rng.random() < tags:
                _tag(flat, round(x), round(top), round(wide * high * 0.9), high, rng)


def _tag(flat: Image, x: int, y: int, width: int, height: int, rng: np.random.Generator) -> None:
    """A price tag with its corner at x, y."""
    paper = (250, 250, 245) if rng.random() < 0.8 else (250, 215, 40)
    cv2.rectangle(flat, (x, y), (x + width, y + height), paper, -1)
    price = f"{rng.integers(9, 99)}.{rng.integers(10)}0"
    cv2.putText(
        flat, price, (x + 2, y + round(0.8 * height)), cv2.FONT_HERSHEY_SIMPLEX, height / 40, (30, 30, 30), 1, cv2.LINE_AA
    )


def _light_rows(flat: Image, scene: Scene, rng: np.random.Generator) -> None:
    """Each board keeps light from the top of the row below it."""
    light = np.ones(flat.shape[0] // COARSE + 1)
    deep = rng.uniform(0.2, 0.6)
    for (_, start), (end, _) in zip(scene.boards, [*scene.boards[1:], (flat.shape[0], 0)], strict=True):
        rows = slice(max(0, round(start / COARSE)), max(0, round(end / COARSE)))
        light[rows] = 1 - deep * np.exp(-np.linspace(0, 5, len(light[rows])))
    flat[:] = _lit(flat, np.broadcast_to(light[:, None, None], (len(light), 2, 3)))
