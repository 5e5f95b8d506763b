"""Where packages stand: on shelves in runs of facings, as rows of spines, in stacks, or loose. Knows nothing about pictures."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

KINDS = ("facings", "spines", "stacks", "loose")
MARGIN = 0.18  # as stage1_detector.synthesis.shelf: painted beyond each edge of the photo
RAIL = 0.1  # chosen: depth of a board's front edge / distance from shelf to shelf


@dataclass(frozen=True)
class ShelfAppearance:
    """How composed photos look. Chosen by eye, except `sizes` and `rows` where they are taken from a data set.

    Its fields are written to world.json: a renamed field makes earlier data sets those of another request.
    """

    sizes: tuple[tuple[int, int], ...] = ((1280, 960), (960, 1280))  # (width, height) of photos, pixels
    rows: tuple[int, int] = (2, 7)  # least and most shelves a photo
    fill: tuple[float, float] = (0.45, 0.85)  # least and most usual side of a package / distance from shelf to shelf
    kinds: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)  # chance of each of KINDS
    assortment: tuple[int, int] = (6, 30)  # least and most products a photo
    stock: tuple[float, float] = (0.5, 1.0)  # least and most share of a shelf that holds packages
    runs: tuple[float, ...] = (0.32, 0.42, 0.16, 0.06, 0.04)  # chance of 1, 2, ... of a product side by side
    gap: float = 0.06  # standard deviation of the gap between neighbours / their width
    lean: float = 1.2  # standard deviation, degrees
    deep: float = 0.6  # chance that a run of facings has more packages of the product behind it
    loose: tuple[int, int] = (1, 10)  # least and most packages that lie loose
    visible: float = 0.3  # a package of which a smaller share is visible is not annotated
    keystone: float = 0.08  # standard deviation of the perspective: change of scale from edge to edge
    turn: float = 1.5  # standard deviation of the camera's roll, degrees
    blur: tuple[float, float] = (0.3, 0.9)  # least and most Gaussian sigma, pixels at a long side of 640
    noise: tuple[float, float] = (1.0, 7.0)  # least and most sensor noise, grey levels
    jpeg: tuple[int, int] = (50, 92)  # least and most quality


class PlacedPackage(NamedTuple):
    """One package on the flat scene: product, centre and unrotated sides in pixels, degrees, 1 if behind another."""

    product: int
    x: float
    y: float
    width: float
    height: float
    angle: float
    behind: int = 0


class Scene(NamedTuple):
    """One arrangement: (width, height) of the photo and of the flat scene, (top, bottom) of each board's front edge, and the
    packages from back to front.
    """

    photo: tuple[int, int]
    flat: tuple[int, int]
    boards: tuple[tuple[float, float], ...]
    placed: tuple[PlacedPackage, ...]


class _Row(NamedTuple):
    """One shelf, in pixels: its width, where packages stand, their usual side, the tallest that fits; and what it holds:
    one of KINDS, and the share of its width that packages take.
    """

    width: float
    bottom: float
    side: float
    tallest: float
    kind: str
    stock: float


class _Products(NamedTuple):
    """The products of one scene: their numbers (P,), and for all C products width / height and side / usual side (C,)."""

    chosen: npt.NDArray[np.int64]
    aspects: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]


class _Run(NamedTuple):
    """`count` packages of one product side by side, from `x` pixels on."""

    product: int
    x: float
    count: int


def arrange(
    appearance: ShelfAppearance, aspects: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], rng: np.random.Generator
) -> Scene:
    """Fill one scene with products of `aspects` (C,), width / height, and `sizes` (C,), their side / the usual one."""
    photo = appearance.sizes[rng.integers(len(appearance.sizes))]
    flat = round(photo[0] * (1 + 2 * MARGIN)), round(photo[1] * (1 + 2 * MARGIN))
    assortment = min(len(aspects), int(rng.integers(appearance.assortment[0], appearance.assortment[1] + 1)))
    products = _Products(rng.choice(len(aspects), assortment, replace=False), aspects, sizes)
    kind = KINDS[rng.choice(len(KINDS), p=np.array(appearance.kinds) / sum(appearance.kinds))]
    if kind == "loose":
        return Scene(photo, flat, (), tuple(_loose(appearance, photo, products, rng)))
    count = rng.integers(appearance.rows[0], appearance.rows[1] + 1)
    pitch = photo[1] / count
    side, stock = rng.uniform(*appearance.fill) * pitch, rng.uniform(*appearance.stock)
    boards, placed = [], []
    for top in np.arange(rng.uniform(-0.9, -0.1) * pitch, flat[1], pitch):
        bottom = top + (1 - RAIL) * pitch
        boards.append((bottom, top + pitch))
        placed += _fill_row(appearance, _Row(flat[0], bottom, side, 0.82 * pitch, kind, stock), products, rng)
    return Scene(photo, flat, tuple(boards), tuple(placed))


def _fill_row(appearance: ShelfAppearance, row: _Row, products: _Products, rng: np.random.Generator) -> list[PlacedPackage]:
    """Fill one shelf from left to right, with gaps; packages behind others come first, then the rest in any order."""
    chances = np.array(appearance.runs) / sum(appearance.runs)
    back: list[PlacedPackage] = []
    front: list[PlacedPackage] = []
    x = rng.uniform(-1, 0) * row.side
    while x < row.width:
        product, count = int(rng.choice(products.chosen)), 1 + int(rng.choice(len(chances), p=chances))
        aspect, side = float(products.aspects[product]), row.side * float(products.sizes[product])
        if row.kind == "stacks":
            run = _stack(product, x, row, side, rng)
        elif row.kind == "spines":
            run = _spines(products, x, row, 3 * count, rng)
        else:
            height = min(side / aspect**0.5, row.tallest)
            run = _facings(appearance, _Run(product, x, count), row, (height * aspect, height), rng)
        x = max(p.x + p.width / 2 for p in run) + abs(rng.normal(0, appearance.gap)) * row.side
        front += run
        back += [_behind(p, rng) for p in run] if row.kind == "facings" and rng.random() < appearance.deep else []
        if rng.random() > row.stock:
            x += rng.exponential(1.5 * row.side)
    return back + [front[i] for i in (range(len(front)) if row.kind == "stacks" else rng.permutation(len(front)))]


def _facings(
    appearance: ShelfAppearance, run: _Run, row: _Row, size: tuple[float, float], rng: np.random.Generator
) -> list[PlacedPackage]:
    """The packages of `run`, upright, each about `size` (width, height) pixels."""
    packages, x = [], run.x
    for _ in range(run.count):
        width = size[0] * rng.uniform(0.92, 1)
        y = row.bottom - size[1] / 2 - rng.uniform(0, 0.03) * size[1]
        packages.append(PlacedPackage(run.product, x + width / 2, y, width, size[1], rng.normal(0, appearance.lean)))
        x += width * (1 + max(-0.15, rng.normal(0, appearance.gap)))
    return packages


def _spines(products: _Products, x: float, row: _Row, count: int, rng: np.random.Generator) -> list[PlacedPackage]:
    """`count` narrow packages close together, like books; the last sometimes leans on the others."""
    run, tall = [], row.tallest * rng.uniform(0.55, 1)
    same = rng.random() < 0.4  # a series
    product, thin = int(rng.choice(products.chosen)), rng.uniform(0.08, 0.3)
    for i in range(count):
        product = product if same else int(rng.choice(products.chosen))
        height = tall * (1 if same else rng.uniform(0.8, 1))
        width = height * (thin if same else rng.uniform(0.08, 0.3))
        angle = rng.uniform(4, 14) if i == count - 1 and rng.random() < 0.4 else 0.0
        run.append(
            PlacedPackage(
                product, x + width / 2 + height * np.sin(np.radians(angle)) / 2, row.bottom - height / 2, width, height, angle
            )
        )
        x += width * rng.uniform(1, 1.06)
    return run


def _stack(product: int, x: float, row: _Row, side: float, rng: np.random.Generator) -> list[PlacedPackage]:
    """One to five flat packages of one product on top of each other."""
    run, bottom, width = [], row.bottom, side * rng.uniform(0.8, 1.8)
    height = min(side * rng.uniform(0.15, 0.5), row.tallest)
    for _ in range(rng.integers(1, 6)):
        if row.bottom - bottom + height > row.tallest:
            break
        run.append(
            PlacedPackage(
                product, x + width / 2 + rng.normal(0, 0.03) * width, bottom - height / 2, width, height, rng.normal(0, 0.5)
            )
        )
        bottom -= height
    return run


def _behind(front: PlacedPackage, rng: np.random.Generator) -> PlacedPackage:
    """The package behind `front`: a little smaller and higher, as from a viewpoint above the middle of the shelf."""
    scale, rise = rng.uniform(0.9, 0.97), rng.uniform(0.0, 0.09) * front.height
    middle = front.y + front.height * (1 - scale) / 2 - rise
    return front._replace(y=middle, x=front.x + rng.normal(0, 0.05) * front.width, width=front.width * scale,
                          height=front.height * scale, behind=1)  # fmt: skip


def _loose(
    appearance: ShelfAppearance, photo: tuple[int, int], products: _Products, rng: np.random.Generator
) -> list[PlacedPackage]:
    """Packages that lie on a table or on the floor, all in about one direction or in any, seldom on one another."""
    count = int(rng.integers(appearance.loose[0], appearance.loose[1] + 1))
    usual = min(photo) * rng.uniform(0.2, 0.75) / max(1.0, count / 2) ** 0.4
    aligned, direction = rng.random() < 0.5, rng.choice((0.0, 90.0, 180.0, 270.0))
    placed: list[PlacedPackage] = []
    for _ in range(6 * count):
        product = int(rng.choice(products.chosen))
        side = usual * np.exp(rng.normal(0, 0.3))
        width, height = side * products.aspects[product] ** 0.5, side / products.aspects[product] ** 0.5
        middle = np.array([rng.uniform(MARGIN, 1 + MARGIN) * photo[0], rng.uniform(MARGIN, 1 + MARGIN) * photo[1]])  # (2,)
        near = any(
            np.hypot(p.x - middle[0], p.y - middle[1]) < 0.42 * (max(p.width, p.height) + max(width, height)) for p in placed
        )
        if not near or rng.random() < 0.04:
            angle = rng.normal(direction, 12) if aligned else rng.uniform(0, 360)
            placed.append(PlacedPackage(product, *middle.tolist(), width, height, angle))
        if len(placed) == count:
            break
    return placed
