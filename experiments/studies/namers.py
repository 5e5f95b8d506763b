"""Classifiers at equal minutes, of several crop sizes, backbones and kinds of boxes: which names the products of a set best.

    python -m experiments.studies.namers --set NAME --data D --out X --minutes M [--variants 96 128 160 two] [--seeds 0 1 2]

All start as a fit's classifier does, from ImageNet's weights where they are on this machine; studio photos are learned from
where D has them. Each gets the epochs that M minutes hold, by a pace measured just before. They name boxes of valid and test,
on which no epoch is chosen: the labelled ones, shaken as a detector's are wrong, judged by AP, the boxes given, and the share
named rightly; and those that X/one finds, where it is trained (`hylle train-detector --data D --out X --pretrained starter`),
judged by the classification mAP50, with each score times the name's probability. Each is judged with mirrored crops too, which
is no training of its own. X/VARIANT/SEED/result.json holds one; what is finished is reused. Run it on a machine that does
nothing else.
"""

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies.detectors import held_out_photos
from experiments.studies.worth_of_names import HeldOut, Worth, detected_by, probabilities, worth
from fitting.machine import classifier_times
from fitting.stage_settings import BRIDGE
from fusion.models import read_object
from photos import folds
from photos.data import Dataset, read
from photos.folds import Folds
from photos.studio import STUDIO
from runs import record
from runs.command import Parser, run, say
from runs.first_command import train
from stage1_detector.config import STARTER
from stage2_classifier import model
from stage2_classifier.config import ClassifierConfig, columns, small
from stage2_classifier.crops import TYPICAL_ERROR, shelf_regions, studio_regions
from stage2_classifier.fit import TrainingCrops, fit, schedule
from stage2_classifier.learning import TrainingPhotos, photos_with_detections
from stage2_classifier.pretrained import best_start, with_best_backbone
from stage2_classifier.training_request import Plan

BASE = "96"  # the variant that the others are compared with: the default's crops
SIZES = ("64", "96", "128", "160")  # pixels of a crop's side
TWO = "two"  # the default's backbone beside the best one, each for half of the minutes, their probabilities averaged
RANDOM = "random"  # the default's backbone alone, from random weights
DETECTED = "detected"  # crops of the boxes, too, that the detectors of FOLDS folds find on photos that they have not seen
BACKGROUND = "background"  # the same, and a column for what is no product, such boxes of theirs among it
VARIANTS = (*SIZES, TWO, RANDOM, DETECTED, BACKGROUND)
FOLDS = 3
NO_PRODUCT = 0.1  # taken: the recipe convnext's share of crops that show no product


class Named(NamedTuple):
    """What the names are worth, from the crops alone and with their mirrors; epochs of each classifier; minutes of all."""

    plain: Worth
    mirrored: Worth
    epochs: list[int]
    minutes: float


class Shelves(NamedTuple):
    """What is learned from and judged on; `runs` holds folds.json and, where it is trained, the detector one/."""

    dataset: Dataset
    parts: Folds
    held_out: HeldOut
    runs: Path

    @property
    def studio(self) -> Path | None:
        """The folder of studio photos, if there is one."""
        folder = self.dataset.root / STUDIO
        return folder if folder.is_dir() else None


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
    p.add_argument("--variants", nargs="+", default=[BASE, "128", "160", TWO], choices=VARIANTS)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if not 0 < args.minutes < 10_000:
        raise ValueError(f"--minutes: got {args.minutes}, must be above 0 and below 10000")
    if BASE not in args.variants:
        raise ValueError(f"--variants: got {' '.join(args.variants)}, must hold {BASE}, which the others are compared with")
    shelves = prepared(args.data, args.out)
    if {DETECTED, BACKGROUND} & set(args.variants) and not shelves.held_out.boxes:
        raise ValueError(
            f"--variants {DETECTED}, {BACKGROUND}: need {args.out / 'one'}: {train(args.out, 'one')} --pretrained starter"
        )
    done: dict[str, list[Named]] = {name: [] for name in dict.fromkeys(args.variants)}
    for seed in args.seeds:  # in turns, so that a slower hour is every variant's
        for name in done:
            done[name].append(named(name, seed, shelves, args))
    rows = as_records(done, args, len(shelves.held_out.photos), records.command("studies.namers", argv))
    for row in rows:
        say(f"{row['key']}: {row['value']:.3f} [{row['low']}, {row['high']}], {row['setting']}")
    if args.record:
        records.write(f"namers.{args.set}", rows)


def prepared(data: Path, runs: Path) -> Shelves:
    """The set as it is dealt in RUNS, with what RUNS/one finds on the photos held out, if it is trained."""
    photos, dataset, detector = held_out_photos(data, runs), read(data), runs / "one" / "model.onnx"
    boxes = detected_by(detector, photos) if detector.is_file() else []
    return Shelves(dataset, folds.load(runs / folds.NAME, dataset), HeldOut(photos, boxes, len(dataset.categories)), runs)


def members(name: str, seed: int, bridge: float) -> list[ClassifierConfig]:
    """The settings of a variant's classifiers.

    >>> [(config.size, config.seed) for config in members("128", 3, 0.0)]
    [(128, 3)]
    """
    default = replace(small(), seed=seed, bridge=bridge)
    best = with_best_backbone(default)
    alone = replace(best, size=int(name) if name in SIZES else best.size, background=NO_PRODUCT * (name == BACKGROUND))
    return {TWO: [best, default], RANDOM: [default]}.get(name, [alone])


def named(name: str, seed: int, shelves: Shelves, args: argparse.Namespace) -> Named:
    """Train one variant with one seed for the minutes, unless it is there, and judge it."""
    configs = members(name, seed, BRIDGE if shelves.studio else 0.0)
    out = args.out / name / str(seed)
    found = shelves.runs / "one" / "model.onnx"
    detector = record.fingerprint(found) if found.is_file() else None
    settings = {"configs": [asdict(config) for config in configs], "minutes": args.minutes, "detector": detector}
    path = out / "result.json"
    if path.is_file():
        kept = read_object(path)
        if kept["settings"] != settings:
            raise ValueError(f"{path} is of other settings; remove it or pass another --out")
        own = kept["named"]
        return Named(Worth(*own["plain"]), Worth(*own["mirrored"]), own["epochs"], own["minutes"])
    out.mkdir(parents=True, exist_ok=True)
    says, epochs, minutes = [], [], 0.0
    for k, config in enumerate(configs):
        photos = learned_from(name, config, shelves)
        its, its_epochs, took = learned(config, photos, shelves, args.minutes / len(configs), out / f"{k}.pt")
        says.append(its)
        epochs.append(its_epochs)
        minutes += took
    plain, mirrored = (worth(own, shelves.held_out) for own in np.mean(says, axis=0))
    record.write_json(path, {"settings": settings, "named": Named(plain, mirrored, epochs, minutes)._asdict()})
    say(f"{args.set}: {name}, seed {seed}: {plain}; mirrored too {mirrored}; {epochs} epochs, {minutes:.1f} minutes")
    return Named(plain, mirrored, epochs, minutes)


def learned_from(name: str, config: ClassifierConfig, shelves: Shelves) -> TrainingPhotos:
    """The photos of a variant, with the boxes that it learns from and their error."""
    if name not in (DETECTED, BACKGROUND):
        return TrainingPhotos(shelves.parts.photos("train"), (), np.array(TYPICAL_ERROR))
    outputs = columns(config, [category.name for category in shelves.dataset.categories])
    return photos_with_detections(shelves.runs, shelves.parts, outputs, config, Plan(FOLDS, weights=STARTER))


def learned(
    config: ClassifierConfig, photos: TrainingPhotos, shelves: Shelves, minutes: float, last: Path
) -> tuple[np.ndarray, int, float]:
    """Train one classifier for the minutes; its `probabilities` of the boxes held out, its epochs and its minutes."""
    categories = shelves.dataset.categories
    outputs = columns(config, [category.name for category in categories])
    regions = shelf_regions(photos.train, config.size)
    regions += studio_regions(shelves.studio, categories, config.size) if shelves.studio else []
    n_products = sum(region.label < outputs.names for region in regions)
    _, steps = schedule(n_products, config)
    seconds = classifier_times(config, shelves.parts.photos("train")).step * steps
    config = replace(config, epochs=max(1, round(minutes * 60 / seconds)), min_steps=0)
    last.unlink(missing_ok=True)  # of a stopped training nobody knows how long it took
    network = model.build(config, outputs, best_start(config.model).path)
    began = time.monotonic()
    fitted = fit(network, TrainingCrops(regions, photos.error), config, last, lambda line: say(f"{last}: {line}"))
    took = (time.monotonic() - began) / 60
    return probabilities(fitted.model, config, shelves.held_out), config.epochs, took


def as_records(done: dict[str, list[Named]], args: argparse.Namespace, photos: int, command: str) -> list[dict[str, Any]]:
    """namer.SET.VARIANT.ap and .cls of each, `mirrored` the default's with mirrored crops, and those minus the default's."""
    arms = {name: [one.plain for one in values] for name, values in done.items()}
    arms["mirrored"] = [one.mirrored for one in done[BASE]]
    rows = []
    for name, values in arms.items():
        trained = done.get(name, done[BASE])
        took = over_seeds([one.minutes for one in trained]).value
        setting = (
            f"{args.minutes:g} minutes, {took:.1f} taken, {' and '.join(map(str, trained[0].epochs))} epochs; boxes of "
            f"{photos} photos held out, top-1 {over_seeds([one.top1 for one in values]).value:.3f}; {len(values)} seeds"
            + ("; one seed, so no interval" if len(values) == 1 else "")
        )
        for part, unit in (("ap", "AP"), ("cls", "classification mAP50 of the boxes found")):
            own, base = ([getattr(one, part) for one in arm] for arm in (values, arms[BASE]))
            if None in own:
                continue
            rows.append(records.figure(f"namer.{args.set}.{name}.{part}", over_seeds(own), unit, setting, command))
            if name != BASE:
                gain = over_seeds([one - other for one, other in zip(own, base, strict=True)])
                key = f"namer.{args.set}.{name}.minus_{BASE}" + (".cls" if part == "cls" else "")
                rows.append(records.figure(key, gain, unit, f"{setting}; paired by seed", command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
