"""Train one detector on the folds of a run folder, export it, and score it on the valid part.

    python -m stage1_detector.train --data D --out R --classes one|all [--recipe NAME] [--quick] [--pretrained FILE] [--resume]

`--classes one` is class-agnostic and goes to R/one; `--classes all` keeps the class scores and goes to R/all.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from fusion.ensemble import Member
from fusion.models import Model, Sidecar, read_object
from fusion.pipeline import run_detector
from photos import folds
from photos.data import Dataset, Photo, read, read_image
from photos.score import Truth, evaluate
from runs import record
from runs.command import run, say
from stage1_detector.config import ANCHORS, CHOICES, NORMS, STRIDE, Config, DetectorConfig, override, weights_file
from stage1_detector.engine import Job, Progress, Score, epochs, max_det
from stage1_detector.export import export_detector
from stage1_detector.families import FAMILIES, Family, Network
from stage1_detector.recipes import RECIPES, recipe, rehearsal
from stage1_detector.synthesis.coco_writer import REQUEST_FILE
from stage1_detector.torch_engine.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.torch_engine.schedules import SCHEDULES

VALID_CONF = 0.001  # taken: the low floor that AP wants (CONTEST.md)
VALID_NMS = 0.6  # chosen: between the 0.5 that loses stacked facings and the 0.7 that keeps doubles


def parser() -> argparse.ArgumentParser:
    """The command's arguments; below the line, one for each setting of any family (None: as the recipe has it)."""
    p = argparse.ArgumentParser(prog="python -m stage1_detector.train", description=(__doc__ or "").split("\n")[0])
    ask_for_run(p)
    p.add_argument("--recipe", default="small", help=f"one of {', '.join(RECIPES)}")
    p.add_argument("--quick", action="store_true", help="a rehearsal: 1 epoch at 160 px")
    # --- settings
    p.add_argument("--family", choices=tuple(FAMILIES))
    p.add_argument("--model", help="model YAML that ultralytics carries")
    p.add_argument("--mosaic", type=float)
    p.add_argument("--copy-paste", type=float)
    p.add_argument("--freeze", type=int, help="layers held still")
    p.add_argument("--distill-model", help="a YOLO's .pt file, for ultralytics' own distillation (ours: distill.py)")
    p.add_argument("--dis", type=float, help="its weight")
    ask_for_settings(p)
    p.add_argument("--backbone", help="families of our own loop: a network of timm")
    p.add_argument("--neck", choices=CHOICES["rcnn"]["neck"])
    p.add_argument("--head", choices=[head for made in CHOICES.values() for head in made["head"]])
    p.add_argument("--norm", choices=NORMS)
    p.add_argument("--width", type=int, help="channels of the pyramid, or of a transformer")
    p.add_argument("--anchors", choices=ANCHORS)
    p.add_argument("--anchor-size", type=float, help="an anchor's side as a multiple of its level's stride")
    p.add_argument("--rois", type=int, help="boxes sampled of a photo in training")
    p.add_argument("--proposals", type=int, help="boxes looked at at judgment")
    p.add_argument("--drop-path", type=float)
    p.add_argument("--queries", type=int, help="a transformer's: the most that it can find in a photo")
    p.add_argument("--encoder-layers", type=int)
    p.add_argument("--decoder-layers", type=int)
    p.add_argument("--dropout", type=float, help="of a transformer's layers")
    ask_for_loop(p)
    return p


def ask_for_run(p: argparse.ArgumentParser) -> None:
    """What every command that trains a detector is told: from what, into where, and what to do with what is there."""
    p.add_argument("--data", type=Path, required=True, help="folder with annotations.json (or train.json ...) and images/")
    p.add_argument("--out", type=Path, required=True, help="run folder; holds folds.json")
    p.add_argument("--classes", choices=("one", "all"), default="one", help="one: find products; all: find and name them")
    p.add_argument("--pretrained", type=Path, help="local weights file to start from, or starter; nothing is ever downloaded")
    p.add_argument("--synthetic", type=Path, help="folder of synthetic photos, as stage1_detector.synthesis writes it")
    p.add_argument("--resume", action="store_true", help="go on with a stopped run")
    p.add_argument("--force", action="store_true", help="start again, replacing what is there")


def ask_for_settings(p: argparse.ArgumentParser) -> None:
    """The settings of every family, those of Config."""
    p.add_argument("--size", type=int, help="long side in pixels")
    p.add_argument("--epochs", type=int)
    p.add_argument("--min-steps", type=int)
    p.add_argument("--batch", type=int)
    p.add_argument("--optimizer")
    p.add_argument("--lr", type=float)
    p.add_argument("--lr-end", type=float)
    p.add_argument("--weight-decay", type=float)
    p.add_argument("--warmup-epochs", type=float)
    p.add_argument("--scale", type=float)
    p.add_argument("--translate", type=float)
    p.add_argument("--flip-lr", type=float)
    p.add_argument("--hue", type=float)
    p.add_argument("--saturation", type=float)
    p.add_argument("--value", type=float)
    p.add_argument("--patience", type=int, help="epochs without gain before it stops; 0: the last epoch counts")
    p.add_argument("--synthetic-ratio", type=float, help="synthetic photos an epoch for each real one")
    p.add_argument("--seed", type=int)
    p.add_argument("--device", help="as torch names it; empty: the GPU if there is one")


def ask_for_loop(p: argparse.ArgumentParser) -> None:
    """The settings of what our own loop trains, those of LoopConfig."""
    p.add_argument("--schedule", choices=tuple(SCHEDULES))
    p.add_argument("--backbone-lr", type=float, help="the backbone's rate as a multiple of --lr")
    p.add_argument("--layer-decay", type=float, help="the rate's decay by layer of the backbone")
    p.add_argument("--clip", type=float, help="greatest norm of the gradients; 0: any")
    p.add_argument("--accumulate", type=int, help="batches of a step")
    p.add_argument("--ema", type=float, help="decay of averaged weights; 0: none")
    p.add_argument("--keep", type=int, help="best checkpoints that stay")
    p.add_argument("--plain-epochs", type=int, help="epochs at the end without augmentation")
    p.add_argument("--hsv-p", type=float, help="probability of --hue, --saturation, --value")
    p.add_argument("--affine-p", type=float, help="probability of --rotate, --shear, --translate, --scale")
    p.add_argument("--rotate", type=float, help="degrees")
    p.add_argument("--shear", type=float, help="degrees")
    p.add_argument("--colour-policy", type=float, help="probability of AutoAugment's colours for SVHN")


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    args = parser().parse_args(argv)
    train(args.data, args.out, args.classes, wanted(args), args.pretrained, args.resume, args.force, args.synthetic)


def wanted(args: argparse.Namespace) -> Config:
    """The settings that the arguments ask for: a recipe, what is said otherwise, and a rehearsal of both where --quick is."""
    config = override(recipe(args.recipe), vars(args))
    return override(rehearsal(config), vars(args)) if args.quick else config


def train(
    data: Path,
    runs: Path,
    classes: str,
    config: Config,
    pretrained: Path | None = None,
    resume: bool = False,
    force: bool = False,
    synthetic: Path | None = None,
    family: Family | None = None,
    also: Mapping[str, Any] = MappingProxyType({}),
    distributed: Distributed = SINGLE_PROCESS,
) -> Path:
    """Train into RUNS/one or RUNS/all and return the exported model's path; a finished run is reused.

    `family` comes in place of the one that `config` names, `also` is further settings that make the run what it is; of a
    `distributed` training, the main process alone speaks and writes.
    """
    pretrained = weights_file(pretrained)
    if (synthetic is None) != (config.synthetic_ratio == 0):
        raise ValueError(f"--synthetic: got {synthetic} with --synthetic-ratio {config.synthetic_ratio}, give both or neither")
    dataset = read(data)
    parts, out = folds.load(runs / folds.NAME, dataset), runs / classes
    family = family or FAMILIES[config.family]
    settings = record.made_with(runs / folds.NAME, classes, config, pretrained, synthetic) | also
    if record.finished(out, settings, force):
        if distributed.is_main:
            say(f"{classes}: reuses {out}")
        return out / "model.onnx"
    record.refuse_unfinished(out, is_stopped(out), resume, force)
    last = out / "weights" / "last.pt"
    family.refuse(config, pretrained, last if resume else None)
    if isinstance(config, DetectorConfig) and config.distill_model:
        record.refuse_other_folds("--distill-model", Path(config.distill_model).parents[1], runs / folds.NAME)
    made = (
        ()
        if synthetic is None
        else synthetic_photos(synthetic, dataset, classes, folds.photo_fingerprint(parts.photos("train")))
    )
    distributed.all_gather(None)  # all have looked before the first writes
    if distributed.is_main:
        record.begin(out, settings, resume, () if pretrained and last.resolve() == pretrained.resolve() else (last,))
    photos, started = {part: parts.labelled(part) for part in ("train", "valid")}, time.time()
    tell = teller(out, classes, distributed)
    tell(
        f"{getattr(config, 'model', config.family)} on {len(photos['train'])} photos at {config.size} px, "
        f"{epochs(config, len(photos['train']))} epochs"
    )
    names = ["product"] if classes == "one" else [f"c{category.id}" for category in dataset.categories]
    described = sidecar(config, None if classes == "one" else [category.id for category in dataset.categories], photos)
    scorer = network_score(config, described, photos["valid"], len(dataset.categories))
    weights = family.fit(Job(config, photos, names, out, tell, scorer, pretrained, resume, made, distributed))
    if distributed.is_main:
        metrics = finish(family.load(weights), out, config, described, photos["valid"], len(dataset.categories))
        record.write_run(out, settings, metrics | {"minutes": (time.time() - started) / 60})
    return out / "model.onnx"


def teller(out: Path, classes: str, distributed: Distributed) -> Progress:
    """What says a line and leaves it in OUT; of several processes, the main one does."""

    def tell(line: str) -> None:
        if distributed.is_main:
            say(f"{classes}: {line}")
            record.note(out, line)

    return tell


def is_stopped(out: Path) -> bool:
    """Whether OUT holds a run that was stopped: weights, but no run.json."""
    return (out / "weights" / "last.pt").is_file() and not (out / "run.json").is_file()


def synthetic_photos(folder: Path, dataset: Dataset, classes: str, train: str) -> tuple[Photo, ...]:
    """The photos in `folder`, labelled with the categories of `dataset` of the same names.

    Raises ValueError where they are made of other photos than those of the fingerprint `train` (`folds.photo_fingerprint`), and
    where `classes` is "all" and a category there is not one of the data set's.
    """
    made = read(folder)
    wish = read_object(folder / REQUEST_FILE) if (folder / REQUEST_FILE).is_file() else {}
    if wish.get("train", "") not in ("", train):
        raise ValueError(f"--synthetic: {folder} is made of other photos than these folds train on; make it anew with --runs")
    if classes == "one":
        return made.photos
    if made.categories == dataset.categories:
        return made.photos
    index = {category.name: i for i, category in enumerate(dataset.categories)}
    other = [category.name for category in made.categories if category.name not in index]
    if other:
        raise ValueError(f"--synthetic: {folder} has the category {other[0]!r}, the data set has not; --classes one takes any")
    names = np.array([index[category.name] for category in made.categories], np.int64)
    return tuple(replace(photo, labels=names[photo.labels]) for photo in made.photos)


def sidecar(config: Config, categories: list[int] | None, photos: dict[str, tuple[Photo, ...]]) -> dict[str, Any]:
    """What run.py must know about the detector."""
    family = FAMILIES[config.family]
    input_format = family.input_format
    return {
        "task": "detector",
        "family": family.layout or config.family,
        "categories": categories,
        "size": config.size,
        "shape": input_format.shape,
        "stride": STRIDE,
        "mean": list(input_format.mean),
        "std": list(input_format.std),
        "max_det": max_det([*photos["train"], *photos["valid"]]),
    }


def network_score(config: Config, described: dict[str, Any], photos: tuple[Photo, ...], n_categories: int) -> Score:
    """`score` of a network that is still being trained."""

    def scored(network: torch.nn.Module) -> dict[str, float]:
        return score(Network(network, config, Sidecar(**described)), photos, n_categories)

    return scored


def finish(
    network: torch.nn.Module,
    out: Path,
    config: Config,
    described: dict[str, Any],
    valid: tuple[Photo, ...],
    n_categories: int,
) -> dict[str, Any]:
    """Export a trained network to OUT/model.onnx, check it against torch, and score it on the valid photos."""
    parity = export_detector(FAMILIES[config.family].for_export(network, config), out / "model.onnx", described, valid)
    say(f"{out.name}: ONNX equals torch within {parity['boxes_px']:.1e} px and {parity['scores']:.1e}")
    scores = score(Model(out / "model.onnx"), valid, n_categories)
    say(f"{out.name}: valid " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return {"parity": parity, "valid": scores}


def member(model: Model | Network) -> Member:
    """How a detector is scored alone: one view, the low floor that AP wants, NMS."""
    return Member.of("", model.sidecar, conf=VALID_CONF, nms_iou=VALID_NMS)


def score(model: Model | Network, photos: tuple[Photo, ...], n_categories: int) -> dict[str, float]:
    """mAP50 of a model alone on `photos`, one view and NMS: det, and cls where it knows categories; without COCO's cap."""
    one = member(model)
    found = [run_detector(model, one, read_image(p.path, p.width, p.height))[0] for p in photos]
    result = evaluate([Truth(p.boxes, p.labels) for p in photos], found, n_categories)
    named = {} if model.sidecar.categories is None else {"cls_map50": float(result.cls_map50)}
    return {"det_map50": float(result.det_map50)} | named


if __name__ == "__main__":
    raise SystemExit(main())
