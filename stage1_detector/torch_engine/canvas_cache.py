"""Canvases kept in memory from epoch to epoch, in pages that the processes which prepare batches share."""

import mmap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fusion.views import Image

BYTES_OF_MB = 10**6


class Slot(NamedTuple):
    """Where a canvas is kept: its number among all, its first byte, and its height and width."""

    number: int
    start: int
    height: int
    width: int


class CanvasCache:
    """Canvases uint8 (H, W, 3) by a photo's index and the canvas's long side, each made once; as many as `budget_mb` holds.

    `shapes` gives height and width of each canvas that may be asked for; the first so many that fit have a slot. The memory is
    anonymous and shared, so that what a forked worker makes is there for all workers of later epochs, whatever the size of
    /dev/shm, and it is taken up only as canvases are made. A process that was not forked makes every canvas anew.
    """

    def __init__(self, shapes: Iterable[tuple[tuple[int, int], tuple[int, int]]], budget_mb: int) -> None:
        self.slots: Mapping[tuple[int, int], Slot] = _slots(shapes, budget_mb * BYTES_OF_MB)
        size = sum(slot.height * slot.width * 3 for slot in self.slots.values())
        self.megabytes = -(-size // BYTES_OF_MB)
        self.pixels = mmap.mmap(-1, max(1, size))
        self.made = mmap.mmap(-1, max(1, len(self.slots)))  # a byte for each slot: 1 once its pixels are there

    def __getstate__(self) -> dict[str, Any]:
        """Without memory and slots: a worker that is not forked cannot share them."""
        return {"slots": {}, "megabytes": 0, "pixels": None, "made": None}

    def canvas(self, index: int, size: int, make: Callable[[], Image]) -> Image:
        """The canvas of photo `index` of long side `size`: kept, or else of `make`, and kept if it has a slot. A new array."""
        slot = self.slots.get((index, size))
        if slot is None:
            return make()
        kept = np.frombuffer(self.pixels, np.uint8, slot.height * slot.width * 3, slot.start)
        kept = kept.reshape(slot.height, slot.width, 3)  # (H, W, 3)
        if self.made[slot.number]:
            return kept.copy()
        kept[:] = canvas = make()
        self.made[slot.number] = 1  # last: two workers that make the same canvas write the same pixels
        return canvas


def _slots(shapes: Iterable[tuple[tuple[int, int], tuple[int, int]]], budget: int) -> dict[tuple[int, int], Slot]:
    """A slot for each canvas, in their order, until the next does not fit in `budget` bytes."""
    slots: dict[tuple[int, int], Slot] = {}
    start = 0
    for number, (key, (height, width)) in enumerate(shapes):
        if start + height * width * 3 > budget:
            break
        slots[key] = Slot(number, start, height, width)
        start += height * width * 3
    return slots
