"""Data sets of composed photos, made in parallel and resumable. What is on a photo comes from a `Source`.

A photo depends on (source, appearance, seed, number) alone.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from stage1_detector.synthesis import coco_writer
from stage1_detector.synthesis.backgrounds import random_surface
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.layout import ShelfAppearance
from stage1_detector.synthesis.pack import Image
from stage1_detector.synthesis.random_packs import draw_random_pack
from stage1_detector.synthesis.rendering import Stock, render

VERSION = 1  # of the composing: raise it when the same seed no longer gives the same photos
PROGRESS_STEP = 100  # chosen: photos from one line of progress to the next
BACKGROUND_SIDE = 320  # chosen: pixels of a background's long side; it is out of focus anyway
STOCK, PHOTO = range(2)  # the second number of every seed: what the random numbers are for
PACKS, PACK_HEIGHT, BLOCK = 400, 160, 200  # chosen: random packs at a time, their pixels, photos until all are replaced


class Source(Protocol):
    """What composed photos are made of. Small, since it is sent to a worker with each photo.

    `train` identifies the real photos that go into it, by `fingerprint.of_labelled`; empty for none. `description` tells the
    source from others in world.json. It must not change when a class is renamed, or earlier sets could not be resumed.
    """

    @property
    def train(self) -> str:
        """See above."""

    @property
    def description(self) -> str:
        """See above."""

    def shot(self, appearance: ShelfAppearance, seed: int, number: int, rng: np.random.Generator) -> Shot:
        """Photo `number`."""


@dataclass(frozen=True)
class RandomPacks:
    """Random packages, all of category 0, before random backgrounds; new packages in every BLOCK of photos."""

    train: str = ""

    @property
    def description(self) -> str:
        """See `Source`; the class was called Fantasy."""
        return f"Fantasy(train={self.train!r})"

    def shot(self, appearance: ShelfAppearance, seed: int, number: int, rng: np.random.Generator) -> Shot:
        """Photo `number`, of the packages of its block."""
        size = appearance.sizes[rng.integers(len(appearance.sizes))]
        return render(appearance, _random_stock(seed, number // BLOCK), random_background(size, rng), rng)


@lru_cache(maxsize=2)
def _random_stock(seed: int, block: int) -> Stock:
    """The PACKS random packages of a block of photos, all of category 0."""
    rng = np.random.default_rng((seed, STOCK, block))
    pictures = [draw_random_pack(rng, PACK_HEIGHT) for _ in range(PACKS)]
    aspects = np.array([picture.shape[1] / picture.shape[0] for picture in pictures])
    return Stock(tuple((p,) for p in pictures), aspects, np.exp(rng.normal(0, 0.15, PACKS)), np.zeros(PACKS, np.int64))


def random_background(size: tuple[int, int], rng: np.random.Generator) -> Image:
    """A `random_surface` in the proportions of a photo of `size` (width, height), BACKGROUND_SIDE pixels long."""
    scale = BACKGROUND_SIDE / max(size)
    return random_surface((max(8, round(size[0] * scale)), max(8, round(size[1] * scale))), rng)


@dataclass(frozen=True)
class ComposedSet:
    """A data set to compose: `count` photos of `source` with `categories` as in a COCO JSON."""

    source: Source
    appearance: ShelfAppearance
    categories: list[dict[str, Any]]
    count: int
    seed: int = 0

    @property
    def request(self) -> dict[str, Any]:
        """What world.json records."""
        source = {"source": self.source.description, "train": self.source.train}
        return {"composed": VERSION, "seed": self.seed, **source, "count": self.count, **asdict(self.appearance)}


class Task(NamedTuple):
    """One photo to compose."""

    out: Path
    source: Source
    appearance: ShelfAppearance
    seed: int
    number: int


def draw(composed: ComposedSet, out: Path, workers: int = 2, tell: Callable[[str], object] = str) -> bool:
    """Compose the photos of `composed` into `out`; False if they are there already. `tell` is called with lines of progress.

    Raises ValueError if `out` is a file, holds other things, or holds a data set of another request.
    """
    if not coco_writer.begin(out, composed.request):
        return False
    numbers = list(range(1, composed.count + 1))
    tasks = [Task(out, composed.source, composed.appearance, composed.seed, number) for number in numbers]
    with coco_writer.parallel_map(workers) as mapper:
        for done, _ in enumerate(mapper(_draw_photo, tasks), 1):
            if done % PROGRESS_STEP == 0 or done == composed.count:
                tell(f"{done} of {composed.count} photos")
    coco_writer.finish(out, numbers, composed.categories)
    return True


def _draw_photo(task: Task) -> None:
    """Compose one photo, unless it is on disk."""
    if not coco_writer.is_written(task.out, task.number):
        rng = np.random.default_rng((task.seed, PHOTO, task.number))
        shot = task.source.shot(task.appearance, task.seed, task.number, rng)
        coco_writer.write_photo(task.out, task.number, shot, int(rng.integers(*task.appearance.jpeg)))
