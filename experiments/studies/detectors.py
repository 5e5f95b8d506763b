"""Detectors trained in several ways on one set, the same budget and several seeds each, scored on photos that were held out.

    python -m experiments.studies.detectors --set NAME --data D --out X --variants small starter [--seeds 0 1 2] [--record]

A variant is a recipe of stage1_detector.recipes, or `small` changed: `starter` starts from the starter weights, `studio` adds
photos composed of the set's studio photos (or --studio), `paste` adds photos whose facings are swapped; `composed` is `studio`
from the starter, and compared with `starter`. Held out are valid and test: no epoch is chosen. `{seed}` in D stands for the
seed. X/VARIANT/SEED holds each run; what is finished is reused.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from fusion.models import Model, read_object
from photos import folds
from photos.data import Photo, read
from photos.studio import STUDIO
from runs import record
from runs.command import Parser, run, say
from stage1_detector import validation
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.recipes import RECIPES, recipe
from stage1_detector.synthesis import composition

STEPS = 300  # chosen: the usual budget
BASE = "small"  # the recipe that the changed variants are compared with
RATIO = 1.0  # synthetic photos an epoch for each real one
SYNTHETIC_COUNT = 200  # synthetic photos to draw from
COMPOSED = "composed"  # starts from the starter, and is compared with it
CHANGED = ("starter", "studio", "paste", COMPOSED)  # variants of BASE


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train every variant with every seed, print the means and the differences, record them."""
    p = Parser(prog="python -m experiments.studies.detectors", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    p.add_argument("--data", required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--variants", "--arms", nargs="+", default=[BASE], choices=[*RECIPES, *CHANGED])
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--steps", type=int, default=STEPS, help="optimiser steps of 4 photos, the same for every variant")
    p.add_argument("--studio", type=Path, help="studio photos for the variants that compose")
    p.add_argument("--count", type=int, default=SYNTHETIC_COUNT, help="synthetic photos to draw from; default: %(default)s")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    scores = {name: train_and_score(name, args) for name in dict.fromkeys(args.variants)}
    command, rows = records.command("studies.detectors", argv), []
    for name, values in scores.items():
        mean = over_seeds(values)
        say(f"{args.set}: {name}: det mAP50 {mean}")
        key = with_budget(f"det.{args.set}.{name}.map50", args.steps)
        rows.append(records.figure(key, mean, "mAP50", setting_of(name, args), command))
    for name in (name for name in CHANGED if name in scores and base_of(name) in scores):
        gain = over_seeds([a - b for a, b in zip(scores[name], scores[base_of(name)], strict=True)])
        say(f"{args.set}: {name} minus {base_of(name)}: {gain}")
        rows.append(records.figure(gain_key(args, name), gain, "mAP50", f"{setting_of(name, args)}; paired by seed", command))
    if args.record:
        records.write(f"detectors.{args.set}", rows)


def base_of(name: str) -> str:
    """The variant that a changed one is compared with."""
    return "starter" if name == COMPOSED else BASE


def setting_of(name: str, args: argparse.Namespace) -> str:
    """How a variant was trained and judged, with the minutes that it took, the mean of the seeds."""
    each = [read_object(args.out / name / str(seed) / "one" / "run.json")["metrics"]["minutes"] for seed in args.seeds]
    photos = f", {args.count} photos to draw from" if name in CHANGED[1:] else ""
    took = f"{over_seeds(each).value:.1f} minutes{photos}"
    return (
        f"{args.steps} steps of 4 photos, whole epochs, at {args.size} px, {took}; {len(args.seeds)} seeds, photos held out"
        + ("; one seed, so no interval" if len(args.seeds) == 1 else "")
    )


def with_budget(key: str, steps: int) -> str:
    """The key of a figure, with the number of steps where that is not the usual.

    >>> with_budget("det.books.small.map50", STEPS), with_budget("det.books.small.map50", 75)
    ('det.books.small.map50', 'det.books.small.map50.75_steps')
    """
    return key if steps == STEPS else f"{key}.{steps}_steps"


def gain_key(args: argparse.Namespace, name: str) -> str:
    """The key of the figure for what a variant adds to the base, paired by seed."""
    keys = {"starter": f"starter.{args.set}.minus_random", COMPOSED: f"synth.{args.set}.with_minus_without"}
    return with_budget(keys.get(name, f"synth.{args.set}.{name}.with_minus_without"), args.steps)


def train_and_score(name: str, args: argparse.Namespace) -> list[float]:
    """Train one variant with every seed; det mAP50 of each on the photos held out."""
    values = []
    for seed in args.seeds:
        data, runs = Path(args.data.format(seed=seed)), args.out / name / str(seed)
        held_out = held_out_photos(data, runs)
        base = recipe(name if name in RECIPES else BASE)
        ratio = RATIO * (name in CHANGED[1:])
        config = replace(base, size=args.size, epochs=1, min_steps=args.steps, seed=seed, synthetic_ratio=ratio)
        photos = synthetic_photos(name, data, runs, seed, args) if config.synthetic_ratio else None
        resume = record.is_stopped(runs / "one")
        start = Path("starter") if name in ("starter", COMPOSED) else None
        train_detector(DetectorRun(data=data, runs=runs, pretrained=start, resume=resume, synthetic=photos), config)
        names = len(read(data).categories)
        values.append(validation.score(Model(runs / "one" / "model.onnx"), held_out, names)["det_map50"])
        say(f"{args.set}: {name}, seed {seed}: det mAP50 {values[-1]:.3f} on {len(held_out)} photos")
    return values


def held_out_photos(data: Path, runs: Path) -> tuple[Photo, ...]:
    """Split the photos into folds, unless RUNS/folds.json exists, and return those held out: valid and test."""
    runs.mkdir(parents=True, exist_ok=True)
    if not (runs / "folds.json").is_file():
        folds.split(read(data), runs)
    parts = folds.load(runs / "folds.json", read(data))
    return (*parts.photos("valid"), *parts.photos("test"))


def synthetic_photos(name: str, data: Path, runs: Path, seed: int, args: argparse.Namespace) -> Path:
    """The synthetic photos of a variant and seed, drawn unless they exist."""
    out = runs / "synthetic"
    studio = None if name == "paste" else args.studio or data / STUDIO
    request = composition.Composition(
        out=out, studio=studio, paste=name == "paste", data=data, runs=runs, size=2 * args.size, count=args.count,
        seed=seed,
    )  # fmt: skip
    composition.draw_from_photos(request)
    return out


if __name__ == "__main__":
    raise SystemExit(main())
