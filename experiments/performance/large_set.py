"""Seconds and memory of `hylle data` on a large set: 20,000 photos with 400,000 boxes, in every layout.

    python -m experiments.performance.large_set --record

The photos are small JPEGs of other bytes each, but of one size, so that all headers are read and all photos are compared byte
by byte. The worst of the layouts is recorded.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate
from photos.data import Category, Dataset, Photo
from photos.formats.writing import FORMATS, write
from runs.command import Parser, run, say

SIZE = 320, 240  # chosen: pixels
PRODUCTS = 356  # taken: the contest's
MEASURED = """
import re, sys
from hylle.verbs import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())
sys.stderr.write(f"\\npeak {peak[1]}\\n")
raise SystemExit(code)
"""


class Cost(NamedTuple):
    """What one call took: wall seconds, and the most memory, MB."""

    seconds: float
    peak_mb: float


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Make the set, look at it in each layout, record the worst."""
    p = Parser(prog="python -m experiments.performance.large_set", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--photos", type=int, default=20_000, help="how many")
    p.add_argument("--boxes", type=int, default=20, help="boxes a photo")
    p.add_argument("--layouts", nargs="+", choices=[*FORMATS], default=[*FORMATS], help="which to look at")
    p.add_argument("--record", action="store_true", help="write experiments/results/data.json; needs the default set")
    args = p.parse_args(argv)
    if args.record and (args.photos, args.boxes) != (20_000, 20):
        raise ValueError("--record: the keys are of 20000 photos with 20 boxes each")
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = draw(Path(folder) / "D", args.photos, args.boxes)
        for name in args.layouts:
            write(dataset, name, Path(folder) / name, copy=False)
            costs[name] = look(Path(folder) / name, args.photos, args.photos * args.boxes)
            say(f"{name}: {costs[name].seconds:.1f} s, {costs[name].peak_mb:.0f} MB")
    if args.record:
        records.write("data", figures(costs, argv))


def draw(root: Path, photos: int, boxes: int) -> Dataset:
    """A set of `photos` photos on disk, each of other bytes, with `boxes` boxes each; its labels are not written."""
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 255, (24, 32, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)  # (H, W, 3)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    (root / "images").mkdir(parents=True)
    corner = rng.uniform(0, 180, (photos, boxes, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(8, 60, corner.shape)], 2).astype(np.float32)  # (P, N, 4)
    labels, made = rng.integers(0, PRODUCTS, (photos, boxes)), []
    for i in range(photos):
        path = root / "images" / f"img_{i + 1:05d}.jpg"
        path.write_bytes(jpeg[:2] + comment(f"{i:08d}".encode()) + jpeg[2:])
        ids = i * boxes + np.arange(boxes) + 1
        part = ("train", "train", "train", "valid", "test")[i % 5]
        made.append(Photo(i + 1, path, *SIZE, xyxy[i], labels[i], ids, part, path.name))
    return Dataset(root, tuple(Category(i, f"product {i}") for i in range(1, PRODUCTS + 1)), tuple(made))


def comment(text: bytes) -> bytes:
    """A JPEG's comment segment (marker COM).

    >>> comment(b"a").hex()
    'fffe000361'
    """
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text


def look(root: Path, photos: int, boxes: int) -> Cost:
    """Call `hylle data ROOT --json` in a process of its own. ValueError where it fails or miscounts."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "data", str(root), "--json"], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise ValueError(f"hylle data {root}: {done.stderr.strip().splitlines()[0]}")
    counted = json.loads(done.stdout)["parts"]["all"]
    if (counted["photos"], counted["boxes"]) != (photos, boxes):
        raise ValueError(f"hylle data {root}: counted {counted}, need {photos} photos and {boxes} boxes")
    return Cost(seconds, float(done.stderr.split()[-1]) * 1024 / 1e6)


def figures(costs: dict[str, Cost], argv: Sequence[str] | None) -> list[dict]:
    """The records: of the worst layout, with all of them in the setting."""
    call = records.command("performance.large_set", argv)
    both = {
        "seconds_20000": ("s", {name: cost.seconds for name, cost in costs.items()}),
        "rss_mb_20000": ("MB", {name: cost.peak_mb for name, cost in costs.items()}),
    }
    made = []
    for key, (unit, values) in both.items():
        each = ", ".join(f"{name} {value:.0f}" for name, value in values.items())
        setting = f"20,000 photos of 320 x 240, 400,000 boxes; the worst of {each} {unit}; one run each, so no interval"
        made.append(records.figure(f"data.{key}", Estimate(max(values.values()), len(values)), unit, setting, call))
    return made


if __name__ == "__main__":
    raise SystemExit(main())
