"""Detectors trained in several ways on one set, the same budget and several seeds each, scored on photos that were held out.

    python -m experiments.studies.detectors --set NAME --data D --out X --arms small starter [--seeds 0 1 2] [--record]

An arm is a recipe of stage1_detector.recipes, or `small` begun otherwise: `starter` from the starter weights, `studio` with
composed photos of the set's studio photos (or --studio), `paste` with photos whose facings are swapped. Held out are valid and
test: no epoch is chosen. `{seed}` in D stands for the seed. X/ARM/SEED holds each run; what is finished is reused.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from experiments.figures import records
from experiments.figures.over_seeds import Mean, over_seeds
from fusion.models import Model
from photos import folds
from photos.data import Photo, read
from photos.studio import STUDIO
from runs import record
from runs.command import Parser, run, say
from stage1_detector import validation
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.recipes import RECIPES, recipe
from stage1_detector.synthesis import make_photos

STEPS = 300  # chosen: the usual budget
BASE = "small"  # what arms are compared with
RATIO = 1.0  # synthetic photos an epoch for each real one
MADE = 200  # synthetic photos to draw from
WAYS = ("starter", "studio", "paste")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train every arm with every seed, tell the means and the differences, record them."""
    p = Parser(prog="python -m experiments.studies.detectors", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    p.add_argument("--data", required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--arms", nargs="+", default=[BASE], choices=[*RECIPES, *WAYS])
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--steps", type=int, default=STEPS, help="optimiser steps of 4 photos, the same for every arm")
    p.add_argument("--studio", type=Path, help="studio photos for the arm of that name")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    arms = {name: over(name, args) for name in dict.fromkeys(args.arms)}
    setting = f"{args.steps} steps of 4 photos, whole epochs, at {args.size} px, {len(args.seeds)} seeds, photos held out"
    words, told = records.command("studies.detectors", argv), []
    for name, values in arms.items():
        mean = over_seeds(values)
        say(f"{args.set}: {name}: det mAP50 {mean}")
        key = keyed(f"det.{args.set}.{name}.map50", args.steps)
        told.append(records.figure(key, mean.value, "mAP50", mean.n, setting, words, mean.low, mean.high))
    for name in arms.keys() & set(WAYS) if BASE in arms else ():
        less = over_seeds([a - b for a, b in zip(arms[name], arms[BASE], strict=True)])
        say(f"{args.set}: {name} minus {BASE}: {less}")
        told.append(difference(args, name, less, setting, words))
    if args.record:
        records.write(f"detectors.{args.set}", told)


def keyed(key: str, steps: int) -> str:
    """The key of a figure, which says the budget where that is not the usual.

    >>> keyed("det.books.small.map50", STEPS), keyed("det.books.small.map50", 75)
    ('det.books.small.map50', 'det.books.small.map50.75_steps')
    """
    return key if steps == STEPS else f"{key}.{steps}_steps"


def difference(args: argparse.Namespace, way: str, less: Mean, setting: str, command: str) -> dict[str, object]:
    """The figure for what `way` adds to the base, paired by seed."""
    key = f"starter.{args.set}.minus_random" if way == "starter" else f"synth.{args.set}.{way}.with_minus_without"
    key = keyed(key, args.steps)
    return records.figure(key, less.value, "mAP50", less.n, f"{setting}; paired by seed", command, less.low, less.high)


def over(name: str, args: argparse.Namespace) -> list[float]:
    """Train one arm with every seed; det mAP50 of each on the photos held out."""
    values = []
    for seed in args.seeds:
        data, runs = Path(args.data.format(seed=seed)), args.out / name / str(seed)
        held_out = deal(data, runs)
        base = recipe(name if name in RECIPES else BASE)
        ratio = RATIO * (name in WAYS[1:])
        config = replace(base, size=args.size, epochs=1, min_steps=args.steps, seed=seed, synthetic_ratio=ratio)
        made = synthetic(name, data, runs, seed, args) if config.synthetic_ratio else None
        resume = record.is_stopped(runs / "one")
        pretrained = Path("starter") if name == "starter" else None
        train_detector(DetectorRun(data=data, runs=runs, pretrained=pretrained, resume=resume, synthetic=made), config)
        names = len(read(data).categories)
        values.append(validation.score(Model(runs / "one" / "model.onnx"), held_out, names)["det_map50"])
        say(f"{args.set}: {name}, seed {seed}: det mAP50 {values[-1]:.3f} on {len(held_out)} photos")
    return values


def deal(data: Path, runs: Path) -> tuple[Photo, ...]:
    """Deal the photos once, as the command does, and return those held out."""
    runs.mkdir(parents=True, exist_ok=True)
    if not (runs / "folds.json").is_file():
        folds.split(data, runs)
    parts = folds.load(runs / "folds.json", read(data))
    return (*parts.photos("valid"), *parts.photos("test"))


def synthetic(name: str, data: Path, runs: Path, seed: int, args: argparse.Namespace) -> Path:
    """The synthetic photos of an arm and seed, made unless they are there."""
    out = runs / "synthetic"
    studio = None if name == "paste" else args.studio or data / STUDIO
    request = make_photos.Composition(
        out=out, studio=studio, paste=name == "paste", data=data, runs=runs, size=2 * args.size, count=MADE, seed=seed
    )
    make_photos.draw_from_photos(request)
    return out


if __name__ == "__main__":
    raise SystemExit(main())
