"""System D's table: RetinaNets by backbone, neck, head and schedule, on any COCO folder, resumable row by row.

    python -m experiments.studies.retinanets --data D --out X [--rows resnet50/fpn/plain/ms3x ...] [--size 1344] [--epochs N]

A row is trained class-aware from random weights, or from W/BACKBONE.{safetensors,pth} with --weights W, and scored on photos
held out. X/BACKBONE.NECK.HEAD.SCHEDULE/SEED holds each run, X/table.{csv,md} all rows; what is finished is reused.
With --epochs a schedule is shortened, and the table says that the row is not done in full. The figures' keys begin with
`trash`, the waste on the ground that system D was made for.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from experiments.figures import records, text_table
from experiments.figures.over_seeds import over_seeds
from experiments.performance.cost import canvas_of, counted, milliseconds
from experiments.studies.detectors import held_out_photos
from fusion.models import Model
from fusion.views import PADDING
from photos.data import read
from runs.command import run, say
from stage1_detector import train
from stage1_detector.config import CHOICES, TorchvisionConfig
from stage1_detector.nets import torchvision_net
from stage1_detector.recipes import retinanet, retinanet_convnext
from stage1_detector.torch_engine.schedules import SCHEDULES

ROUNDS = 9  # chosen: timed calls, of which the median counts
HEADER = (
    "backbone", "neck", "head", "schedule", "in full", "mAP50", "minus plain", "det mAP50", "minus plain", "parameters M",
    "GFLOPs", "ms",
)  # fmt: skip


class Row(NamedTuple):
    """One kind of RetinaNet and how it is trained."""

    backbone: str
    neck: str
    head: str
    schedule: str

    def __str__(self) -> str:
        return ".".join(self)


class Scored(NamedTuple):
    """mAP50 on the photos held out: with names, and without regard to them."""

    map50: float
    det_map50: float


class Cost(NamedTuple):
    """What one photo costs: parameters in millions, 1e9 operations, milliseconds through ONNX Runtime here: the median, the
    smallest and the largest.
    """

    params_m: float
    gflops: float
    ms: float
    ms_low: float
    ms_high: float


Done = dict[Row, tuple[list[Scored], Cost]]
# Taken: system D's, in its order; the last is ours, and what the first two are compared with.
ROWS = tuple(
    Row(*row)
    for row in (
        ("resnet50", "fpn", "freeanchor", "1x"), ("resnet50", "fpn", "pisa", "1x"), ("resnet50", "fpg", "plain", "50e"),
        ("resnet50", "fpn", "plain", "90k"), ("resnet50", "fpn", "plain", "ms3x"), ("resnet101", "fpn", "plain", "ms3x"),
        ("resnext101_64x4d", "fpn", "plain", "ms3x"), ("convnext_tiny", "fpn", "plain", "ms3x"),
        ("convnext_large", "fpn", "plain", "ms3x"), ("resnet50", "fpn", "plain", "1x"),
    )
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train and score the rows, one after the other; write the table after each, record at the end."""
    p = argparse.ArgumentParser(prog="python -m experiments.studies.retinanets", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--rows", nargs="+", type=row_of, default=list(ROWS), help="BACKBONE/NECK/HEAD/SCHEDULE")
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--size", type=int, default=retinanet().size)
    p.add_argument("--width", type=int, default=256, help="channels of the pyramid")
    p.add_argument("--epochs", type=int, default=0, help="passes in place of the schedule's")
    p.add_argument("--lr", type=float, default=0.0, help="in place of the recipe's (from random weights: 5e-4, AdamW)")
    p.add_argument("--weights", type=Path, help="folder of timm's weights, BACKBONE.safetensors or .pth")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    for row in args.rows:  # all are checked before hours are spent on the first
        torchvision_net.refuse(config_of(row, 0, args), weights_of(row, args), None)
    done: Done = {}
    for row in dict.fromkeys(args.rows):
        values = [trained(row, seed, args) for seed in args.seeds]
        done[row] = values, cost(args.out / str(row) / str(args.seeds[0]) / "all")
        text_table.write(args.out, HEADER, cells(done, args))
    text_table.show(HEADER, cells(done, args))
    if args.record:
        records.write("trash", as_records(done, args, records.command("studies.retinanets", argv)))


def row_of(text: str) -> Row:
    """The row that `text` names; raises ArgumentTypeError, which argparse shows, for another form or an unknown name."""
    parts = text.split("/")
    if len(parts) != len(Row._fields):
        raise argparse.ArgumentTypeError(f"got {text!r}, need BACKBONE/NECK/HEAD/SCHEDULE")
    row = Row(*parts)
    for name, allowed in {**CHOICES["retinanet"], "schedule": tuple(SCHEDULES)}.items():
        if getattr(row, name) not in allowed:
            raise argparse.ArgumentTypeError(f"got {name} {getattr(row, name)!r}, allowed: {', '.join(allowed)}")
    return row


def config_of(row: Row, seed: int, args: argparse.Namespace) -> TorchvisionConfig:
    """The settings of one row: its recipe's, or those for random weights; its schedule's length, or --epochs."""
    schedule, base = SCHEDULES[row.schedule], retinanet_convnext() if "convnext" in row.backbone else retinanet()
    base = replace(base, backbone=row.backbone, neck=row.neck, head=row.head, schedule=row.schedule, seed=seed)
    base = replace(base, size=args.size, width=args.width, epochs=args.epochs or schedule.epochs)
    base = replace(base, min_steps=0 if args.epochs else schedule.steps)
    if weights_of(row, args) is None:  # no pretrained weights that a frozen norm or a small rate would preserve
        base = replace(base, norm="batch", optimizer="AdamW", lr=5e-4, weight_decay=0.05, batch=4)
        base = replace(base, layer_decay=1.0, drop_path=0.0, ema=0.995)
    return replace(base, lr=args.lr or base.lr)


def weights_of(row: Row, args: argparse.Namespace) -> Path | None:
    """The local weights of the row's backbone, if any. Raises ValueError where --weights has none for it."""
    if args.weights is None:
        return None
    for suffix in (".safetensors", ".pth"):
        if (args.weights / f"{row.backbone}{suffix}").is_file():
            return Path(args.weights / f"{row.backbone}{suffix}")
    raise ValueError(f"--weights: got {args.weights}, which has neither {row.backbone}.safetensors nor {row.backbone}.pth")


def trained(row: Row, seed: int, args: argparse.Namespace) -> Scored:
    """Train one row with one seed, unless it is there, and score it."""
    runs = args.out / str(row) / str(seed)
    held_out = held_out_photos(args.data, runs)
    config = config_of(row, seed, args)
    train.train(args.data, runs, "all", config, weights_of(row, args), resume=train.is_stopped(runs / "all"))
    scores = train.score(Model(runs / "all" / "model.onnx"), held_out, len(read(args.data).categories))
    value = Scored(scores["cls_map50"], scores["det_map50"])
    say(f"retinanets: {row}, seed {seed}: mAP50 {value.map50:.3f}, det {value.det_map50:.3f} on {len(held_out)} photos")
    return value


def cost(out: Path) -> Cost:
    """Parameters and operations counted on the network in OUT, and the median time of its ONNX file on one canvas."""
    model, net = Model(out / "model.onnx"), torchvision_net.load(out / "weights" / "last.pt")
    canvas = canvas_of(model, np.full((3, 4, 3), PADDING, np.uint8))  # (1, H, W, 3)
    times = milliseconds({"onnx": partial(model, canvas)}, ROUNDS)["onnx"]
    return Cost(*counted(net, torch.zeros(1, 3, *canvas.shape[1:3])), float(np.median(times)), min(times), max(times))


def minus_plain(row: Row, kind: str, done: Done) -> list[float] | None:
    """What another head adds to the plain one's figure `kind`, by seed; None where there is no plain one of the same kind."""
    plain = done.get(row._replace(head="plain"))
    if row.head == "plain" or plain is None:
        return None
    return [getattr(a, kind) - getattr(b, kind) for a, b in zip(done[row][0], plain[0], strict=True)]


def in_full(row: Row, args: argparse.Namespace) -> bool:
    """Whether the whole schedule was done, at the recipe's size or above."""
    schedule = SCHEDULES[row.schedule]
    long = not args.epochs or (not schedule.steps and args.epochs >= schedule.epochs)
    return long and args.size >= retinanet().size


def length(row: Row, args: argparse.Namespace) -> str:
    """How long a row is trained, as text."""
    schedule = SCHEDULES[row.schedule]
    return f"{schedule.steps} steps" if schedule.steps and not args.epochs else f"{args.epochs or schedule.epochs} epochs"


def cells(done: Done, args: argparse.Namespace) -> list[list[str]]:
    """The table's rows as text, HEADER's columns."""
    table = []
    for row, (values, spent) in done.items():
        scores = []
        for kind in Scored._fields:
            gain = minus_plain(row, kind, done)
            scores += [str(over_seeds([getattr(v, kind) for v in values])), "" if gain is None else str(over_seeds(gain))]
        full = "yes" if in_full(row, args) else f"{length(row, args)} at {args.size} px"
        table.append([*row, full, *scores, f"{spent.params_m:.1f}", f"{spent.gflops:.1f}", f"{spent.ms:.0f}"])
    return table


def as_records(done: Done, args: argparse.Namespace, command: str) -> list[dict[str, object]]:
    """The figures of every row: trash.ROW.map50, .det_map50, what each adds to the plain head, and the costs."""
    figures = []
    for row, (values, spent) in done.items():
        setting = f"{length(row, args)} at {args.size} px, pyramid of {args.width}"
        setting += ", schedule in full" if in_full(row, args) else ", schedule shortened"
        setting += ", from random weights" if args.weights is None else ", from pretrained backbones"
        by_kind = [(kind, [getattr(v, kind) for v in values]) for kind in Scored._fields]
        by_kind += [(f"{kind}_minus_plain", minus_plain(row, kind, done) or []) for kind in Scored._fields]
        for kind, by_seed in by_kind:
            if by_seed:
                note = setting if len(by_seed) > 1 else f"{setting}; one seed, so no interval"
                figures.append(records.figure(f"trash.{row}.{kind}", over_seeds(by_seed), "mAP50", note, command))
        figures += cost_records(row, spent, args.size, command)
    return figures


def cost_records(row: Row, spent: Cost, size: int, command: str) -> list[dict[str, object]]:
    """trash.ROW.params_m, .gflops and .ms."""
    counted = f"one canvas of {size} px; counted, so no interval"
    timed = f"one canvas of {size} px, {ROUNDS} calls of ONNX Runtime: median, smallest and largest"
    time = records.Estimate(spent.ms, ROUNDS, spent.ms_low, spent.ms_high)
    return [
        records.figure(f"trash.{row}.params_m", records.Estimate(spent.params_m, 1), "M", counted, command),
        records.figure(f"trash.{row}.gflops", records.Estimate(spent.gflops, 1), "GFLOP", counted, command),
        records.figure(f"trash.{row}.ms", time, "ms", timed, command),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
