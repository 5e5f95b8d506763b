"""System C: Faster R-CNN v1, v2 and v2 + ResFPN read numbers, the same budget and several seeds each.

    python -m experiments.studies.digits --data D --out X [--models v1 v2 v2-resfpn] [--seeds 0 1 2] [--synthetic S] [--record]

Each is trained class-aware; on valid the threshold is searched, by mAP and by how many numbers are read whole, and the best is
used on test; with --views and --beside several looks are fused. X/MODEL/SEED holds each run, with pred.json and pred.csv of
valid, X/thresholds.png the search (with --record also experiments/results/digits.thresholds.png); what is finished is reused.
D's categories are the digits, named so.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.performance.coco import coco_scores
from experiments.studies import reading
from experiments.studies.detectors import deal
from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.models import Model
from fusion.pipeline import merge, run_detector_view
from photos import folds
from photos.data import Photo, read, read_image
from runs import record
from runs.command import Parser, run, say
from stage1_detector import validation
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.recipes import recipe

RECIPES = {"v1": "digits", "v2": "digits-v2", "v2-resfpn": "digits-resfpn"}
FUSED_CONF, FUSED_IOU = 0.05, 0.55  # taken: system A's floor; the usual IoU of WBF
KINDS = ("map", "map50", "sequence_accuracy", "threshold", "test_map", "test_sequence_accuracy")


class Read(NamedTuple):
    """What one trained model makes of valid and test, and the rows of its threshold search."""

    records: dict[str, float]
    rows: list[reading.Row]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train every model with every seed, search its threshold, tell and record the means and the differences to the first."""
    p = Parser(prog="python -m experiments.studies.digits", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--models", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--size", type=int, default=192)
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument(
        "--synthetic",
        type=Path,
        help="drawn strips, as experiments.studies.number_strips writes them; one joins for each photo",
    )
    p.add_argument("--finetune", type=Path, help="--out of an earlier call, whose weights it goes on from")
    p.add_argument("--lr", type=float, default=0.0, help="in place of the recipe's")
    p.add_argument("--views", type=int, nargs="+", default=[], help="long sides in pixels to look at each photo at, and fuse")
    p.add_argument("--beside", type=Path, nargs="+", default=[], help="--out of other calls, whose models join the fused one")
    p.add_argument("--name", default="", help="in the keys, after the model: tells another budget apart")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if args.epochs < 1:
        raise ValueError(f"--epochs: got {args.epochs}, need at least 1")
    refuse_others([category.name for category in read(args.data).categories], args.data)
    every = {model: [read_by(model, seed, args) for seed in args.seeds] for model in dict.fromkeys(args.models)}
    rows = {model: mean_rows([one.rows for one in reads]) for model, reads in every.items()}
    reading.draw(rows, args.out / "thresholds.png")
    made = told(every, args, records.command("studies.digits", argv))
    if args.record:
        records.write("digits", made)
        reading.draw(rows, records.RESULTS / f"digits{args.name}.thresholds.png")


def refuse_others(names: Sequence[str], data: Path) -> None:
    """Raises ValueError unless every category is called by a digit."""
    other = [name for name in names if len(name) != 1 or not name.isdigit()]
    if other:
        raise ValueError(f"--data: {data} has the category {other[0]!r}, all must be digits")


def read_by(model: str, seed: int, args: argparse.Namespace) -> Read:
    """Train one model with one seed, unless it is there, and let it read."""
    runs = args.out / model / str(seed)
    deal(args.data, runs)
    dataset = read(args.data)
    config = replace(recipe(RECIPES[model]), seed=seed, size=args.size, epochs=args.epochs)
    config = replace(config, plain_epochs=args.epochs // 4, synthetic_ratio=float(args.synthetic is not None))  # type: ignore[call-arg]
    config = replace(config, lr=args.lr or config.lr)
    weights = None if args.finetune is None else args.finetune / model / str(seed) / "all" / "weights" / "last.pt"
    stopped = record.is_stopped(runs / "all")
    request = DetectorRun(
        data=args.data, runs=runs, classes="all", pretrained=weights, resume=stopped, synthetic=args.synthetic
    )
    train_detector(request, config)
    parts = folds.load(runs / folds.NAME, dataset)
    names = [category.name for category in dataset.categories]
    valid, test = parts.photos("valid"), parts.photos("test")
    folders = [runs, *(other / model / str(seed) for other in args.beside)]
    found, found_test = (detected(folders, part, args.views) for part in (valid, test))
    rows = reading.search(valid, found, names)
    best = reading.best(rows, "accuracy")
    whole = coco_scores(valid, found, len(names))
    figures_ = {
        "map": whole["map"], "map50": whole["map50"], "sequence_accuracy": best.accuracy, "threshold": best.threshold,
        "test_map": coco_scores(test, found_test, len(names))["map"],
        "test_sequence_accuracy": reading.sequence_accuracy(test, found_test, names, best.threshold),
    }  # fmt: skip
    reading.write_predictions(runs, valid, found, dataset.categories, names, best.threshold)
    say(f"digits: {model}, seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures_.items()))
    return Read(figures_, rows)


def mean_rows(searches: Sequence[Sequence[reading.Row]]) -> list[reading.Row]:
    """The mean over seeds of each row of the search."""
    return [reading.Row(*(float(value) for value in np.mean(rows, 0))) for rows in zip(*searches, strict=True)]


def told(every: dict[str, list[Read]], args: argparse.Namespace, command: str) -> list[dict[str, object]]:
    """A figure for each model and kind, and for what each model adds to the first, paired by seed."""
    drawn = "a drawn strip for each photo" if args.synthetic else "no drawn strips"
    begun = "random weights" if args.finetune is None else f"the weights of {args.finetune.name}"
    fused = f"; fused: views of {args.views or [args.size]} px of {1 + len(args.beside)} models"
    setting = f"{args.epochs} epochs at {args.size} px from {begun}, {drawn}; threshold and accuracy chosen on valid"
    setting += fused if args.views or args.beside else ""
    first, made = next(iter(every)), []
    for model, reads in every.items():
        for kind in KINDS:
            values = [one.figures[kind] for one in reads]
            made.append((f"digits.{model}{args.name}.{kind}", values, setting))
            if model != first:
                less = [value - one.figures[kind] for value, one in zip(values, every[first], strict=True)]
                made.append((f"digits.{model}{args.name}.{kind}_minus_{first}", less, f"{setting}; paired by seed"))
    figures_ = []
    for key, values, how in made:
        mean = over_seeds(values)
        say(f"{key}: {mean}")
        how = how if mean.n > 1 else f"{how}; one seed, so no interval"
        figures_.append(records.figure(key, mean.value, "share", mean.n, how, command, mean.low, mean.high))
    return figures_


def detected(runs: Sequence[Path], photos: Sequence[Photo], sizes: Sequence[int]) -> list[Detections]:
    """What the models in RUNS/all find on each photo: one in its own view as it is scored alone; fused by WBF where there are
    several, or `sizes` to look at.
    """
    models = [Model(folder / "all" / "model.onnx") for folder in runs]
    alone, side = len(models) == 1 and not sizes, models[0].sidecar
    views = [{"size": size, "shape": side.shape} for size in sizes or [side.size]]
    values = {"evidence_weight": 1.0, "conf": FUSED_CONF, "nms_iou": validation.VALID_NMS, "views": views}
    members = [validation.member(model) if alone else Member.of("", model.sidecar, **values) for model in models]
    ensemble = Ensemble(list(side.categories or []), members, Merge("wbf", FUSED_IOU))
    raw = [looks(models, members, photo) for photo in photos]
    return [views[0][0] for views in raw] if alone else [best_named(merge(views, ensemble)) for views in raw]


def looks(models: Sequence[Model], members: Sequence[Member], photo: Photo) -> list[list[Detections]]:
    """What every view of every model finds on a photo."""
    image = read_image(photo.path, photo.width, photo.height)
    return [
        [run_detector_view(model, one, view, image) for view in one.views] for model, one in zip(models, members, strict=True)
    ]


def best_named(merged: Detections) -> Detections:
    """Merged boxes by the best name of their evidence."""
    assert merged.evidence is not None
    return Detections(merged.boxes, merged.scores, merged.evidence.argmax(1).astype(np.int64))


if __name__ == "__main__":
    raise SystemExit(main())
