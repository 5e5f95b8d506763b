"""How long a zip would take on as many photos as the judge may have, from a run on a few large drawn ones."""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from runs.counted import counted
from submission.judge_machine import JUDGE_LIMITS, PLANNED, Machine
from submission.sandbox import execute
from submission.trial import drawn_shelf, first_of
from submission.violation import Violation

COUNT = 6  # chosen: photos of the run
SIZE = (2016, 1512)  # chosen: their width and height; 3 megapixels, as a phone sends them
MEGAPIXELS = f"{SIZE[0] * SIZE[1] / 1e6:.0f} megapixels"
SHELF = (12, 8)  # chosen: products in a row, and rows: about as many as on a photo of the contest


class Pace(NamedTuple):
    """Seconds for PLANNED photos by the run on COUNT, on so many processors and no GPU."""

    seconds: float
    processors: int

    def __str__(self) -> str:
        """As text, for the command."""
        machine = f"{counted(self.processors, 'processor')} and no GPU"
        return f"about {self.seconds:.0f} s for {PLANNED} photos of {MEGAPIXELS}, by {COUNT} drawn ones, on {machine}"

    def violations(self) -> list[Violation]:
        """A warning where the judge would stop it, if that machine were no faster."""
        if self.seconds <= JUDGE_LIMITS.seconds:
            return []
        what = (
            f"takes {self}; the judge stops at {JUDGE_LIMITS.seconds:.0f} s, with {JUDGE_LIMITS.threads} processors and a GPU"
        )
        return [Violation("run.py", 0, what, "hylle sandbox times it on photos of yours, with --gpus on a GPU", warning=True)]


def measured(archive: Path, machine: Machine, start: float) -> tuple[Pace | None, list[Violation]]:
    """The pace of a zip whose run on next to nothing took `start` seconds, and what is wrong with it on large photos.

    A run that is stopped for its time has a pace, the least that it may be; one that fails has none. Raises ValueError where
    the sandbox cannot run it.
    """
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "photos"
        photos.mkdir()
        for i in range(COUNT):
            drawn_shelf(*SIZE, i, *SHELF).save(photos / f"img_{i:05d}.jpg")
        outcome = execute(archive, photos, Path(name) / "predictions.json", machine)
    if outcome.problems and outcome.seconds < machine.limits.seconds:
        return None, [*first_of(outcome.problems, "problem", f"{COUNT} drawn photos of {MEGAPIXELS}")]
    seconds = start + PLANNED * max(0.0, outcome.seconds - start) / COUNT
    pace = Pace(seconds, min(machine.limits.threads, len(os.sched_getaffinity(0))))
    return pace, pace.violations()
