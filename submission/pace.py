"""How long a zip would take on as many photos as the judge may have, from a run on a few large drawn ones."""

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from fusion.ensemble import Ensemble
from runs.counted import counted
from submission.judge_machine import JUDGE_LIMITS, PLANNED, Machine
from submission.outcome import Outcome
from submission.rules import PIPELINE
from submission.sandbox import execute
from submission.trial import drawn_shelf, first_of
from submission.violation import Violation

COUNT = 6  # chosen: photos of the run
SIZE = (2016, 1512)  # chosen: their width and height; 3 megapixels, as a phone sends them
MEGAPIXELS = f"{SIZE[0] * SIZE[1] / 1e6:.0f} megapixels"
SHELF = (12, 8)  # chosen: products in a row, and rows: about as many as on a photo of the contest


class Pace(NamedTuple):
    """Seconds for PLANNED photos by the run on COUNT, on so many processors and no GPU.

    `budget`: to end within so many seconds its run.py leaves parts of the work out; None for one of which that is not known.
    """

    seconds: float
    processors: int
    budget: float | None = None

    def __str__(self) -> str:
        """As text, for the command."""
        machine = f"{counted(self.processors, 'processor')} and no GPU"
        return f"about {self.seconds:.0f} s for {PLANNED} photos of {MEGAPIXELS}, by {COUNT} drawn ones, on {machine}"

    def violations(self) -> list[Violation]:
        """A warning where it would be stopped, or leave parts out, if the judge's machine were no faster."""
        if self.seconds <= (JUDGE_LIMITS.seconds if self.budget is None else self.budget):
            return []
        judge = f"{JUDGE_LIMITS.seconds:.0f} s, with {JUDGE_LIMITS.threads} processors and a GPU"
        what = f"takes {self}; the judge stops at {judge}"
        if self.budget is not None:
            what = f"whole it takes {self}; it leaves parts of the work out to end within {self.budget:g} s (time_budget_s)"
        return [Violation("run.py", 0, what, "hylle sandbox times it on photos of yours, with --gpus on a GPU", warning=True)]


def measured(archive: Path, machine: Machine) -> tuple[Pace | None, list[Violation]]:
    """The pace of a zip, and what is wrong with it on large photos.

    One photo and then COUNT: what the others take more is theirs alone. A run that is stopped for its time has a pace, the
    least that it may be; one that fails has none. Raises ValueError where the sandbox cannot run it.
    """
    seconds = []
    for count in (1, COUNT):
        outcome = _run(archive, machine, count)
        seconds.append(outcome.seconds)
        is_stopped = outcome.seconds >= machine.limits.seconds
        if outcome.problems and not is_stopped:
            return None, [*first_of(outcome.problems, "problem", f"{counted(count, 'drawn photo')} of {MEGAPIXELS}")]
        if is_stopped:
            break
    of_one = seconds[0] if len(seconds) == 1 else max(0.0, seconds[1] - seconds[0]) / (COUNT - 1)
    start = max(0.0, seconds[0] - of_one)
    pace = Pace(start + PLANNED * of_one, min(machine.limits.threads, len(os.sched_getaffinity(0))), budget_of(archive))
    return pace, pace.violations()


def _run(archive: Path, machine: Machine, count: int) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "photos"
        photos.mkdir()
        for i in range(count):
            drawn_shelf(*SIZE, i, *SHELF).save(photos / f"img_{i:05d}.jpg")
        return execute(archive, photos, Path(name) / "predictions.json", machine)


def budget_of(archive: Path) -> float | None:
    """The seconds within which a zip of this project ends, by its ensemble.json; None for one of another method."""
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        if PIPELINE not in names:
            return None
        values = json.loads(opened.read("ensemble.json")) if "ensemble.json" in names else {}
    return float(values.get("time_budget_s", Ensemble.time_budget_s))
