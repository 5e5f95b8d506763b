"""Where packages are put: on shelves in runs of facings, as rows of spines, in stacks, or loose. Knows nothing of colours."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

KINDS = ("facings", "spines", "stacks", "loose")
MARGIN = 0.18  # as stage1_detector.synthesis.shelf: painted beyond each edge of the photo
RAIL = 0.1  # chosen: depth of a board's front edge / distance from shelf to shelf


@dataclass(frozen=True)
class Look:
    """How composed photos look. All of it chosen by eye, but for what a data set tells: `sizes` and `rows`."""

    sizes: tuple[tuple[int, int], ...] = ((1280, 960), (960, 1280))  # (width, height) of photos, pixels
    rows: tuple[int, int] = (2, 7)  # least and most shelves a photo
    fill: tuple[float, float] = (0.45, 0.85)  # least and most usual side of a package / distance from shelf to shelf
    kinds: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)  # chance of each of KINDS
    assortment: tuple[int, int] = (6, 30)  # least and most products a photo
    stock: tuple[float, float] = (0.5, 1.0)  # least and most share of a shelf that holds packages
    runs: tuple[float, ...] = (0.32, 0.42, 0.16, 0.06, 0.04)  # chance of 1, 2, ... of a product side by side
    gap: float = 0.06  # standard deviation of the gap between neighbours / their width
    lean: float = 1.2  # standard deviation, degrees
    deep: float = 0.6  # chance that more of a product stand behind its first row
    loose: tuple[int, int] = (1, 10)  # least and most packages that lie loose
    visible: float = 0.3  # a package of which less is seen is not annotated
    keystone: float = 0.08
    turn: float = 1.5
    blur: tuple[float, float] = (0.3, 0.9)  # Gaussian sigma, pixels at a long side of 640
    noise: tuple[float, float] = (1.0, 7.0)  # grey levels
    jpeg: tuple[int, int] = (50, 92)


class Placed(NamedTuple):
    """One package on the flat scene: which, its middle, its sides before it is turned, pixels; degrees; if behind another."""

    product: int
    x: float
    y: float
    width: float
    height: float
    angle: float
    behind: int = 0


class Scene(NamedTuple):
    """One arrangement: (width, height) of photo and flat scene, boards' (top, bottom of the edge), packages back to front."""

    photo: tuple[int, int]
    flat: tuple[int, int]
    boards: tuple[tuple[float, float], ...]
    placed: tuple[Placed, ...]


class _Row(NamedTuple):
    """What a shelf offers: its width, where packages stand, the usual side, the tallest that fits; pixels."""

    width: float
    bottom: float
    side: float
    tallest: float


def arrange(look: Look, aspects: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], rng: np.random.Generator) -> Scene:
    """Fill one scene with products of `aspects` (C,), width / height, and `sizes` (C,), their side / the usual one."""
    photo = look.sizes[rng.integers(len(look.sizes))]
    flat = round(photo[0] * (1 + 2 * MARGIN)), round(photo[1] * (1 + 2 * MARGIN))
    most = min(len(aspects), int(rng.integers(look.assortment[0], look.assortment[1] + 1)))
    products = rng.choice(len(aspects), most, replace=False)  # (P,)
    kind = KINDS[rng.choice(len(KINDS), p=np.array(look.kinds) / sum(look.kinds))]
    if kind == "loose":
        return Scene(photo, flat, (), tuple(_loose(look, photo, products, aspects, rng)))
    count = rng.integers(look.rows[0], look.rows[1] + 1)
    pitch = photo[1] / count
    side, stock = rng.uniform(*look.fill) * pitch, rng.uniform(*look.stock)
    boards, placed = [], []
    for top in np.arange(rng.uniform(-0.9, -0.1) * pitch, flat[1], pitch):
        bottom = top + (1 - RAIL) * pitch
        boards.append((bottom, top + pitch))
        row = _Row(flat[0], bottom, side, 0.82 * pitch)
        placed += _row(look, kind, row, stock, products, aspects, sizes, rng)
    return Scene(photo, flat, tuple(boards), tuple(placed))


def _row(
    look: Look, kind: str, row: _Row, stock: float, products: npt.NDArray[np.int64], aspects: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.float64], rng: np.random.Generator,
) -> list[Placed]:  # fmt: skip
    """One shelf, left to right, with empty stretches; those behind come first, then the rest in any order."""
    chances = np.array(look.runs) / sum(look.runs)
    back: list[Placed] = []
    front: list[Placed] = []
    x = rng.uniform(-1, 0) * row.side
    while x < row.width:
        product, count = int(rng.choice(products)), 1 + int(rng.choice(len(chances), p=chances))
        aspect, side = float(aspects[product]), row.side * float(sizes[product])
        if kind == "stacks":
            run = _stack(product, x, row, side, rng)
        elif kind == "spines":
            run = _spines(products, x, row, 3 * count, rng)
        else:
            height = min(side / aspect**0.5, row.tallest)
            run = _facings(look, product, x, row, (height * aspect, height), count, rng)
        x = max(p.x + p.width / 2 for p in run) + abs(rng.normal(0, look.gap)) * row.side
        front += run
        back += [_behind(p, rng) for p in run] if kind == "facings" and rng.random() < look.deep else []
        if rng.random() > stock:
            x += rng.exponential(1.5 * row.side)
    return back + [front[i] for i in (range(len(front)) if kind == "stacks" else rng.permutation(len(front)))]


def _facings(
    look: Look, product: int, x: float, row: _Row, size: tuple[float, float], count: int, rng: np.random.Generator
) -> list[Placed]:
    """`count` of a product side by side."""
    run = []
    for _ in range(count):
        width = size[0] * rng.uniform(0.92, 1)
        y = row.bottom - size[1] / 2 - rng.uniform(0, 0.03) * size[1]
        run.append(Placed(product, x + width / 2, y, width, size[1], rng.normal(0, look.lean)))
        x += width * (1 + max(-0.15, rng.normal(0, look.gap)))
    return run


def _spines(products: npt.NDArray[np.int64], x: float, row: _Row, count: int, rng: np.random.Generator) -> list[Placed]:
    """Narrow things close together, as books stand; the last sometimes leans on the others."""
    run, tall = [], row.tallest * rng.uniform(0.55, 1)
    same = rng.random() < 0.4  # a series
    product, thin = int(rng.choice(products)), rng.uniform(0.08, 0.3)
    for i in range(count):
        product = product if same else int(rng.choice(products))
        height = tall * (1 if same else rng.uniform(0.8, 1))
        width = height * (thin if same else rng.uniform(0.08, 0.3))
        angle = rng.uniform(4, 14) if i == count - 1 and rng.random() < 0.4 else 0.0
        run.append(
            Placed(
                product, x + width / 2 + height * np.sin(np.radians(angle)) / 2, row.bottom - height / 2, width, height, angle
            )
        )
        x += width * rng.uniform(1, 1.06)
    return run


def _stack(product: int, x: float, row: _Row, side: float, rng: np.random.Generator) -> list[Placed]:
    """Flat things on top of each other."""
    run, bottom, width = [], row.bottom, side * rng.uniform(0.8, 1.8)
    height = min(side * rng.uniform(0.15, 0.5), row.tallest)
    for _ in range(rng.integers(1, 6)):
        if row.bottom - bottom + height > row.tallest:
            break
        run.append(
            Placed(product, x + width / 2 + rng.normal(0, 0.03) * width, bottom - height / 2, width, height, rng.normal(0, 0.5))
        )
        bottom -= height
    return run


def _behind(front: Placed, rng: np.random.Generator) -> Placed:
    """The next one behind: a little smaller and higher, as seen from above the shelf's middle."""
    scale, rise = rng.uniform(0.9, 0.97), rng.uniform(0.0, 0.09) * front.height
    middle = front.y + front.height * (1 - scale) / 2 - rise
    return front._replace(y=middle, x=front.x + rng.normal(0, 0.05) * front.width, width=front.width * scale,
                          height=front.height * scale, behind=1)  # fmt: skip


def _loose(
    look: Look,
    photo: tuple[int, int],
    products: npt.NDArray[np.int64],
    aspects: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> list[Placed]:
    """Packages that lie about on a table or on the ground, all about one way or any way, seldom on one another."""
    count = int(rng.integers(look.loose[0], look.loose[1] + 1))
    usual = min(photo) * rng.uniform(0.2, 0.75) / max(1.0, count / 2) ** 0.4
    one_way, way = rng.random() < 0.5, rng.choice((0.0, 90.0, 180.0, 270.0))
    placed: list[Placed] = []
    for _ in range(6 * count):
        product = int(rng.choice(products))
        side = usual * np.exp(rng.normal(0, 0.3))
        width, height = side * aspects[product] ** 0.5, side / aspects[product] ** 0.5
        middle = np.array([rng.uniform(MARGIN, 1 + MARGIN) * photo[0], rng.uniform(MARGIN, 1 + MARGIN) * photo[1]])  # (2,)
        near = any(
            np.hypot(p.x - middle[0], p.y - middle[1]) < 0.42 * (max(p.width, p.height) + max(width, height)) for p in placed
        )
        if not near or rng.random() < 0.04:
            angle = rng.normal(way, 12) if one_way else rng.uniform(0, 360)
            placed.append(Placed(product, *middle.tolist(), width, height, angle))
        if len(placed) == count:
            break
    return placed
