"""Classifiers at equal minutes, on crops of several sizes or with two backbones: which names the products of a set best.

    python -m experiments.studies.namers --set NAME --data D --out X --minutes M [--variants 96 128 160 two] [--seeds 0 1 2]

All start as a fit's classifier does, from ImageNet's weights where they are on this machine; studio photos are learned from
where D has them. Each gets the epochs that M minutes hold, by a pace measured just before. They name the labelled boxes of
valid and test, shaken as a detector's are wrong; no epoch is chosen on those. Judged are AP, the boxes given, and the share
named rightly. X/VARIANT/SEED/result.json holds one; what is finished is reused. Run it on a machine that does nothing else.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies.detectors import held_out_photos
from experiments.studies.unseen_names import aps
from fitting.machine import classifier_times
from fitting.stage_settings import BRIDGE
from fusion.models import read_object
from photos import folds
from photos.data import Photo, read
from photos.studio import STUDIO
from runs import record
from runs.command import Parser, run, say
from stage2_classifier import model
from stage2_classifier.config import ClassifierConfig, columns, small
from stage2_classifier.crops import TYPICAL_ERROR, CropFormat, crops_of, shelf_regions, studio_regions
from stage2_classifier.fit import TrainingCrops, fit, schedule
from stage2_classifier.learning import predict
from stage2_classifier.pretrained import best_start, with_best_backbone
from stage2_classifier.prototype_blend import HeldOutCrops

BASE = "96"  # the variant that the others are compared with: the default's crops
SIZES = ("64", "96", "128", "160")  # pixels of a crop's side
TWO = "two"  # the default's backbone beside the best one, each for half of the minutes, their probabilities averaged


class Named(NamedTuple):
    """Mean AP of the names, the boxes given; the share of crops named rightly; epochs of each classifier; minutes of all."""

    ap: float
    top1: float
    epochs: list[int]
    minutes: float


class Shelves(NamedTuple):
    """Photos to learn from and to judge on, and the folder of studio photos (None: there is none)."""

    train: Sequence[Photo]
    held_out: Sequence[Photo]
    studio: Path | None


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train every variant with every seed, say means and differences, record them."""
    p = Parser(prog="python -m experiments.studies.namers", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minutes", type=float, required=True, help="of each training")
    p.add_argument("--variants", nargs="+", default=[BASE, "128", "160", TWO], choices=[*SIZES, TWO])
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if not 0 < args.minutes < 10_000:
        raise ValueError(f"--minutes: got {args.minutes}, must be above 0 and below 10000")
    if BASE not in args.variants:
        raise ValueError(f"--variants: got {' '.join(args.variants)}, must hold {BASE}, which the others are compared with")
    held_out = held_out_photos(args.data, args.out)
    train = folds.load(args.out / folds.NAME, read(args.data)).photos("train")
    shelves = Shelves(train, held_out, args.data / STUDIO if (args.data / STUDIO).is_dir() else None)
    done: dict[str, list[Named]] = {name: [] for name in dict.fromkeys(args.variants)}
    for seed in args.seeds:  # in turns, so that a slower hour is every variant's
        for name in done:
            done[name].append(named(name, seed, shelves, args))
    rows = as_records(done, args, len(shelves.held_out), records.command("studies.namers", argv))
    for row in rows:
        say(f"{row['key']}: {row['value']:.3f} [{row['low']}, {row['high']}], {row['setting']}")
    if args.record:
        records.write(f"namers.{args.set}", rows)


def members(name: str, seed: int, bridge: float) -> list[ClassifierConfig]:
    """The settings of a variant's classifiers.

    >>> [(config.size, config.seed) for config in members("128", 3, 0.0)]
    [(128, 3)]
    """
    default = replace(small(), seed=seed, bridge=bridge)
    best = with_best_backbone(default)
    return [best, default] if name == TWO else [replace(best, size=int(name))]


def named(name: str, seed: int, shelves: Shelves, args: argparse.Namespace) -> Named:
    """Train one variant with one seed for the minutes, unless it is there, and judge it."""
    configs = members(name, seed, BRIDGE if shelves.studio else 0.0)
    out = args.out / name / str(seed)
    settings = {"configs": [asdict(config) for config in configs], "minutes": args.minutes}
    path = out / "result.json"
    if path.is_file():
        kept = read_object(path)
        if kept["settings"] != settings:
            raise ValueError(f"{path} is of other settings; remove it or pass another --out")
        return Named(**kept["named"])
    out.mkdir(parents=True, exist_ok=True)
    probabilities, epochs, minutes = [], [], 0.0
    for k, config in enumerate(configs):
        says, its_epochs, took = learned(config, shelves, args.minutes / len(configs), out / f"{k}.pt", args.data)
        probabilities.append(says)
        epochs.append(its_epochs)
        minutes += took
    found = judged(np.mean(probabilities, axis=0), shelves.held_out, epochs, minutes)
    record.write_json(path, {"settings": settings, "named": found._asdict()})
    say(f"{args.set}: {name}, seed {seed}: AP {found.ap:.3f}, top-1 {found.top1:.3f}, {epochs} epochs, {minutes:.1f} minutes")
    return found


def learned(
    config: ClassifierConfig, shelves: Shelves, minutes: float, last: Path, data: Path
) -> tuple[np.ndarray, int, float]:
    """Train one classifier for the minutes; its probabilities (N, C) of the held-out boxes, its epochs and its minutes."""
    categories = read(data).categories
    outputs = columns(config, [category.name for category in categories])
    regions = shelf_regions(shelves.train, config.size)
    regions += studio_regions(shelves.studio, categories, config.size) if shelves.studio else []
    _, steps = schedule(len(regions), config)
    seconds = classifier_times(config, shelves.train).step * steps
    config = replace(config, epochs=max(1, round(minutes * 60 / seconds)), min_steps=0)
    last.unlink(missing_ok=True)  # of a stopped training nobody knows how long it took
    network = model.build(config, outputs, best_start(config.model).path)
    error, began = np.array(TYPICAL_ERROR), time.monotonic()
    fitted = fit(network, TrainingCrops(regions, error), config, last, lambda line: say(f"{last}: {line}"))
    took = (time.monotonic() - began) / 60
    shown = shelf_regions(shelves.held_out, config.size)
    form = CropFormat(config.size, config.margin, config.fit)
    crops = crops_of(shown, np.arange(len(shown)), error, form, np.random.default_rng(0))  # the same boxes for all
    return softmax(predict(fitted.model, crops), axis=1), config.epochs, took


def judged(probabilities: np.ndarray, held_out: Sequence[Photo], epochs: list[int], minutes: float) -> Named:
    """What the probabilities (N, C) of the boxes of the photos are worth."""
    labels = np.concatenate([photo.labels for photo in held_out]).astype(np.int64)
    photos = np.repeat([photo.id for photo in held_out], [len(photo.labels) for photo in held_out])
    names = probabilities.shape[1]
    crops = HeldOutCrops(probabilities, np.zeros((1, names)), np.zeros(names), labels, photos)
    top1 = float((probabilities.argmax(1) == labels).mean())
    return Named(float(np.nanmean(aps(crops, None))), top1, epochs, minutes)


def as_records(done: dict[str, list[Named]], args: argparse.Namespace, photos: int, command: str) -> list[dict[str, Any]]:
    """namer.SET.VARIANT.ap of each, and namer.SET.VARIANT.minus_96 of all but that one, paired by seed."""
    rows, base = [], done[BASE]
    for name, values in done.items():
        took = over_seeds([one.minutes for one in values]).value
        top1 = over_seeds([one.top1 for one in values]).value
        setting = (
            f"{args.minutes:g} minutes, {took:.1f} taken, {' and '.join(map(str, values[0].epochs))} epochs; boxes of {photos} "
            f"photos held out, top-1 {top1:.3f}; {len(values)} seeds"
            + ("; one seed, so no interval" if len(values) == 1 else "")
        )
        ap = over_seeds([one.ap for one in values])
        rows.append(records.figure(f"namer.{args.set}.{name}.ap", ap, "AP", setting, command))
        if name != BASE:
            gain = over_seeds([one.ap - other.ap for one, other in zip(values, base, strict=True)])
            paired = f"{setting}; paired by seed"
            rows.append(records.figure(f"namer.{args.set}.{name}.minus_{BASE}", gain, "AP", paired, command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
