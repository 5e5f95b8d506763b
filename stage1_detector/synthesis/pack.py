"""A product of the drawn shop: what is printed on its pack, and how that is drawn. Knows nothing about shelves."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]  # red, green, blue 0..255
Box = tuple[float, float, float, float]  # x0 y0 x1 y1 in shares of a canvas


@dataclass(frozen=True)
class Shape:
    """A kind of pack: its outline as (y, half width) pairs in shares of the pack, and where its label sits."""

    profile: tuple[tuple[float, float], ...]
    label: Box
    cap: float  # share of the height that is lid or cap
    aspect: tuple[float, float]  # least and most width / height
    curved: bool
    drum: bool = True  # can stand turned


@dataclass(frozen=True)
class Family:
    """What look-alikes share: maker, goods, pack and print."""

    brand: str
    goods: str
    shape: str
    aspect: float  # width / height
    size: float  # of the pack's side, relative to the shop's median
    base: Colour
    second: Colour
    pattern: str
    band: str  # how the part that differs between members is placed: "level", "slant", "side" or "half"
    icon_varies: bool
    font: int
    old_band: str  # the print that the studio photographed; half the families have changed theirs since
    old_second: Colour


@dataclass(frozen=True)
class Product:
    """One member of a family: the small things that tell it from the others."""

    name: str
    code: str
    family: Family
    word: str
    accent: Colour
    icon: str
    note: str  # small print


SHAPES = {
    "carton": Shape(((0, 0.5), (1, 0.5)), (0, 0, 1, 1), 0.0, (0.65, 2.6), False, False),
    "pouch": Shape(((0, 0.47), (0.07, 0.47), (0.11, 0.44), (0.5, 0.5), (0.92, 0.46), (1, 0.48)), (0, 0.06, 1, 1), 0.0,
                   (0.6, 1.2), True, False),
    "bottle": Shape(((0, 0.17), (0.2, 0.17), (0.36, 0.5), (0.97, 0.5), (1, 0.45)), (0, 0.4, 1, 0.92), 0.13, (0.4, 0.55), True),
    "jar": Shape(((0, 0.44), (0.15, 0.44), (0.2, 0.5), (0.95, 0.5), (1, 0.44)), (0, 0.24, 1, 0.92), 0.16, (0.7, 1.05), True),
    "can": Shape(((0, 0.4), (0.04, 0.5), (0.96, 0.5), (1, 0.42)), (0, 0.06, 1, 0.95), 0.05, (0.6, 1.1), True),
}  # fmt: skip
PATTERNS = ("plain", "rays", "dots", "waves", "disc")
BANDS = ("level", "slant", "side", "half")
FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX, cv2.FONT_HERSHEY_COMPLEX)
_TURN = np.linspace(0, 2 * np.pi, 60, endpoint=False)  # (60,) radians
_COS, _SIN = np.abs(np.cos(_TURN)), np.abs(np.sin(_TURN))
ICONS = {  # radius (60,) at each angle of _TURN, in shares of the icon's half side
    "berry": np.ones(60),
    "flower": 0.72 + 0.28 * np.cos(5 * _TURN),
    "star": 0.45 + 0.55 * np.abs(np.mod(_TURN * 5 / np.pi, 2) - 1),
    "square": 0.75 / np.maximum(_COS, _SIN),
    "diamond": 1 / (_COS + _SIN),
    "heart": 0.55 * (1 + np.sin(_TURN)) + 0.15,
    "leaf": 0.42 / np.hypot(0.42 * np.cos(_TURN - 0.7), np.sin(_TURN - 0.7)),
    "clover": 0.3 + 0.7 * np.abs(np.cos(2 * _TURN)),
}


def old_print(product: Product) -> Product:
    """The product as it was printed when the studio photographed it."""
    family = product.family
    return replace(product, family=replace(family, band=family.old_band, second=family.old_second))


def draw_pack(product: Product, height: int, view: str = "front", turn: float = 0.0) -> Image:
    """The pack on a transparent ground, `height` pixels tall: uint8 (H, W, 4) RGBA.

    `view` is "front", "left" or "right". A drum (bottle, jar, can) is turned by `turn` of its width.
    """
    family, shape = product.family, SHAPES[product.family.shape]
    width = round(height * family.aspect * (1 if view == "front" or shape.curved else min(1, 0.45 / family.aspect)))
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = family.second if shape.label != (0, 0, 1, 1) else family.base
    x0, y0, x1, y1 = np.round(np.multiply(shape.label, (width, height) * 2)).astype(int)
    label = (_front if view == "front" else _side)(product, y1 - y0, x1 - x0, view)
    canvas[y0:y1, x0:x1] = np.roll(label, round(turn * width * shape.drum), axis=1)
    canvas[: round(shape.cap * height)] = product.accent if family.band in ("half", "side") else family.base
    alpha = np.zeros((height, width), np.uint8)
    polygon(alpha, outline_of(np.array(shape.profile)), 255)
    shade = np.outer(np.linspace(1.04, 0.9, height), _shade(width, shape.curved)).astype(np.float32)  # (H, W)
    return cv2.merge([*(cv2.multiply(c, shade, dtype=cv2.CV_8U) for c in cv2.split(canvas)), alpha])  # (H, W, 4)


def outline_of(profile: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The polygon (2P, 2), x y in shares of the pack, of a symmetrical outline given as y and half width (P, 2)."""
    return np.vstack([profile * (1, -1), profile[::-1]])[:, ::-1] + np.array([0.5, 0])


def _shade(width: int, curved: bool) -> npt.NDArray[np.float64]:
    """Light across a pack (W,): a drum darkens to both sides and shines left of its middle; a flat front hardly changes."""
    x = np.linspace(-1, 1, width)
    return 0.55 + 0.45 * np.sqrt(1 - 0.9 * x**2) + 0.18 * np.exp(-(((x + 0.45) / 0.12) ** 2)) if curved else 1 - 0.06 * x


def _front(product: Product, height: int, width: int, view: str) -> Image:
    """The front label (H, W, 3): background, pattern, picture, the band that names the member, the brand."""
    family, canvas = product.family, np.empty((height, width, 3), np.uint8)
    canvas[:] = family.base
    _pattern(canvas, family)
    band, word, picture = _layout(family.band)
    polygon(canvas, np.array(band), product.accent)
    plate = (0.04, 0.05, 0.96, 0.25)
    polygon(canvas, _corners(plate), family.second)
    _text(canvas, family.brand, (0.1, 0.08, 0.9, 0.22), family.second, family.font)
    _icon(canvas, product.icon, picture, product.accent if family.icon_varies else family.second)
    _text(canvas, product.word.upper(), word, family.base if family.band == "side" else product.accent, cv2.FONT_HERSHEY_DUPLEX)
    _text(canvas, product.note, (0.1, 0.92, 0.66, 0.97), family.base, cv2.FONT_HERSHEY_SIMPLEX)
    return canvas


def _layout(band: str) -> tuple[list[tuple[float, float]], Box, Box]:
    """Corners of the coloured band, the box of the word on it, the box of the picture."""
    return {
        "level": ([(0, 0.68), (1, 0.68), (1, 0.89), (0, 0.89)], (0.06, 0.71, 0.94, 0.86), (0.26, 0.29, 0.74, 0.65)),
        "slant": ([(0, 0.76), (1, 0.6), (1, 0.84), (0, 0.92)], (0.1, 0.7, 0.95, 0.83), (0.08, 0.3, 0.56, 0.66)),
        "side": ([(0.76, 0), (1, 0), (1, 1), (0.76, 1)], (0.04, 0.7, 0.72, 0.86), (0.12, 0.3, 0.6, 0.66)),
        "half": ([(0, 0.6), (0.5, 0.68), (1, 0.6), (1, 0.9), (0, 0.9)], (0.08, 0.72, 0.92, 0.86), (0.28, 0.3, 0.72, 0.68)),
    }[band]  # fmt: skip


def _side(product: Product, height: int, width: int, view: str) -> Image:
    """A side panel (H, W, 3): brand, small print, and on the right side the member's word."""
    family, canvas = product.family, np.empty((height, width, 3), np.uint8)
    canvas[:] = family.base
    polygon(canvas, _corners((0, 0.8, 1, 0.92)), product.accent)
    _text(canvas, family.brand, (0.1, 0.06, 0.9, 0.16), family.base, family.font)
    if view == "right":
        _text(canvas, product.word.upper(), (0.1, 0.82, 0.9, 0.9), product.accent, cv2.FONT_HERSHEY_DUPLEX)
    for y in np.arange(0.3, 0.7, 0.05):
        polygon(canvas, _corners((0.15, y, 0.85, y + 0.015)), _ink(family.base))
    return canvas


def _pattern(canvas: Image, family: Family) -> None:
    """Paint the family's background pattern in a colour between its two."""
    tone = tuple(int(0.65 * b + 0.35 * s) for b, s in zip(family.base, family.second, strict=True))
    if family.pattern == "rays":
        for a in np.arange(0, 2 * np.pi, np.pi / 7):
            ray = [(0, 0), (np.cos(a), np.sin(a)), (np.cos(a + 0.2), np.sin(a + 0.2))]
            polygon(canvas, np.array(ray) + 0.5, tone)
    elif family.pattern == "dots":
        for i in range(30):
            _icon(canvas, "berry", (x := 0.2 * (i % 5) + 0.06, y := 0.17 * (i // 5), x + 0.1, y + 0.08), tone)
    elif family.pattern == "waves":
        for y in np.arange(0.3, 1, 0.2):
            x = np.linspace(0, 1, 30)
            top = np.stack([x, y + 0.04 * np.sin(9 * x)], axis=1)  # (30, 2)
            polygon(canvas, np.vstack([top, top[::-1] + np.array([0, 0.07])]), tone)
    elif family.pattern == "disc":
        _icon(canvas, "berry", (-0.1, 0.2, 1.1, 0.95), tone)


def polygon(canvas: Image, corners: npt.NDArray[np.float64], colour: Colour | int) -> None:
    """Fill the polygon with `corners` (N, 2), x y in shares of the canvas."""
    size = (canvas.shape[1], canvas.shape[0])
    fill = colour if isinstance(colour, int) else [int(c) for c in colour]
    cv2.fillPoly(canvas, [np.round(corners * size * 16).astype(np.int32)], fill, cv2.LINE_AA, shift=4)


def _corners(box: Box) -> npt.NDArray[np.float64]:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])  # (4, 2)


def _icon(canvas: Image, icon: str, box: Box, colour: Colour) -> None:
    """Draw an icon as large as fits the middle of `box`, round on a canvas of any form."""
    height, width = canvas.shape[:2]
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    half = min((box[2] - box[0]) * width, (box[3] - box[1]) * height) / 2  # pixels
    spokes = np.stack([np.cos(_TURN), -np.sin(_TURN)], axis=1) * ICONS[icon][:, None]  # (60, 2)
    polygon(canvas, middle + spokes * half / (width, height), colour)


def _ink(background: Colour) -> Colour:
    """Black on light, white on dark (Rec. 601 luma).

    >>> _ink((255, 255, 0)), _ink((0, 0, 255))
    ((24, 22, 20), (252, 252, 250))
    """
    return (24, 22, 20) if np.dot(background, (0.299, 0.587, 0.114)) > 140 else (252, 252, 250)


def _text(canvas: Image, text: str, box: Box, background: Colour, font: int) -> None:
    """Write `text` as large as fits `box`, in the middle of it, in the ink that stands out from `background`."""
    height, width = canvas.shape[:2]
    (long, tall), low = cv2.getTextSize(text, font, 1, 2)
    scale = min((box[2] - box[0]) * width / long, (box[3] - box[1]) * height / (tall + low / 2))
    x = ((box[0] + box[2]) * width - long * scale) / 2
    y = ((box[1] + box[3]) * height + tall * scale) / 2
    cv2.putText(canvas, text, (round(x), round(y)), font, scale, _ink(background), max(1, round(scale * 2.4)), cv2.LINE_AA)


def with_border(picture: Image, width: int) -> Image:
    """An RGBA picture (h, w, 4) with `width` transparent pixels around it, of the colours at its edge."""
    framed = cv2.copyMakeBorder(picture, *(width,) * 4, cv2.BORDER_REPLICATE)  # (h + 2 width, w + 2 width, 4)
    framed[:width, :, 3] = framed[-width:, :, 3] = framed[:, :width, 3] = framed[:, -width:, 3] = 0
    return framed


def cut_to_scene(picture: Image, x: int, y: int, scene: Image) -> tuple[tuple[slice, slice], Image]:
    """Where in `scene` (H, W, 3) a picture lies whose corner is at x, y, and the part of it that does not lie outside."""
    picture = picture[max(0, -y) :, max(0, -x) :]
    inside = (slice(max(0, y), max(0, y) + picture.shape[0]), slice(max(0, x), max(0, x) + picture.shape[1]))
    height, width = scene[inside].shape[:2]
    return inside, picture[:height, :width]
