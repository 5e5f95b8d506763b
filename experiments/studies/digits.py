"""System C: Faster R-CNN v1, v2 and v2 + ResFPN read numbers, the same budget and several seeds each.

    python -m experiments.studies.digits --data D --out X [--models v1 v2 v2-resfpn] [--seeds 0 1 2] [--synthetic S] [--record]

Each is trained class-aware; on valid the threshold is searched, by mAP and by how many numbers are read whole, and the best is
used on test; with --views and --beside several views and models are fused. X/MODEL/SEED holds each run, with pred.json and
pred.csv of valid, X/thresholds.png the search (with --record also experiments/results/digits.thresholds.png); what is finished
is reused.
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
from experiments.performance.coco_metrics import coco_scores
from experiments.studies import number_reading
from experiments.studies.detectors import held_out_photos
from fusion.boxes import Detections
from fusion.decode import run_detector_view
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.models import Model
from fusion.pipeline import merge
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


class Reading(NamedTuple):
    """How well one trained model reads valid and test, by KINDS, and the rows of its threshold search."""

    scores: dict[str, float]
    rows: list[number_reading.Row]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train every model with every seed, search its threshold, print and record the means and the differences to the first."""
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
    p.add_argument("--finetune", type=Path, help="--out of an earlier call, whose weights the training starts from")
    p.add_argument("--lr", type=float, default=0.0, help="in place of the recipe's")
    p.add_argument("--views", type=int, nargs="+", default=[], help="long sides in pixels of the views that are fused")
    p.add_argument("--beside", type=Path, nargs="+", default=[], help="--out of other calls, whose models join the fused one")
    p.add_argument("--name", default="", help="in the keys, after the model: tells another budget apart")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if args.epochs < 1:
        raise ValueError(f"--epochs: got {args.epochs}, need at least 1")
    refuse_others([category.name for category in read(args.data).categories], args.data)
    by_model = {model: [train_and_read(model, seed, args) for seed in args.seeds] for model in dict.fromkeys(args.models)}
    rows = {model: mean_rows([reading.rows for reading in readings]) for model, readings in by_model.items()}
    number_reading.draw(rows, args.out / "thresholds.png")
    figures = as_records(by_model, args, records.command("studies.digits", argv))
    if args.record:
        records.write("digits", figures)
        number_reading.draw(rows, records.RESULTS / f"digits{args.name}.thresholds.png")


def refuse_others(names: Sequence[str], data: Path) -> None:
    """Raises ValueError unless every category is called by a digit, 0 to 9, of its own."""
    other = [name for name in names if name not in tuple("0123456789")]
    if other:
        raise ValueError(f"--data: {data} has the category {other[0]!r}, all must be digits")
    if len(set(names)) < len(names):
        raise ValueError(f"--data: {data} has the categories {', '.join(sorted(names))}, must be one for each digit")


def train_and_read(model: str, seed: int, args: argparse.Namespace) -> Reading:
    """Train one model with one seed, unless it is finished, and read the numbers of valid and test."""
    runs = args.out / model / str(seed)
    held_out_photos(args.data, runs)
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
    on_valid, on_test = (detected(folders, part, args.views) for part in (valid, test))
    rows = number_reading.search(valid, on_valid, names)
    best = number_reading.best(rows, "accuracy")
    coco = coco_scores(valid, on_valid, len(names))
    scores = {
        "map": coco["map"], "map50": coco["map50"], "sequence_accuracy": best.accuracy, "threshold": best.threshold,
        "test_map": coco_scores(test, on_test, len(names))["map"],
        "test_sequence_accuracy": number_reading.sequence_accuracy(test, on_test, names, best.threshold),
    }  # fmt: skip
    number_reading.write_predictions(runs, valid, on_valid, dataset.categories, best.threshold)
    say(f"digits: {model}, seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return Reading(scores, rows)


def mean_rows(searches: Sequence[Sequence[number_reading.Row]]) -> list[number_reading.Row]:
    """The mean over seeds of each row of the search."""
    return [number_reading.Row(*(float(value) for value in np.mean(rows, 0))) for rows in zip(*searches, strict=True)]


def as_records(by_model: dict[str, list[Reading]], args: argparse.Namespace, command: str) -> list[dict[str, object]]:
    """A figure for each model and kind, and for what each model adds to the first, paired by seed."""
    strips = "a drawn strip for each photo" if args.synthetic else "no drawn strips"
    start = "random weights" if args.finetune is None else f"the weights of {args.finetune.name}"
    fused = f"; fused: views of {args.views or [args.size]} px of {1 + len(args.beside)} models"
    setting = f"{args.epochs} epochs at {args.size} px from {start}, {strips}; threshold and accuracy chosen on valid"
    setting += fused if args.views or args.beside else ""
    first, by_key = next(iter(by_model)), []
    for model, readings in by_model.items():
        for kind in KINDS:
            values, key = [reading.scores[kind] for reading in readings], f"digits.{model}{args.name}.{kind}"
            by_key.append((key, values, setting))
            if model != first:
                gains = [value - reading.scores[kind] for value, reading in zip(values, by_model[first], strict=True)]
                by_key.append((f"{key}_minus_{first}", gains, f"{setting}; paired by seed"))
    figures = []
    for key, values, text in by_key:
        mean = over_seeds(values)
        say(f"{key}: {mean}")
        text = text if mean.n > 1 else f"{text}; one seed, so no interval"
        figures.append(records.figure(key, mean, "share", text, command))
    return figures


def detected(runs: Sequence[Path], photos: Sequence[Photo], sizes: Sequence[int]) -> list[Detections]:
    """The detections of the models in RUNS/all on each photo: of one model in its own view, as it is scored alone; of several
    models, or where `sizes` are given, fused by WBF.
    """
    models = [Model(folder / "all" / "model.onnx") for folder in runs]
    alone, side = len(models) == 1 and not sizes, models[0].sidecar
    views = [{"size": size, "shape": side.shape} for size in sizes or [side.size]]
    values = {"evidence_weight": 1.0, "conf": FUSED_CONF, "nms_iou": validation.VALID_NMS, "views": views}
    members = [validation.member(model) if alone else Member.of("", model.sidecar, **values) for model in models]
    ensemble = Ensemble(list(side.categories or []), members, Merge("wbf", FUSED_IOU))
    raw = [all_views(models, members, photo) for photo in photos]
    return [views[0][0] for views in raw] if alone else [best_named(merge(views, ensemble)) for views in raw]


def all_views(models: Sequence[Model], members: Sequence[Member], photo: Photo) -> list[list[Detections]]:
    """The detections of every view of every model on a photo."""
    image = read_image(photo.path, photo.width, photo.height)
    return [
        [run_detector_view(model, member, view, image) for view in member.views]
        for model, member in zip(models, members, strict=True)
    ]


def best_named(merged: Detections) -> Detections:
    """Merged boxes by the best name of their evidence."""
    assert merged.evidence is not None
    return Detections(merged.boxes, merged.scores, merged.evidence.argmax(1).astype(np.int64))


if __name__ == "__main__":
    raise SystemExit(main())
