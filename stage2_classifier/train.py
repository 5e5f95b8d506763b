"""Train the crop classifier on the folds of a run folder, calibrate its temperature on held-out crops, and export it.

    python -m stage2_classifier.train --crops shelf|studio|both --data D --out R [--recipe NAME] [--studio DIR] [--resume]

It goes to R/classifier_shelf, R/classifier_studio or R/classifier_both, or to R/NAME with `--name NAME`.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fusion.views import FITS
from photos import folds
from photos.data import Dataset, Photo, read
from photos.studio import studio_folder
from runs import record
from runs.command import run, say
from stage2_classifier import reliability, scaling
from stage2_classifier.config import HEADS, RECIPES, ClassifierConfig, Columns, columns, override, recipe
from stage2_classifier.crops import TYPICAL_ERROR, CropFormat, Region, crops_of, megabytes, shelf_regions, studio_regions
from stage2_classifier.export import export_classifier
from stage2_classifier.fit import TrainingCrops, fit
from stage2_classifier.model import MEAN, STD, Classifier, build, normalised, pretrained_file, to_input
from stage2_classifier.out_of_fold import (
    NO_BOXES,
    Plan,
    background,
    detected_boxes,
    fold_settings,
    measured_error,
    out_of_fold,
    with_detected,
)

NO_FOLDS = Plan()
CROPS = ("shelf", "studio", "both")


def parser() -> argparse.ArgumentParser:
    """The command's arguments; below the line, one for each field of ClassifierConfig (None: as the recipe has it)."""
    p = argparse.ArgumentParser(prog="python -m stage2_classifier.train", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--crops", choices=CROPS, default="shelf", help="where the crops come from")
    p.add_argument("--data", type=Path, required=True, help="folder with annotations.json (or train.json ...) and images/")
    p.add_argument("--out", type=Path, required=True, help="run folder; holds folds.json")
    p.add_argument(
        "--studio", type=Path, help="folder of studio photos, one folder per product; default D/NM_NGD_product_images"
    )
    p.add_argument("--recipe", default="small", help=f"one of {', '.join(RECIPES)}")
    p.add_argument("--quick", action="store_true", help="a rehearsal: 1 epoch on 32 px crops")
    p.add_argument("--pretrained", type=Path, help="local weights file to start from, or starter; nothing is ever downloaded")
    p.add_argument("--name", help="folder in R, for a second classifier beside the first; default classifier_CROPS")
    p.add_argument("--folds", type=int, default=0, help="train that many detectors and learn from their out-of-fold boxes too")
    p.add_argument("--detector-weights", type=Path, help="for --folds: the weights file that R/one started from, if from one")
    p.add_argument("--resume", action="store_true", help="go on with a stopped run")
    p.add_argument("--force", action="store_true", help="start again, replacing what is there")
    # --- fields of ClassifierConfig
    p.add_argument("--model", help="a timm name")
    p.add_argument("--size", type=int, help="side of a crop in pixels")
    p.add_argument("--fit", choices=FITS, help="how a crop fills its square")
    p.add_argument("--margin", type=float)
    p.add_argument("--epochs", type=int)
    p.add_argument("--min-steps", type=int)
    p.add_argument("--batch", type=int)
    p.add_argument("--lr", type=float)
    p.add_argument("--weight-decay", type=float)
    p.add_argument("--warmup", type=float)
    p.add_argument("--head", choices=HEADS)
    p.add_argument("--subcentres", type=int, help="centres of a name, for --head subcentre")
    p.add_argument("--head-scale", type=float, help="what cosines are multiplied by")
    p.add_argument("--arc-margin", type=float, help="radians, for --head arcface and subcentre")
    p.add_argument("--balance", type=float, help="0 natural, 0.5 square root, 1 class balanced")
    p.add_argument("--unknown", help="the category that is many products; drawn as it comes, without a margin")
    p.add_argument("--background", type=float, help="share of crops that show no product; 0: no such output")
    p.add_argument("--jitter", type=float)
    p.add_argument("--smoothing", type=float)
    p.add_argument("--mixup", type=float, help="alpha; 0: off")
    p.add_argument("--cutmix", type=float, help="alpha; 0: off")
    p.add_argument("--rotate", type=float, help="degrees; 180 where products stand on their heads")
    p.add_argument("--colour", type=float)
    p.add_argument("--blur", type=float)
    p.add_argument("--erase", type=float)
    p.add_argument("--bridge", type=float, help="how strongly studio crops are made to look like shelf crops")
    p.add_argument("--ema", type=float)
    p.add_argument("--seed", type=int)
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    args = parser().parse_args(argv)
    config = override(recipe(args.recipe, args.quick), vars(args))
    if args.detector_weights and not args.folds:
        raise ValueError(f"--detector-weights: got {args.detector_weights}, which is for --folds K")
    plan = Plan(args.folds, args.quick, args.detector_weights)
    train(args.data, args.out, args.crops, config, args.studio, args.pretrained, args.resume, args.force, args.name, plan)


def train(
    data: Path,
    runs: Path,
    crops: str,
    config: ClassifierConfig,
    studio: Path | None = None,
    pretrained: Path | None = None,
    resume: bool = False,
    force: bool = False,
    name: str | None = None,
    plan: Plan = NO_FOLDS,
) -> Path:
    """Train into RUNS/NAME (default: classifier_CROPS) and return the exported model's path; a finished run is reused."""
    pretrained = pretrained_file(pretrained)
    parts, detector = folds.load(runs / "folds.json", read(data)), runs / "one" / "model.onnx"
    out, told = runs / run_name(name, crops), f"classifier {name or crops}"
    settings = asdict(config) | {
        "crops": crops,
        "pretrained": pretrained and record.fingerprint(pretrained),
        "folds": record.fingerprint(runs / "folds.json"),
        "detector": record.fingerprint(detector) if detector.is_file() else None,
        "out_of_fold": fold_settings(runs, plan) if plan.folds else None,
    }
    if record.finished(out, settings, force):
        say(f"{told}: reuses {out}")
        return out / "model.onnx"
    record.refuse_unfinished(out, is_stopped(out), resume, force)
    outputs = columns(config, [category.name for category in parts.dataset.categories])
    model = build(config, outputs, pretrained)
    parts.labelled("valid")  # refuses an empty one before the work begins
    old = ("last.pt", "model.before_enroll.onnx", "model.before_enroll.json", "enrolled.json")
    record.begin(out, settings, resume, [out / file for file in old])
    metrics = learn(model, out, crops, config, parts, studio, resume, plan)
    record.write_run(out, settings, metrics)
    return out / "model.onnx"


def learn(
    model: Classifier, out: Path, crops: str, config: ClassifierConfig, parts: folds.Folds, studio: Path | None, resume: bool,
    plan: Plan,
) -> dict[str, Any]:  # fmt: skip
    """Train `model`, export it to OUT/model.onnx, and return the metrics."""
    started, told = time.time(), "classifier " + out.name.removeprefix("classifier_")
    shown = look(out.parent, parts, model.columns, config, plan)
    regions = gather(crops, parts.dataset, shown.train, config, studio)
    say(f"{told}: cached {len(regions)} crops, {megabytes(regions):.0f} MB; box error {np.round(shown.error, 3).tolist()}")

    def tell(line: str) -> None:
        say(f"{told}: {line}")
        record.note(out, line)

    fitted = fit(model, TrainingCrops(regions, shown.error), config, out / "last.pt", tell, resume)
    metrics = finish(fitted.model, out, config, parts, shown.valid, shown.error)
    say(
        f"{told}: valid accuracy {metrics['valid_accuracy']:.3f}, calibrated by {metrics['calibration']}, "
        f"{fitted.loader_share:.1%} of the steps' time spent on waiting for crops"
    )
    return metrics | {"loader_share": fitted.loader_share, "minutes": (time.time() - started) / 60}


def run_name(name: str | None, crops: str) -> str:
    """The folder of a classifier in the run folder. Raises ValueError for a name that is no plain one.

    >>> run_name(None, "shelf"), run_name("second", "shelf")
    ('classifier_shelf', 'second')
    """
    taken = ("one", "all", "oof", ".", "..", "")
    if name is not None and (name in taken or Path(name).name != name):
        raise ValueError(f"--name: got {name!r}, must be the name of a folder, and none of one, all, oof")
    return name or f"classifier_{crops}"


def is_stopped(out: Path) -> bool:
    """Whether OUT holds a run that was stopped: a checkpoint, but no run.json."""
    return (out / "last.pt").is_file() and not (out / "run.json").is_file()


class Shown(NamedTuple):
    """The photos to learn from and to calibrate on, with the boxes that detectors add to them, and the box error (4,)."""

    train: Sequence[Photo]
    valid: Sequence[Photo]
    error: np.ndarray


def look(runs: Path, parts: folds.Folds, outputs: Columns, config: ClassifierConfig, plan: Plan) -> Shown:
    """What detectors find on the photos: R/one's, and by `plan` those of the folds, on scenes they were not trained on."""
    train, valid, detector = parts.photos("train"), parts.labelled("valid"), runs / "one" / "model.onnx"
    found, on_valid = [NO_BOXES] * len(train), detected_boxes(detector, valid)
    if plan.folds:
        found = out_of_fold(runs, parts, plan, lambda line: say(f"classifier: {line}"))
        error = measured_error(train, found)
        train = tuple(with_detected(photo, boxes) for photo, boxes in zip(train, found, strict=True))
    elif detector.is_file():
        error = measured_error(valid, on_valid)
        found = detected_boxes(detector, train) if outputs.background else found
    else:
        say(f"classifier: {detector} not found, the box error is a typical one, not measured")
        error = np.array(TYPICAL_ERROR)
    return Shown(background(train, found, outputs, config.seed), background(valid, on_valid, outputs, config.seed), error)


def gather(
    crops: str, dataset: Dataset, photos: Sequence[Photo], config: ClassifierConfig, studio: Path | None
) -> list[Region]:
    """The regions that `crops` asks for; of shelf photos' background there are some in any case, where `photos` have it."""
    names = len(dataset.categories)
    regions = shelf_regions(photos if crops != "studio" else [only_background(p, names) for p in photos], config.size)
    if crops != "shelf":
        regions += studio_regions(studio_folder(dataset.root, studio), dataset.categories, config.size)
    return regions


def only_background(photo: Photo, names: int) -> Photo:
    """`photo` with those boxes only that show no product."""
    keep = photo.labels == names
    return replace(photo, boxes=photo.boxes[keep], labels=photo.labels[keep], annotation_ids=photo.annotation_ids[keep])


def finish(
    model: Classifier, out: Path, config: ClassifierConfig, parts: folds.Folds, photos: Sequence[Photo], error: np.ndarray
) -> dict[str, Any]:
    """Calibrate on crops of held-out `photos`, export to OUT/model.onnx, and return the metrics."""
    rng, held_out = np.random.default_rng(config.seed), shelf_regions(photos, config.size)
    form = CropFormat(config.size, config.margin, config.fit)
    crops = crops_of(held_out, np.arange(len(held_out)), error, form, rng)
    labels = np.array([region.label for region in held_out])
    groups = np.repeat([parts.scene[photo.id] for photo in photos], [len(photo.boxes) for photo in photos])
    logits = predict(model, crops)
    fitted = scaling.choose_scaling(logits, labels, groups, rng)
    sidecar = {
        "task": "classifier",
        "family": "timm",
        "categories": [c.id for c in parts.dataset.categories],
        "size": config.size,
        "mean": MEAN,
        "std": STD,
        "margin": config.margin,
        "fit": config.fit,
        "background": model.columns.background,
    }
    parity = export_classifier(model, out / "model.onnx", sidecar | fitted.sidecar(), crops[:16])
    right, product = logits.argmax(1) == labels, labels < model.columns.names
    return {
        "parity": parity,
        "calibration": fitted.method,
        "temperature": fitted.temperature,
        "valid_accuracy": float(right[product].mean()),
        "valid_background_accuracy": float(right[~product].mean()) if (~product).any() else None,
        "ece_before": reliability.ece(logits, labels, 1.0),
        "ece_after": reliability.ece(fitted.scaled(logits), labels, 1.0),
    }


@torch.no_grad()
def predict(model: torch.nn.Module, crops: np.ndarray, batch: int = 64) -> np.ndarray:
    """Logits (N, C) of uint8 crops (N, H, W, 3)."""
    return np.concatenate([model(normalised(to_input(crops[i : i + batch]))).numpy() for i in range(0, len(crops), batch)])


if __name__ == "__main__":
    raise SystemExit(main())
