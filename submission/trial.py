"""Run a zip in the sandbox on two drawn photos: does it run at all, and does it find anything?"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from runs.counted import counted
from submission.judge_machine import Machine, is_set_up, judge_python
from submission.sandbox import execute
from submission.violation import Violation

SIZES = ((640, 480), (480, 640))  # width and height of the drawn photos
PRODUCTS = 5  # in a row, and rows


class Trial(NamedTuple):
    """What the run has shown; `not_run` says why there was none."""

    violations: list[Violation]
    not_run: str = ""


def try_zip(archive: Path) -> Trial:
    """Run the zip, if the judge's environment is there and the sandbox can protect this system from it."""
    if not is_set_up():
        return Trial([], "there is no environment of the judge here; hylle sandbox --set-up makes it")
    with tempfile.TemporaryDirectory() as name:
        photos, output = Path(name) / "photos", Path(name) / "predictions.json"
        photos.mkdir()
        for i, (width, height) in enumerate(SIZES):
            drawn_shelf(width, height, i).save(photos / f"img_{i + 1:05d}.jpg")
        try:
            outcome = execute(archive, photos, output, Machine(judge_python()))
        except ValueError as error:
            return Trial([], str(error))
    if outcome.problems:
        more = f", and {counted(len(outcome.problems) - 1, 'problem')} more" if outcome.problems[1:] else ""
        what = f"on two drawn photos: {outcome.problems[0]}{more}"
        return Trial([Violation("run.py", 0, what, "hylle sandbox shows all on photos of yours")])
    if not outcome.predictions:
        what, remedy = "finds nothing on two drawn photos", "see whether it does on yours, by hylle sandbox"
        return Trial([Violation("run.py", 0, what, remedy, warning=True)])
    return Trial([])


def drawn_shelf(width: int, height: int, seed: int) -> Image.Image:
    """A photo with rows of coloured boxes on grey."""
    rng = np.random.default_rng(seed)
    photo = np.full((height, width, 3), 200, np.uint8)
    step_x, step_y = width // PRODUCTS, height // PRODUCTS
    for row in range(PRODUCTS):
        for column in range(PRODUCTS):
            y, x = row * step_y + step_y // 8, column * step_x + step_x // 8
            photo[y : y + step_y * 3 // 4, x : x + step_x * 3 // 4] = rng.integers(0, 256, 3)
    return Image.fromarray(photo)
