"""How far the tables of `hylle scale` are from what run.py predicts on the same photos."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.performance.scale_inputs import linked

BOX_PX, SCORE = 1e-3, 1e-5  # taken: from the question, how far the two may be apart
COLUMNS = ["photo", "x", "y", "width", "height", "category_id", "score"]
Row = tuple[float, ...]  # x, y, width, height, category id, score


class Agreement(NamedTuple):
    """Of how many photos and boxes, the most that a side of a box (pixels) and a score differ, and the photos that differ.

    A photo differs where its boxes are not as many, of other categories or in another order, or further than BOX_PX or SCORE
    from those of run.py.
    """

    photos: int
    boxes: int
    most_px: float
    most_score: float
    different: int


def agreement(photos: Sequence[Path], out: Path, code: Path, folder: Path) -> Agreement:
    """Predict the photos by run.py in CODE, in the new FOLDER, and compare with their rows in the tables of OUT."""
    predict_by_run_py(code, linked(photos, folder / "photos"), folder / "predictions.json")
    theirs = by_image_id(folder / "predictions.json")
    ours = by_scale(out, {str(photo) for photo in photos})
    return compared((ours[str(photo)], theirs[i + 1]) for i, photo in enumerate(photos))


def compared(pairs: Iterable[tuple[Sequence[Row], Sequence[Row]]]) -> Agreement:
    """The agreement of each photo's rows with its others.

    >>> compared([])
    Agreement(photos=0, boxes=0, most_px=0.0, most_score=0.0, different=0)
    >>> compared([([(0, 0, 9, 9, 1, 0.5)], [(0, 0, 9, 9, 1, 0.5)]), ([(0, 0, 9, 9, 1, 0.5)], [(0, 0, 8, 9, 1, 0.5)]), ([], [])])
    Agreement(photos=3, boxes=2, most_px=1.0, most_score=0.0, different=1)
    """
    photos = boxes = different = 0
    most_px = most_score = 0.0
    for ours, theirs in pairs:
        photos, boxes = photos + 1, boxes + len(theirs)
        mine, others = np.array(ours, float).reshape(-1, 6), np.array(theirs, float).reshape(-1, 6)  # (N, 6)
        if len(mine) != len(others) or (mine[:, 4] != others[:, 4]).any():
            different += 1
            continue
        apart = np.abs(mine - others).max(0, initial=0.0)  # (6,)
        px, score = float(apart[:4].max()), float(apart[5])
        most_px, most_score, different = max(most_px, px), max(most_score, score), different + (px > BOX_PX or score > SCORE)
    return Agreement(photos, boxes, most_px, most_score, different)


def predict_by_run_py(code: Path, photos: Path, output: Path) -> float:
    """Predict a folder of photos by run.py in CODE; the seconds that took. Raises ValueError where it fails."""
    words, started = [sys.executable, "run.py", "--input", str(photos), "--output", str(output)], time.monotonic()
    done = subprocess.run(words, cwd=code, capture_output=True, text=True, check=False)
    if done.returncode or "error: " in done.stderr:
        raise ValueError(f"run.py: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return time.monotonic() - started


def by_image_id(predictions: Path) -> dict[int, list[Row]]:
    """The rows that run.py has written, in its order, by image id."""
    rows = defaultdict(list)
    for row in json.loads(predictions.read_text()):
        rows[row["image_id"]].append((*row["bbox"], row["category_id"], row["score"]))
    return rows


def by_scale(out: Path, photos: set[str]) -> dict[str, list[Row]]:
    """The rows of `photos` in the table of boxes of OUT, in its order, by photo."""
    import pyarrow.parquet as pq

    tables = (pq.ParquetFile(file).read(COLUMNS).to_pydict() for file in sorted((out / "boxes").rglob("*.parquet")))
    rows = defaultdict(list)
    for photo, *row in chain.from_iterable(zip(*(table[name] for name in COLUMNS), strict=True) for table in tables):
        if photo in photos:
            rows[photo].append(tuple(row))
    return rows
