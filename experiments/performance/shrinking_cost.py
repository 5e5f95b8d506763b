"""Processor milliseconds to shrink a decoded photo to a detector's canvas, in each way of `experiments.studies.shrunk_photos`.

    python -m experiments.performance.shrinking_cost [--rounds 15] [--record]

Photos of 12, 2 and 0.5 megapixels, of random pixels, to canvases of 640 and 1280 px. Figures shrinking.ms.PHOTO.CANVAS.WAY.
"""

import time
from collections.abc import Iterator

import cv2
import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate, Measured
from experiments.studies.shrunk_photos import WAYS, Size
from runs.command import Parser, run, say

PHOTOS: dict[str, Size] = {"12mpx": (4032, 3024), "2mpx": (1600, 1200), "0.5mpx": (800, 600)}
CANVASES = (640, 1280)  # long sides, pixels: those of the small and of the large recipes


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure, tell and record."""
    p = Parser(prog="python -m experiments.performance.shrinking_cost", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if args.rounds < 1:
        raise ValueError(f"--rounds: got {args.rounds}, need at least 1")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        figures = list(measured(args.rounds))
    finally:
        cv2.setNumThreads(threads)
    for figure in figures:
        say(f"{figure.key}: {figure.estimate.value:.2f} ms [{figure.estimate.low:.2f}, {figure.estimate.high:.2f}]")
    if args.record:
        command = records.command("performance.shrinking_cost", argv)
        say(f"figures: {records.write('shrinking_cost', [records.figure(*figure, command) for figure in figures])}")


def measured(rounds: int) -> Iterator[Measured]:
    """The figures of every photo and canvas that is smaller."""
    for name, (width, height) in PHOTOS.items():
        photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        for canvas in (side for side in CANVASES if side < width):
            size = canvas, round(height * canvas / width)
            for way, values in in_turns(photo, size, rounds).items():
                estimate = Estimate(float(np.median(values)), rounds, min(values), max(values))
                setting = f"{width} x {height} to {size[0]} x {size[1]}, one thread, processor time; median and range"
                yield Measured(f"shrinking.ms.{name}.{canvas}px.{way}", estimate, "ms", setting)


def in_turns(photo: np.ndarray, size: Size, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way in each round, after one that does not count."""
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds + 1):
        for way, shrunk in WAYS.items():
            started = time.process_time()
            shrunk(photo, size)
            spent[way].append(1000 * (time.process_time() - started))
    return {way: values[1:] for way, values in spent.items()}


if __name__ == "__main__":
    raise SystemExit(main())
