"""What a teacher adds to a student: several arms of the same budget, several seeds each, scored on photos that were held out.

    python -m experiments.studies.distill --set NAME --data D --out X [--student yolov8n] [--arms ...] [--seeds 0 1 2]

Arms: `baseline` learns alone; `feature`, `prediction` and `both` have the teacher's terms; `longer` is the baseline with as
many more epochs as the teacher's forward pass costs, at equal compute; `ultralytics` is its distillation in its trainer, and
`ultralytics-baseline` that trainer without it. The teacher is the student's network begun from --pretrained and trained
--teacher-epochs; of a YOLO it is trained by ultralytics. X/teacher and X/ARM/SEED hold the runs, X/table.{csv,md} and
X/arms.png what they reach; what is finished is reused, what was stopped goes on.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from experiments.figures import records, text_table
from experiments.figures.over_seeds import Mean, over_seeds
from experiments.performance import cost
from experiments.performance.coco import coco_scores
from experiments.studies.detectors import deal
from fusion.models import Model, read_object
from fusion.pipeline import run_detector
from photos import folds
from photos.data import Photo, read, read_image
from runs import record
from runs.command import Parser, run, say
from runs.record import weights_of
from stage1_detector import validation
from stage1_detector.config import DetectorConfig, from_settings
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.distillation.config import NONE, STUDENTS, StudentConfig
from stage1_detector.distillation.student import build
from stage1_detector.distillation.student_run import train_student
from stage1_detector.families import FAMILIES

TERMS = {"feature": (True, False), "prediction": (False, True), "both": (True, True)}  # of maps, of classes and boxes
ALONE = ("baseline", "longer")
THEIRS = ("ultralytics-baseline", "ultralytics")
OURS = (*ALONE, *TERMS)
ARMS = (*OURS, *THEIRS)
BACKWARD = 2.0  # taken: a backward pass costs twice a forward one
HEADER = ("arm", "mAP", "mAP50", "minus baseline", "minus longer", "n")
Scored = dict[str, list[dict[str, float]]]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train the teacher, then every arm with every seed; write the table after each arm, record at the end."""
    args = parser().parse_args(argv)
    if args.epochs < 1 or args.teacher_epochs < 1:
        raise ValueError(f"--epochs, --teacher-epochs: got {args.epochs}, {args.teacher_epochs}, need at least 1")
    family = STUDENTS[args.student]().family
    if family != "yolo" and set(args.arms) & set(THEIRS):
        raise ValueError(f"--arms: ultralytics distils YOLOs alone, not {args.student}; leave out {', '.join(THEIRS)}")
    teacher = taught(args)
    more = compute(args, teacher)
    say(f"{args.set}: the teacher makes a step {more:.2f} times as dear")
    done: Scored = {}
    for arm in dict.fromkeys(args.arms):
        done[arm] = [scored(arm, seed, teacher, more, args) for seed in args.seeds]
        text_table.write(args.out, HEADER, cells(done))
        draw(done, args.out / "arms.png")
    text_table.show(HEADER, cells(done))
    if args.record:
        records.write(f"distill.{args.set}", told(done, more, args, records.command("studies.distill", argv)))
        draw(done, records.RESULTS / f"distill.{args.set}.png")


def parser() -> Parser:
    """The command line."""
    p = Parser(prog="python -m experiments.studies.distill", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys: tells photos, student and budget apart")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--student", default="yolov8n", choices=list(STUDENTS))
    p.add_argument("--arms", nargs="+", default=list(OURS), choices=ARMS)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--epochs", type=int, default=16)
    p.add_argument("--teacher-epochs", type=int, default=40)
    p.add_argument("--teacher", type=Path, help="a finished run, in place of training one")
    p.add_argument("--pretrained", type=Path, help="weights that the teacher begins from, or starter")
    p.add_argument("--feature", type=float, help="weight of the teacher's maps, in place of the student's")
    p.add_argument("--predictions", type=float, default=1.0, help="weight of its classes and boxes")
    p.add_argument("--match", default="", help="in place of the student's: index or cost")
    p.add_argument("--queries", type=int, default=0)
    p.add_argument("--decoder-layers", type=int, default=0)
    p.add_argument("--lr", type=float, default=0.0, help="in place of the recipe's")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    return p


def config_of(args: argparse.Namespace, seed: int, epochs: int) -> StudentConfig:
    """The student's settings, without a teacher."""
    config = replace(STUDENTS[args.student](), seed=seed, size=args.size, epochs=epochs, min_steps=0, feature_weight=0.0)
    config = replace(config, class_weight=0.0, box_weight=0.0, queries=args.queries, decoder_layers=args.decoder_layers)
    return replace(config, lr=args.lr or config.lr, match=args.match or config.match)


def weight_of_maps(args: argparse.Namespace) -> float:
    """What is asked for, or the student's own."""
    return STUDENTS[args.student]().feature_weight if args.feature is None else float(args.feature)


def taught(args: argparse.Namespace) -> Path:
    """The teacher's run: trained unless it is there or given."""
    if args.teacher is not None:
        return Path(args.teacher)
    runs = args.out / "teacher"
    deal(args.data, runs)
    config = config_of(args, 1000, args.teacher_epochs)  # a seed that no student has
    going = record.is_stopped(runs / "one")
    if config.family == "yolo":
        train_detector(DetectorRun(data=args.data, runs=runs, pretrained=args.pretrained, resume=going), theirs(config))
    else:
        train_student(DetectorRun(data=args.data, runs=runs, pretrained=args.pretrained, resume=going), config, NONE)
    return runs / "one"


def theirs(config: StudentConfig) -> DetectorConfig:
    """The same in ultralytics' trainer."""
    both = {name: getattr(config, name) for name in DetectorConfig.__dataclass_fields__ if hasattr(config, name)}
    return DetectorConfig(**both)


@torch.no_grad()
def compute(args: argparse.Namespace, teacher: Path) -> float:
    """What a step with the teacher costs in steps without: its forward pass beside the student's, and the backward pass.

    Operations are counted, without an RT-DETR's denoising queries and without what adapts maps.
    """
    blank = torch.zeros(1, 3, args.size, args.size)
    config = from_settings(read_object(teacher / "run.json")["settings"])
    beside = cost.counted(FAMILIES[config.family].load(weights_of(teacher)), blank).gflops
    photos = folds.load(teacher.parent / folds.NAME, read(args.data)).photos("train")
    student = build(config_of(args, 0, args.epochs), photos, ["product"]).network.eval()
    return 1 + beside / ((1 + BACKWARD) * cost.counted(student, blank).gflops)


def scored(arm: str, seed: int, teacher: Path, more: float, args: argparse.Namespace) -> dict[str, float]:
    """Train one arm with one seed, unless it is there, and score it on the photos held out."""
    runs = args.out / arm / str(seed)
    held_out, config = deal(args.data, runs), config_of(args, seed, args.epochs)
    going = record.is_stopped(runs / "one")
    if arm in THEIRS:
        weights = str(weights_of(teacher)) if arm == "ultralytics" else ""
        train_detector(DetectorRun(data=args.data, runs=runs, resume=going), replace(theirs(config), distill_model=weights))
    elif arm in ALONE:
        config = replace(config, epochs=round(args.epochs * more) if arm == "longer" else args.epochs)
        train_student(DetectorRun(data=args.data, runs=runs, resume=going), config, NONE)
    else:
        maps, predictions = TERMS[arm]
        weight = args.predictions * predictions
        config = replace(config, feature_weight=weight_of_maps(args) * maps, class_weight=weight, box_weight=weight)
        train_student(DetectorRun(data=args.data, runs=runs, resume=going), config, str(teacher))
    values = whole_scores(Model(runs / "one" / "model.onnx"), held_out)
    say(f"{args.set}: {arm}, seed {seed}: mAP {values['map']:.3f}, mAP50 {values['map50']:.3f} on {len(held_out)} photos")
    return values


def whole_scores(model: Model, photos: Sequence[Photo]) -> dict[str, float]:
    """COCO's figures of a class-agnostic model alone."""
    one = validation.member(model)
    found = [run_detector(model, one, read_image(p.path, p.width, p.height))[0] for p in photos]
    blind = [replace(photo, labels=np.zeros_like(photo.labels)) for photo in photos]
    return coco_scores(blind, found, 1)


def less(done: Scored, arm: str, kind: str, other: str) -> Mean | None:
    """What an arm adds to another's figure, paired by seed; None where the other is not there, or itself."""
    if other not in done or other == arm:
        return None
    return over_seeds([a[kind] - b[kind] for a, b in zip(done[arm], done[other], strict=True)])


def cells(done: Scored) -> list[list[str]]:
    """The table's rows in words, HEADER's columns."""
    rows = []
    for arm, values in done.items():
        means = [str(over_seeds([one[kind] for one in values])) for kind in ("map", "map50")]
        others = (less(done, arm, "map50", base_of(arm)), less(done, arm, "map50", "longer") if arm in TERMS else None)
        rows.append([arm, *means, *("" if one is None else str(one) for one in others), str(len(values))])
    return rows


def base_of(arm: str) -> str:
    """What an arm is compared with: the same trainer's baseline."""
    return THEIRS[0] if arm in THEIRS else "baseline"


def draw(done: Scored, path: Path) -> None:
    """Every seed of every arm as a point, and the arm's mean."""
    figure = Figure(figsize=(1.5 + 1.1 * len(done), 3.4), layout="constrained")
    axis = figure.subplots()
    for at, values in enumerate(done.values()):
        points = [one["map50"] for one in values]
        axis.plot([at] * len(points), points, "o", color="tab:blue", alpha=0.6)
        axis.plot([at - 0.25, at + 0.25], [np.mean(points)] * 2, color="black")
    axis.set(ylabel="mAP50", xticks=range(len(done)))
    axis.set_xticklabels(list(done), fontsize=8)
    figure.savefig(path, dpi=110)


def told(done: Scored, more: float, args: argparse.Namespace, command: str) -> list[dict[str, object]]:
    """The figures of every arm, and what the teacher adds at equal compute."""
    made, name = [], f"distill.{args.set}"
    config, first = config_of(args, 0, args.epochs), f"{args.student} from random weights, "
    setting = f"{first}{args.epochs} epochs at {args.size} px, batch {config.batch}, lr {config.lr}, photos held out"
    taught_by = f"{args.teacher_epochs} epochs from {args.pretrained or 'random weights'}"
    taught_by = taught_by if args.teacher is None else made_as(read_object(args.teacher / "run.json")["settings"])
    terms = f"teacher: {taught_by}, matched by {config.match}, weights {weight_of_maps(args)} and {args.predictions}"
    longer = f"{round(args.epochs * more)} epochs for the longer baseline, as the teacher makes a step {more:.2f} times as dear"
    wanted: list[tuple[str, Mean]] = []
    for arm, values in done.items():
        wanted += [(f"{arm}.{kind}", over_seeds([one[kind] for one in values])) for kind in ("map", "map50")]
        for word, other in (("baseline", base_of(arm)), ("longer", "longer")):
            value = less(done, arm, "map50", other) if arm in (*TERMS, THEIRS[1]) else None
            wanted += [] if value is None or (word == "longer" and arm in THEIRS) else [(f"{arm}.map50_minus_{word}", value)]
    equal = less(done, "both", "map50", "longer") if "both" in done else None
    wanted += [] if equal is None else [("distilled_minus_baseline", equal)]
    for key, mean in wanted:
        how = f"{setting}; {longer}" if "longer" in key or key == "distilled_minus_baseline" else setting
        how = how if key.split(".")[0] in (*ALONE, THEIRS[0]) else f"{how}; {terms}"
        how = how if mean.n > 1 else f"{how}; one seed, so no interval"
        unit = "mAP" if key.endswith(".map") else "mAP50"
        made.append(records.figure(f"{name}.{key}", mean.value, unit, mean.n, how, command, mean.low, mean.high))
    return made


def made_as(settings: dict[str, Any]) -> str:
    """A finished run in words.

    >>> made_as({"family": "yolo", "model": "yolov8n.yaml", "epochs": 40, "size": 256, "pretrained": None})
    'yolov8n.yaml, 40 epochs at 256 px from random weights'
    """
    begun = "random" if settings["pretrained"] is None else "given"
    what = settings.get("model", settings["family"])
    return f"{what}, {settings['epochs']} epochs at {settings['size']} px from {begun} weights"


if __name__ == "__main__":
    raise SystemExit(main())
