"""Run a zip in the sandbox on two drawn photos: does it run at all, and does it find anything?"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from runs.counted import counted
from submission.disk_room import DiskFullError
from submission.judge_machine import Machine, is_set_up, judge_python
from submission.outcome import Outcome
from submission.sandbox import execute
from submission.unpacking import CannotUnpackError
from submission.violation import Violation

# Width and height of the drawn photos. Their names betray a run.py that reads one suffix only, or that counts photos where it
# should take image ids from their names. One is smaller than the usual canvas of 640, so that boxes which were not scaled
# back lie outside.
SIZES = {"img_00042.jpg": (400, 300), "img_00007.jpeg": (480, 640)}
PRODUCTS = 5  # in a row, and rows


class Trial(NamedTuple):
    """What the run has shown; `not_run` says why there was none, `is_full` that there was no room for it on the disk."""

    violations: list[Violation]
    not_run: str = ""
    is_full: bool = False


def try_zip(archive: Path) -> Trial:
    """Run the zip, if the judge's environment is there and the sandbox can protect this system from it."""
    if not is_set_up():
        return Trial([], "there is no environment of the judge here; hylle sandbox --set-up makes it")
    with tempfile.TemporaryDirectory() as name:
        photos, output = Path(name) / "photos", Path(name) / "predictions.json"
        photos.mkdir()
        for i, (file, (width, height)) in enumerate(SIZES.items()):
            drawn_shelf(width, height, i).save(photos / file)
        try:
            outcome = execute(archive, photos, output, Machine(judge_python()))
        except CannotUnpackError as error:
            what = str(error).removeprefix(f"{archive}: ")
            return Trial([Violation("the zip", 0, what, "build the zip again; the judge unpacks it likewise")])
        except ValueError as error:
            return Trial([], str(error), isinstance(error, DiskFullError))
    if outcome.lacking and (outcome.problems or outcome.without):
        lacks = f"the environment here lacks {outcome.lacking}, which the judge has"
        return Trial([], f"{lacks}; {judge_python()} -m pip install adds a package")
    told = [*first_of(outcome.problems, "problem"), *first_of(outcome.warnings, "warning")]
    return Trial(told if outcome.problems else [*told, *_photos_without(outcome)])


def first_of(lines: list[str], kind: str, photos: str = "two drawn photos") -> Iterator[Violation]:
    """The first of the problems, or warnings, that a run on some photos had, and how many more there are."""
    if lines:
        more = f", and {counted(len(lines) - 1, kind)} more" if lines[1:] else ""
        what = f"on {photos}: {lines[0]}{more}"
        yield Violation("run.py", 0, what, "hylle sandbox shows all on photos of yours", warning=kind == "warning")


def _photos_without(outcome: Outcome) -> Iterator[Violation]:
    """A warning where drawn photos have no predictions."""
    remedy = "see whether it does on yours, by hylle sandbox"
    if len(outcome.without) == outcome.photos:
        yield Violation("run.py", 0, "finds nothing on two drawn photos", remedy, warning=True)
    elif outcome.without:
        what = f"finds nothing on one of two drawn photos, {outcome.without[0]}"
        yield Violation("run.py", 0, what, f"read .jpg and .jpeg alike; if it does, {remedy}", warning=True)


def drawn_shelf(width: int, height: int, seed: int, columns: int = PRODUCTS, rows: int = PRODUCTS) -> Image.Image:
    """A photo with rows of coloured boxes on grey."""
    rng = np.random.default_rng(seed)
    photo = np.full((height, width, 3), 200, np.uint8)
    step_x, step_y = width // columns, height // rows
    for row in range(rows):
        for column in range(columns):
            y, x = row * step_y + step_y // 8, column * step_x + step_x // 8
            photo[y : y + step_y * 3 // 4, x : x + step_x * 3 // 4] = rng.integers(0, 256, 3)
    return Image.fromarray(photo)
