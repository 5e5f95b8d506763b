"""Workers that sleep in place of predicting, and how busy they were kept. Imports little: 64 of them are on one machine."""

import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class SleepingWorker:
    """Takes parts as a PartWorker does and sleeps as long as its photos take; yields who it is, when it began and ended."""

    def __init__(self, seconds: Sequence[float]) -> None:
        """`seconds` that photos were measured to take; which one a photo takes is drawn by its part's number."""
        self.seconds, self.name = np.asarray(seconds), uuid.uuid4().hex

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Sleep for all photos of the part."""
        began = time.time()
        for number, uris in zip(batch["part"], batch["uris"], strict=True):
            time.sleep(float(np.random.default_rng(int(number)).choice(self.seconds, len(uris)).sum()))
        return {"worker": [self.name], "began": [began], "ended": [time.time()]}


class Busy(NamedTuple):
    """The share of their time that workers worked, and how many seconds were looked at."""

    share: float
    seconds: float


def busy(rows: Sequence[dict[str, Any]], workers: int) -> Busy:
    """How busy the workers were from the moment at which the last of them had begun to that at which the last part was begun.

    Starting the workers is left out, and so is the end, in which no part is left to be had: a long run has little of either.
    Raises ValueError where fewer workers took a part, or where all parts were begun before the last worker was there.

    >>> busy([{"worker": w, "began": t, "ended": t + 2} for w, t in (("a", 0), ("b", 1), ("a", 3), ("b", 3))], 2)
    Busy(share=0.75, seconds=2.0)
    """
    began, ended = (np.array([row[name] for row in rows], float) for name in ("began", "ended"))  # (P,)
    first: dict[str, float] = {}
    for row in rows:
        first[row["worker"]] = min(row["began"], first.get(row["worker"], row["began"]))
    start, end = max(first.values(), default=0.0), began.max(initial=0.0)
    if len(first) != workers or end <= start:
        raise ValueError(f"{len(rows)} parts: {len(first)} of {workers} workers had one before all were begun; give more parts")
    worked = (np.minimum(ended, end) - np.maximum(began, start)).clip(0).sum()
    return Busy(float(worked / (workers * (end - start))), float(end - start))
