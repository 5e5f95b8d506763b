"""What a teacher adds to a student: variants of the same budget, several seeds each, scored on photos that were held out.

    python -m experiments.studies.distill --set NAME --data D --out X [--student yolov8n] [--variants ...] [--seeds 0 1 2]

Variants: `baseline` learns alone; `feature`, `prediction` and `both` have the teacher's terms; `longer` is the baseline with as
many more epochs as the teacher's forward pass costs, at equal compute; `ultralytics` is its distillation in its trainer, and
`ultralytics-baseline` that trainer without it. The teacher is the student's network begun from --pretrained and trained
--teacher-epochs; of a YOLO it is trained by ultralytics. X/teacher and X/VARIANT/SEED hold the runs, X/table.{csv,md} and
X/arms.png their scores; finished runs are reused, a stopped one resumes.
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
from experiments.figures.over_seeds import over_seeds
from experiments.performance import cost
from experiments.performance.coco_metrics import coco_scores
from experiments.studies.detectors import held_out_photos
from fusion.decode import run_detector
from fusion.models import Model, read_object
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
WITHOUT_TEACHER = ("baseline", "longer")
BY_ULTRALYTICS = ("ultralytics-baseline", "ultralytics")
BY_OUR_LOOP = (*WITHOUT_TEACHER, *TERMS)
VARIANTS = (*BY_OUR_LOOP, *BY_ULTRALYTICS)
BACKWARD = 2.0  # taken: a backward pass costs twice a forward one
HEADER = ("arm", "mAP", "mAP50", "minus baseline", "minus longer", "n")
Scored = dict[str, list[dict[str, float]]]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train the teacher, then every variant with every seed; write the table after each variant, record at the end."""
    args = parser().parse_args(argv)
    if args.epochs < 1 or args.teacher_epochs < 1:
        raise ValueError(f"--epochs, --teacher-epochs: got {args.epochs}, {args.teacher_epochs}, need at least 1")
    family = STUDENTS[args.student]().family
    if family != "yolo" and set(args.variants) & set(BY_ULTRALYTICS):
        others = ", ".join(BY_ULTRALYTICS)
        raise ValueError(f"--variants: ultralytics distils YOLOs alone, not {args.student}; leave out {others}")
    teacher = trained_teacher(args)
    cost_factor = step_cost(args, teacher)
    say(f"{args.set}: the teacher makes a step {cost_factor:.2f} times as dear")
    done: Scored = {}
    for variant in dict.fromkeys(args.variants):
        done[variant] = [scored(variant, seed, teacher, cost_factor, args) for seed in args.seeds]
        text_table.write(args.out, HEADER, cells(done))
        draw(done, args.out / "arms.png")
    text_table.show(HEADER, cells(done))
    if args.record:
        records.write(f"distill.{args.set}", as_records(done, cost_factor, args, records.command("studies.distill", argv)))
        draw(done, records.RESULTS / f"distill.{args.set}.png")


def parser() -> Parser:
    """The command line."""
    p = Parser(prog="python -m experiments.studies.distill", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys: tells photos, student and budget apart")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--student", default="yolov8n", choices=list(STUDENTS))
    p.add_argument("--variants", "--arms", nargs="+", default=list(BY_OUR_LOOP), choices=VARIANTS)
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
    """The weight of the teacher's maps: --feature, or the student's own."""
    return STUDENTS[args.student]().feature_weight if args.feature is None else float(args.feature)


def trained_teacher(args: argparse.Namespace) -> Path:
    """The teacher's run: the given one, or trained unless it exists."""
    if args.teacher is not None:
        return Path(args.teacher)
    runs = args.out / "teacher"
    held_out_photos(args.data, runs)
    config = config_of(args, 1000, args.teacher_epochs)  # a seed that no student has
    resume = record.is_stopped(runs / "one")
    if config.family == "yolo":
        train_detector(
            DetectorRun(data=args.data, runs=runs, pretrained=args.pretrained, resume=resume), ultralytics_config(config)
        )
    else:
        train_student(DetectorRun(data=args.data, runs=runs, pretrained=args.pretrained, resume=resume), config, NONE)
    return runs / "one"


def ultralytics_config(config: StudentConfig) -> DetectorConfig:
    """The same budget in ultralytics' trainer."""
    shared = {name: getattr(config, name) for name in DetectorConfig.__dataclass_fields__ if hasattr(config, name)}
    return DetectorConfig(**shared)


@torch.no_grad()
def step_cost(args: argparse.Namespace, teacher: Path) -> float:
    """The cost of a step with the teacher, in steps without: its forward pass is added to the student's forward and backward.

    Operations are counted, without an RT-DETR's denoising queries and without the layers that adapt maps.
    """
    blank = torch.zeros(1, 3, args.size, args.size)
    config = from_settings(read_object(teacher / "run.json")["settings"])
    teacher_gflops = cost.counted(FAMILIES[config.family].load(weights_of(teacher)), blank).gflops
    photos = folds.load(teacher.parent / folds.NAME, read(args.data)).photos("train")
    student = build(config_of(args, 0, args.epochs), photos, ["product"]).network.eval()
    return 1 + teacher_gflops / ((1 + BACKWARD) * cost.counted(student, blank).gflops)


def scored(variant: str, seed: int, teacher: Path, cost_factor: float, args: argparse.Namespace) -> dict[str, float]:
    """Train one variant with one seed, unless it is finished, and score it on the photos held out."""
    runs = args.out / variant / str(seed)
    held_out, config = held_out_photos(args.data, runs), config_of(args, seed, args.epochs)
    resume = record.is_stopped(runs / "one")
    if variant in BY_ULTRALYTICS:
        weights = str(weights_of(teacher)) if variant == "ultralytics" else ""
        student = replace(ultralytics_config(config), distill_model=weights)
        train_detector(DetectorRun(data=args.data, runs=runs, resume=resume), student)
    elif variant in WITHOUT_TEACHER:
        config = replace(config, epochs=round(args.epochs * cost_factor) if variant == "longer" else args.epochs)
        train_student(DetectorRun(data=args.data, runs=runs, resume=resume), config, NONE)
    else:
        maps, predictions = TERMS[variant]
        weight = args.predictions * predictions
        config = replace(config, feature_weight=weight_of_maps(args) * maps, class_weight=weight, box_weight=weight)
        train_student(DetectorRun(data=args.data, runs=runs, resume=resume), config, str(teacher))
    values = class_agnostic_scores(Model(runs / "one" / "model.onnx"), held_out)
    say(f"{args.set}: {variant}, seed {seed}: mAP {values['map']:.3f}, mAP50 {values['map50']:.3f} on {len(held_out)} photos")
    return values


def class_agnostic_scores(model: Model, photos: Sequence[Photo]) -> dict[str, float]:
    """COCO's figures of a class-agnostic model alone."""
    member = validation.member(model)
    detections = [run_detector(model, member, read_image(p.path, p.width, p.height))[0] for p in photos]
    nameless = [replace(photo, labels=np.zeros_like(photo.labels)) for photo in photos]
    return coco_scores(nameless, detections, 1)


def gain(done: Scored, variant: str, kind: str, other: str) -> records.Estimate | None:
    """What a variant scores above another, paired by seed; None where the other is missing, or the same."""
    if other not in done or other == variant:
        return None
    return over_seeds([a[kind] - b[kind] for a, b in zip(done[variant], done[other], strict=True)])


def cells(done: Scored) -> list[list[str]]:
    """The table's rows as text, HEADER's columns."""
    rows = []
    for variant, by_seed in done.items():
        means = [str(over_seeds([scores[kind] for scores in by_seed])) for kind in ("map", "map50")]
        over_base = gain(done, variant, "map50", base_of(variant))
        over_longer = gain(done, variant, "map50", "longer") if variant in TERMS else None
        gains = ["" if mean is None else str(mean) for mean in (over_base, over_longer)]
        rows.append([variant, *means, *gains, str(len(by_seed))])
    return rows


def base_of(variant: str) -> str:
    """What a variant is compared with: the same trainer's baseline."""
    return BY_ULTRALYTICS[0] if variant in BY_ULTRALYTICS else "baseline"


def draw(done: Scored, path: Path) -> None:
    """Every seed of every variant as a point, and the variant's mean."""
    figure = Figure(figsize=(1.5 + 1.1 * len(done), 3.4), layout="constrained")
    axis = figure.subplots()
    for x, by_seed in enumerate(done.values()):
        points = [scores["map50"] for scores in by_seed]
        axis.plot([x] * len(points), points, "o", color="tab:blue", alpha=0.6)
        axis.plot([x - 0.25, x + 0.25], [np.mean(points)] * 2, color="black")
    axis.set(ylabel="mAP50", xticks=range(len(done)))
    axis.set_xticklabels(list(done), fontsize=8)
    figure.savefig(path, dpi=110)


def as_records(done: Scored, cost_factor: float, args: argparse.Namespace, command: str) -> list[dict[str, object]]:
    """The figures of every variant, and what the teacher adds at equal compute."""
    setting, longer, terms = setting_texts(args, cost_factor)
    rows = []
    for key, mean in figures_of(done):
        text = f"{setting}; {longer}" if "longer" in key or key == "distilled_minus_baseline" else setting
        text = text if key.split(".")[0] in (*WITHOUT_TEACHER, BY_ULTRALYTICS[0]) else f"{text}; {terms}"
        text = text if mean.n > 1 else f"{text}; one seed, so no interval"
        unit = "mAP" if key.endswith(".map") else "mAP50"
        rows.append(records.figure(f"distill.{args.set}.{key}", mean, unit, text, command))
    return rows


def setting_texts(args: argparse.Namespace, cost_factor: float) -> tuple[str, str, str]:
    """What the settings of the figures say: of every variant, of the longer baseline, and of the teacher's terms."""
    config = config_of(args, 0, args.epochs)
    setting = (
        f"{args.student} from random weights, {args.epochs} epochs at {args.size} px, batch {config.batch}, lr {config.lr}"
    )
    dear = f"as the teacher makes a step {cost_factor:.2f} times as dear"
    teacher = f"{args.teacher_epochs} epochs from {args.pretrained or 'random weights'}"
    teacher = teacher if args.teacher is None else run_text(read_object(args.teacher / "run.json")["settings"])
    terms = f"teacher: {teacher}, matched by {config.match}, weights {weight_of_maps(args)} and {args.predictions}"
    return f"{setting}, photos held out", f"{round(args.epochs * cost_factor)} epochs for the longer baseline, {dear}", terms


def figures_of(done: Scored) -> list[tuple[str, records.Estimate]]:
    """Each variant's mAP and mAP50 and what a teacher adds to both baselines, by the end of their keys."""
    figures: list[tuple[str, records.Estimate]] = []
    for variant, by_seed in done.items():
        figures += [(f"{variant}.{kind}", over_seeds([scores[kind] for scores in by_seed])) for kind in ("map", "map50")]
        if variant not in (*TERMS, BY_ULTRALYTICS[1]):
            continue
        others = {"baseline": base_of(variant)} | ({} if variant in BY_ULTRALYTICS else {"longer": "longer"})
        gains = {name: gain(done, variant, "map50", other) for name, other in others.items()}
        figures += [(f"{variant}.map50_minus_{name}", mean) for name, mean in gains.items() if mean is not None]
    equal_compute = gain(done, "both", "map50", "longer") if "both" in done else None
    return figures if equal_compute is None else [*figures, ("distilled_minus_baseline", equal_compute)]


def run_text(settings: dict[str, Any]) -> str:
    """How a finished run was trained, as text.

    >>> run_text({"family": "yolo", "model": "yolov8n.yaml", "epochs": 40, "size": 256, "pretrained": None})
    'yolov8n.yaml, 40 epochs at 256 px from random weights'
    """
    start = "random" if settings["pretrained"] is None else "given"
    network = settings.get("model", settings["family"])
    return f"{network}, {settings['epochs']} epochs at {settings['size']} px from {start} weights"


if __name__ == "__main__":
    raise SystemExit(main())
