"""Data sets of composed photos: where pictures and backgrounds come from; drawn in parallel, resumable, each by its number.

A photo depends on (source, look, seed, number) alone.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from stage1_detector.synthesis import coco_writer
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.compose import Stock, compose
from stage1_detector.synthesis.fantasy import draw_fantasy
from stage1_detector.synthesis.ground import ground
from stage1_detector.synthesis.layout import Look
from stage1_detector.synthesis.pack import Image

VERSION = 1  # of the composing: raise it when the same seed no longer gives the same photos
TOLD = 100  # chosen: photos from one line of progress to the next
GROUND = 320  # chosen: pixels of a background's long side; it is out of focus anyway
STOCK, PHOTO = range(2)  # the second number of every seed: what is drawn by chance
MADE_UP, TALL, BLOCK = 400, 160, 200  # chosen: made-up products, their pixels, and photos before they are all replaced


class Source(Protocol):
    """Where photos come from: small enough to be sent to a worker with each of them; its `repr` tells it from others.

    `train` tells which real photos go into it, as `folds.told_apart` does; empty for none.
    """

    @property
    def train(self) -> str:
        """See above."""

    def shot(self, look: Look, seed: int, number: int, rng: np.random.Generator) -> Shot:
        """Photo `number`."""


@dataclass(frozen=True)
class Fantasy:
    """Made-up packages of the one category 0, others in every BLOCK of photos, before made-up grounds."""

    train: str = ""

    def shot(self, look: Look, seed: int, number: int, rng: np.random.Generator) -> Shot:
        """MADE_UP packages to choose from, on a surface of no particular kind."""
        size = look.sizes[rng.integers(len(look.sizes))]
        return compose(look, _made_up(seed, number // BLOCK), any_ground(size, rng), rng)


@lru_cache(maxsize=2)
def _made_up(seed: int, block: int) -> Stock:
    rng = np.random.default_rng((seed, STOCK, block))
    pictures = [draw_fantasy(rng, TALL) for _ in range(MADE_UP)]
    aspects = np.array([picture.shape[1] / picture.shape[0] for picture in pictures])
    return Stock(tuple((p,) for p in pictures), aspects, np.exp(rng.normal(0, 0.15, MADE_UP)), np.zeros(MADE_UP, np.int64))


def any_ground(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """`ground.ground` at GROUND pixels, in the photo's proportions."""
    scale = GROUND / max(size)
    return ground((max(8, round(size[0] * scale)), max(8, round(size[1] * scale))), rng)


class Task(NamedTuple):
    """One photo to compose."""

    out: Path
    source: Source
    look: Look
    seed: int
    number: int


def draw(
    source: Source, look: Look, categories: list[dict[str, Any]], count: int, out: Path, seed: int = 0, workers: int = 2,
    tell: Callable[[str], object] = str,
) -> bool:  # fmt: skip
    """Compose `count` photos into `out`; False if they are there already. `tell` hears of progress (default: nobody).

    Raises ValueError if `out` is a file, holds other things, or holds a data set that was made otherwise.
    """
    wish = {"composed": VERSION, "seed": seed, "source": repr(source), "train": source.train, "count": count, **asdict(look)}
    if not coco_writer.claim(out, wish):
        return False
    numbers = list(range(1, count + 1))
    with coco_writer.mapper(workers) as mapper:
        for done, _ in enumerate(mapper(_draw, [Task(out, source, look, seed, n) for n in numbers]), 1):
            if done % TOLD == 0 or done == count:
                tell(f"{done} of {count} photos")
    coco_writer.close(out, numbers, categories)
    return True


def _draw(task: Task) -> None:
    """Compose one photo, unless it is on disk."""
    if not coco_writer.is_whole(task.out, task.number):
        rng = np.random.default_rng((task.seed, PHOTO, task.number))
        shot = task.source.shot(task.look, task.seed, task.number, rng)
        coco_writer.add(task.out, task.number, shot, int(rng.integers(*task.look.jpeg)))
