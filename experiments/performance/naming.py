"""Seconds a photo of run.py with every box named and as the naming floor has it, and what the floor does to the score.

    python -m experiments.performance.naming --set NAME --data D --runs R [--photos 10] [--rounds 5] [--record]

R/ensemble.json holds the floor, fitted on valid by `hylle gate`. Time: run.py's loop, without its start, on the densest photos
of test, every box named and then as under the floor, in turns in one process. Score: the gate of R on all photos of test,
with a paired 95 % interval over scenes. Each classifier's milliseconds a crop are told beside its accuracy on held-out crops.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate, Measured
from fusion.ensemble import Ensemble
from fusion.models import read_object
from fusion.pipeline import Pipeline
from fusion.reading import ReadAhead
from photos import folds
from photos.data import Photo, read
from photos.folds import Folds
from photos.intervals import Interval, bootstrap, widened
from photos.score import match
from runs.command import Parser, run, say, ticker
from stage2_classifier.gate.calibrate import n_categories, predictions
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import gather, load_ensemble, scenes_of
from stage2_classifier.gate.evidence import Evidence, as_judged
from stage2_classifier.gate.naming_floor import n_named
from submission import run as judged


class Timed(NamedTuple):
    """Seconds a photo with every box named and as under the floor, (rounds,) each; those of each classifier."""

    before: list[float]
    after: list[float]
    of_crops: dict[str, float]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure, print, record. Raises ValueError for no photos or rounds, and for an ensemble that has no floor."""
    p = Parser(prog="python -m experiments.performance.naming", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="what to call the photos in the figures")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True, help="run folder with a fitted gate")
    p.add_argument("--photos", type=int, default=10, help="so many photos of test are timed, those with the most boxes")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--record", action="store_true", help="write experiments/results/naming.json")
    args = p.parse_args(argv)
    if args.photos < 1 or args.rounds < 2:
        raise ValueError(f"--photos, --rounds: got {args.photos}, {args.rounds}, need at least 1 and 2")
    parts, ensemble = folds.load(args.runs / folds.NAME, read(args.data)), load_ensemble(args.runs)
    if not ensemble.naming_floor or not ensemble.classifiers:
        raise ValueError(f"{args.runs}: its ensemble names every box, so there is nothing to compare; hylle gate fits a floor")
    test = gather("test", ensemble, args.runs, parts)
    densest = sorted(test, key=lambda e: -len(e.merged))[: args.photos]
    timed = measure(args.runs, ensemble, [e.photo for e in densest], args.rounds)
    tell_prices(args.runs, timed, sum(len(e.merged) for e in densest) / len(densest))
    rows = [ratio(args.set, ensemble, densest, timed), difference(args.set, ensemble, test, parts)]
    for row in rows:
        say(f"{row.key}: {row.estimate}; {row.setting}")
    if args.record:
        command = records.command("performance.naming", argv)
        say(f"figures: {records.write('naming', [records.figure(*row, command) for row in rows])}")


def measure(runs: Path, ensemble: Ensemble, photos: Sequence[Photo], rounds: int) -> Timed:
    """run.py's loop over `photos`, every box named and then as under the floor, in turns; a first turn is not counted."""
    arms = [replace(ensemble, naming_floor=floor, time_budget_s=1e9) for floor in (0.0, ensemble.naming_floor)]
    pipelines, progress = [Pipeline(arm, runs) for arm in arms], ticker("rounds")
    seconds: list[list[float]] = [[], []]
    spent = dict.fromkeys((member.file for member in ensemble.classifiers), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            for own, pipeline in zip(seconds, pipelines, strict=True):
                started = time.perf_counter()
                deadline = loop(pipeline, photos, Path(folder) / "predictions.json")
                own.append((time.perf_counter() - started) / len(photos))
                if turn and pipeline is pipelines[0]:
                    for member in ensemble.classifiers:
                        spent[member.file] += sum(s for name, s in deadline.total.items() if name.startswith(f"{member.file} "))
            progress(turn + 1, rounds + 1)
    return Timed(seconds[0][1:], seconds[1][1:], {file: s / rounds / len(photos) for file, s in spent.items()})


def loop(pipeline: Pipeline, photos: Sequence[Photo], path: Path) -> judged.Deadline:
    """run.py on `photos`, from the files on the disk to the JSON on the disk; its record of what took how long."""
    output, deadline = judged.Output(path), judged.Deadline(pipeline, len(photos))
    paths = [photo.path for photo in photos]
    reader = ReadAhead(paths, pipeline.ensemble.exif, threads=1, prepare=pipeline.prepare)
    try:
        judged.predict_all(pipeline, [photo.id for photo in photos], reader, deadline, output)
    finally:
        reader.close()
        output.close()
    return deadline


def tell_prices(runs: Path, timed: Timed, boxes: float) -> None:
    """Say of each classifier what a crop costs, in all its views, and how many held-out crops it names right.

    Args:
        boxes: how many a photo has, each one crop.
    """
    for file, seconds in timed.of_crops.items():
        path = (runs / file).with_name("run.json")
        metrics: dict[str, Any] = read_object(path).get("metrics", {}) if path.is_file() else {}
        accuracy = metrics.get("valid_accuracy_cross_fitted")
        told = "no record of its accuracy" if accuracy is None else f"{accuracy:.3f} of held-out crops named right"
        say(f"{file}: {1000 * seconds / max(1, boxes):.2f} ms a crop; {told}")


def ratio(name: str, ensemble: Ensemble, densest: Sequence[Evidence], timed: Timed) -> Measured:
    """naming.before_over_after.SET: seconds a photo with every box named over those with the floor."""
    boxes = sum(len(e.merged) for e in densest)
    named = sum(map(n_named, as_judged(densest, ensemble)))
    setting = (
        f"{len(densest)} densest photos of test, {boxes / len(densest):.0f} boxes a photo, {named / len(densest):.0f} named; "
        f"{np.median(timed.before):.3f} s a photo before, {np.median(timed.after):.3f} s after; run.py's loop in one process, "
        f"{len(timed.before)} rounds in turns, t interval over rounds"
    )
    ratios = [before / after for before, after in zip(timed.before, timed.after, strict=True)]
    return Measured(f"naming.before_over_after.{name}", over_seeds(ratios), "ratio", setting)


def difference(name: str, ensemble: Ensemble, test: Sequence[Evidence], parts: Folds) -> Measured:
    """naming.score_difference.SET: the score with the floor minus that with every box named."""
    groups, resampled = resampling_groups(scenes_of(test, parts))
    own = change(test, ensemble, groups)
    setting = (
        f"{len(test)} photos of test, floor {ensemble.naming_floor:.4f} fitted on valid, "
        f"margin {ensemble.naming_margin:g}, policy {ensemble.gate.policy}; "
        f"paired over {resampled}"
    )
    return Measured(f"naming.score_difference.{name}", Estimate(own.value, len(test), own.low, own.high), "score", setting)


def change(test: Sequence[Evidence], ensemble: Ensemble, groups: np.ndarray) -> Interval:
    """How much higher the gate scores with the floor than with every box named."""
    truths, gates, n = [e.truth for e in test], [ensemble.gate] * len(test), n_categories(test)
    arms = (ensemble, replace(ensemble, naming_floor=0.0))
    after, before = (match(truths, predictions(as_judged(test, arm), gates), n) for arm in arms)
    return widened(bootstrap(after, before, groups, np.random.default_rng(0)), after, before, groups)


if __name__ == "__main__":
    raise SystemExit(main())
