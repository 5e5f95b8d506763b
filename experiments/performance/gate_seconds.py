"""How long `hylle gate` takes to fit, without its models: on drawn evidence of dense shelves with many names.

    python -m experiments.performance.gate_seconds [--photos 50] [--names 356] [--rounds 3] [--record]

A photo has 85 to 200 products, each in its own box; nine in ten are found, false boxes beside them, the detector names half of
them rightly and the classifier most. Scenes are of three photos. Figure gate.seconds_N for N photos.
"""

import time
from pathlib import Path

import numpy as np

from experiments.figures import records
from fusion.boxes import Detections
from photos.data import Photo
from runs.command import Parser, run, say
from stage2_classifier.gate.choose import choose_gate
from stage2_classifier.gate.evidence import Evidence

PRODUCTS = (85, 200)  # taken: the mean of the recipe `contest`, and a full shelf
FOUND, FALSE_SHARE = 0.93, 0.7  # chosen: of the products; false boxes for each of them
DETECTOR, CLASSIFIER = 0.55, 0.85  # chosen: the share of boxes that each names rightly
PHOTOS_OF_SCENE = 3  # chosen


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Draw the evidence, fit the gate some times, tell the median and record it."""
    p = Parser(prog="python -m experiments.performance.gate_seconds", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--photos", type=int, default=50)
    p.add_argument("--names", type=int, default=356)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results")
    args = p.parse_args(argv)
    if min(args.photos, args.names, args.rounds) < 2:
        raise ValueError(f"--photos, --names, --rounds: got {args.photos}, {args.names}, {args.rounds}, need 2 or more of each")
    evidence = draw(args.photos, args.names, np.random.default_rng(0))
    seconds = [fit_once(evidence) for _ in range(args.rounds)]
    n_boxes = sum(len(e.merged) for e in evidence)
    setting = f"{args.photos} drawn photos, {n_boxes} boxes, {args.names} names; median of {args.rounds} fits, and their range"
    estimate = records.Estimate(float(np.median(seconds)), args.rounds, min(seconds), max(seconds))
    say(f"{setting}: {estimate} s")
    if args.record:
        call = records.command("performance.gate_seconds", argv)
        row = records.figure(f"gate.seconds_{args.photos}", estimate, "s", setting, call)
        say(f"figures: {records.write('gate_seconds', [row])}")


def fit_once(evidence: list[Evidence]) -> float:
    """Seconds that one choice of a gate takes."""
    started = time.perf_counter()
    choose_gate(evidence, np.arange(len(evidence)) // PHOTOS_OF_SCENE, np.random.default_rng(0), say_fits)
    return time.perf_counter() - started


def say_fits(done: int, total: int) -> None:
    """Tell of the last fit."""
    if done == total:
        say(f"gate: {total} fits")


def draw(n_photos: int, n_names: int, rng: np.random.Generator) -> list[Evidence]:
    """`n_photos` photos of shelves in rows, names by a long tail."""
    return [draw_photo(i, n_names, rng) for i in range(n_photos)]


def draw_photo(i: int, n_names: int, rng: np.random.Generator) -> Evidence:
    """One photo and what a detector and a classifier say of it."""
    n = int(rng.integers(PRODUCTS[0], PRODUCTS[1] + 1))
    true_boxes = sized(np.stack([np.arange(n) % 20 * 50.0, np.arange(n) // 20 * 90.0], 1))
    labels = (rng.zipf(1.3, n) % n_names).astype(np.int64)
    found = rng.uniform(size=n) < FOUND
    false_boxes = sized(rng.uniform(0, 900, (int(n * FALSE_SHARE), 2)))
    boxes = np.concatenate([true_boxes[found] + rng.normal(0, 3, (found.sum(), 4)), false_boxes]).astype(np.float32)
    scores = np.concatenate([rng.beta(5, 2, found.sum()), rng.beta(1, 5, len(false_boxes))]).astype(np.float32)
    names = np.concatenate([labels[found], rng.integers(0, n_names, len(false_boxes))])
    class_scores = 0.6 * distributions(names, DETECTOR, n_names, rng)
    merged = Detections(boxes, scores, class_scores.argmax(1).astype(np.int64), class_scores.astype(np.float32))
    photo = Photo(i, Path(f"{i}.jpg"), 1000, 1000, true_boxes.astype(np.float32), labels, np.arange(n), None)
    return Evidence(photo, merged, (0.98 * distributions(names, CLASSIFIER, n_names, rng)).astype(np.float32))


def sized(corners: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) of 45 x 80 pixels with these upper left corners (N, 2)."""
    return np.concatenate([corners, corners + np.array([45, 80])], 1)  # (N, 4)


def distributions(names: np.ndarray, right: float, n_names: int, rng: np.random.Generator) -> np.ndarray:
    """Distributions (N, C) whose peak is at `names` (N,) in a share `right` of the rows, else anywhere."""
    logits = rng.normal(0, 1.5, (len(names), n_names))  # (N, C)
    peaks = np.where(rng.uniform(size=len(names)) < right, names, rng.integers(0, n_names, len(names)))
    logits[np.arange(len(names)), peaks] += 6
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


if __name__ == "__main__":
    raise SystemExit(main())
