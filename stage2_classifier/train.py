"""Train the crop classifier on the folds of a run folder, calibrate its temperature on held-out crops, and export it.

    python -m stage2_classifier.train --crops shelf|studio|both --data D --out R [--recipe NAME] [--studio DIR] [--resume]

It goes to R/classifier_shelf, R/classifier_studio or R/classifier_both.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusion.boxes import Detections, iou
from fusion.models import Model
from fusion.pipeline import Member, detect_one
from stage1_detector import folds, record
from stage1_detector.command import run, say
from stage1_detector.data import Dataset, Photo, read, read_image
from stage2_classifier import calibrate
from stage2_classifier.config import RECIPES, ClassifierConfig, override, recipe
from stage2_classifier.data import TYPICAL_ERROR, Region, box_error, crops_of, shelf_regions, studio_folder, studio_regions
from stage2_classifier.export import export_classifier
from stage2_classifier.fit import fit
from stage2_classifier.model import MEAN, STD, build, normalised, refuse_missing, to_input

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
    p.add_argument("--pretrained", type=Path, help="local weights file to start from; nothing is ever downloaded")
    p.add_argument("--resume", action="store_true", help="go on with a stopped run")
    p.add_argument("--force", action="store_true", help="start again, replacing what is there")
    # --- fields of ClassifierConfig
    p.add_argument("--model", help="a timm name")
    p.add_argument("--size", type=int, help="side of a crop in pixels")
    p.add_argument("--margin", type=float)
    p.add_argument("--epochs", type=int)
    p.add_argument("--min-steps", type=int)
    p.add_argument("--batch", type=int)
    p.add_argument("--lr", type=float)
    p.add_argument("--weight-decay", type=float)
    p.add_argument("--warmup", type=float)
    p.add_argument("--balance", type=float)
    p.add_argument("--jitter", type=float)
    p.add_argument("--smoothing", type=float)
    p.add_argument("--rotate", type=float, help="degrees; 180 where products stand on their heads")
    p.add_argument("--colour", type=float)
    p.add_argument("--blur", type=float)
    p.add_argument("--erase", type=float)
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
    refuse_missing(args.pretrained)
    train(args.data, args.out, args.crops, config, args.studio, args.pretrained, args.resume, args.force)


def train(
    data: Path,
    runs: Path,
    crops: str,
    config: ClassifierConfig,
    studio: Path | None = None,
    pretrained: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> Path:
    """Train into RUNS/classifier_CROPS and return the exported model's path; a finished run is reused."""
    dataset = read(data)
    parts = folds.load(runs / "folds.json", dataset)
    out = runs / f"classifier_{crops}"
    detector = runs / "one" / "model.onnx"
    settings = asdict(config) | {
        "crops": crops,
        "pretrained": pretrained and record.fingerprint(pretrained),
        "folds": record.fingerprint(runs / "folds.json"),
        "detector": record.fingerprint(detector) if detector.is_file() else None,
    }
    if record.finished(out, settings, force):
        say(f"classifier {crops}: reuses {out}")
        return out / "model.onnx"
    record.refuse_unfinished(out, is_stopped(out), resume, force)
    model = build(config, len(dataset.categories), pretrained)
    held_out = parts.labelled("valid")
    out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    regions = gather(crops, dataset, parts.photos("train"), config, studio)
    error = measured_error(detector, held_out)
    say(
        f"classifier {crops}: {config.model} on {len(regions)} crops of {len({r.label for r in regions})} names; "
        f"box error {np.round(error, 3).tolist()}"
    )
    model = fit(model, regions, error, config, out / "last.pt", lambda line: say(f"classifier {crops}: {line}"), resume)
    metrics = finish(model, out, config, dataset, shelf_regions(held_out, config.size), error)
    say(f"classifier {crops}: valid accuracy {metrics['valid_accuracy']:.3f}, temperature {metrics['temperature']:.2f}")
    record.write_run(out, settings, metrics | {"minutes": (time.time() - started) / 60})
    return out / "model.onnx"


def is_stopped(out: Path) -> bool:
    """Whether OUT holds a run that was stopped: a checkpoint, but no run.json."""
    return (out / "last.pt").is_file() and not (out / "run.json").is_file()


def gather(
    crops: str, dataset: Dataset, photos: tuple[Photo, ...], config: ClassifierConfig, studio: Path | None
) -> list[Region]:
    """The regions that `crops` asks for."""
    regions = shelf_regions(photos, config.size) if crops != "studio" else []
    if crops != "shelf":
        regions += studio_regions(studio_folder(dataset.root, studio), dataset.categories, config.size)
    return regions


def measured_error(detector: Path, photos: tuple[Photo, ...]) -> np.ndarray:
    """The box error (4,) of the model DETECTOR on held-out photos; TYPICAL_ERROR, said on screen, without one."""
    if not detector.is_file():
        say(f"classifier: {detector} not found, the box error is a typical one, not measured")
        return np.array(TYPICAL_ERROR)
    model = Model(detector)
    member = Member.of(detector.name, model.sidecar, conf=0.05)
    pairs = [matched(p.boxes, detect_one(model, member, read_image(p.path, p.width, p.height))[0]) for p in photos]
    return box_error([t for t, _ in pairs], [f for _, f in pairs])


def matched(truth: np.ndarray, found: Detections) -> tuple[np.ndarray, np.ndarray]:
    """The true boxes that some found box overlaps by half or more, and that box for each: both (M, 4)."""
    overlap = iou(truth, found.boxes) if len(found) else np.zeros((len(truth), 1))  # (T, N)
    hit = overlap.max(1, initial=0.0) >= 0.5
    best = overlap.argmax(1)[hit]
    return truth[hit], found.boxes[best] if len(found) else np.zeros((0, 4), np.float32)


def finish(
    model: torch.nn.Module, out: Path, config: ClassifierConfig, dataset: Dataset, held_out: list[Region], error: np.ndarray
) -> dict[str, Any]:
    """Fit the temperature on crops of `held_out`, export to OUT/model.onnx, and return the metrics."""
    crops = crops_of(held_out, np.arange(len(held_out)), error, config.size, config.margin, np.random.default_rng(config.seed))
    labels = np.array([region.label for region in held_out])
    logits = predict(model, crops)
    temperature = calibrate.temperature(logits, labels)
    sidecar = {
        "task": "classifier",
        "family": "timm",
        "categories": [c.id for c in dataset.categories],
        "size": config.size,
        "mean": MEAN,
        "std": STD,
        "margin": config.margin,
        "temperature": temperature,
    }
    parity = export_classifier(model, out / "model.onnx", sidecar, crops[:16])
    return {
        "parity": parity,
        "temperature": temperature,
        "valid_accuracy": float((logits.argmax(1) == labels).mean()),
        "ece_before": calibrate.ece(logits, labels, 1.0),
        "ece_after": calibrate.ece(logits, labels, temperature),
    }


@torch.no_grad()
def predict(model: torch.nn.Module, crops: np.ndarray, batch: int = 64) -> np.ndarray:
    """Logits (N, C) of uint8 crops (N, H, W, 3)."""
    return np.concatenate([model(normalised(to_input(crops[i : i + batch]))).numpy() for i in range(0, len(crops), batch)])


if __name__ == "__main__":
    raise SystemExit(main())
