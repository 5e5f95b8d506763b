"""A detector with an ImageNet body against yolov8n from the starter, class-agnostic, at equal minutes, on one set.

    python -m experiments.studies.backbones --set NAME --data D --out X --minutes M [--family retinanet|rcnn] [--seeds 0 1 2]

Each detector's pace is measured first, by runs of PACE_EPOCHS epochs; each then gets as many epochs as M minutes hold. It is
scored on valid and test, which no epoch is chosen by. `{seed}` in D stands for the seed. X/DETECTOR/SEED holds each run; what
is finished is reused. Run it on a machine that does nothing else: minutes are what is held equal.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies.detectors import held_out_photos
from fusion.models import Model, read_object
from photos.data import read
from runs import record
from runs.command import Parser, run, say
from stage1_detector import validation
from stage1_detector.config import Config, TorchvisionConfig
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.recipes import small

BODY = "tf_efficientnet_lite0"
YOLO = "yolov8n"
STARTS = {YOLO: Path("starter"), "retinanet": Path("imagenet"), "rcnn": Path("imagenet")}
PACE_EPOCHS = (1, 3)  # chosen: the difference is two epochs without what a run does once
WIDTH = 96  # chosen: channels of the pyramid, so that neck and head cost about what the body does
LR = 5e-4  # taken: experiments.studies.retinanets, AdamW from weights that are not to be preserved whole


class Pace(NamedTuple):
    """What a detector costs here: seconds of an epoch, and of all that a run does once."""

    epoch: float
    once: float

    def epochs_in(self, minutes: float) -> int:
        """As many epochs as so many minutes hold, at least 1.

        >>> Pace(epoch=30.0, once=60.0).epochs_in(10), Pace(30.0, 60.0).epochs_in(0.5)
        (18, 1)
        """
        return max(1, int((minutes * 60 - self.once) / self.epoch))


class Scored(NamedTuple):
    """det mAP50 on the photos held out, and the minutes that the training took."""

    map50: float
    minutes: float


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train both detectors with every seed, say means and difference, record them."""
    p = Parser(prog="python -m experiments.studies.backbones", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    p.add_argument("--data", required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minutes", type=float, required=True, help="of each training")
    p.add_argument("--family", choices=("retinanet", "rcnn"), default="retinanet", help="with the ImageNet body")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--size", type=int, default=small().size)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if not 0 < args.minutes < 10_000:
        raise ValueError(f"--minutes: got {args.minutes}, must be above 0 and below 10000")
    done = {name: [trained(name, seed, args) for seed in args.seeds] for name in (args.family, YOLO)}
    rows = as_records(done, args, records.command("studies.backbones", argv))
    for row in rows:
        say(f"{row['key']}: {row['value']:.3f} [{row['low']}, {row['high']}], {row['setting']}")
    if args.record:
        records.write(f"backbone.{args.set}", rows)


def config_of(name: str, size: int, epochs: int, seed: int) -> Config:
    """The settings of one detector: the default YOLO, or a RetinaNet or Faster R-CNN on the ImageNet body."""
    if name == YOLO:
        return replace(small(), size=size, epochs=epochs, min_steps=0, seed=seed)
    return TorchvisionConfig(
        family=name, backbone=BODY, width=WIDTH, size=size, epochs=epochs, seed=seed, lr=LR, weight_decay=0.05, ema=0.995,
        warmup_epochs=0.5,
    )  # fmt: skip


def trained(name: str, seed: int, args: argparse.Namespace) -> Scored:
    """Train one detector with one seed for the minutes, unless it is there, and score it."""
    epochs = pace(name, args).epochs_in(args.minutes)
    out = args.out / name / str(seed)
    made = one_run(config_of(name, args.size, epochs, seed), out, args.data.format(seed=seed))
    say(f"{args.set}: {name}, seed {seed}: {epochs} epochs, {made.minutes:.1f} minutes, det mAP50 {made.map50:.3f}")
    return made


def one_run(config: Config, runs: Path, data: str) -> Scored:
    """Train in RUNS/one, or take what is there, and score it on the photos held out."""
    held_out = held_out_photos(Path(data), runs)
    stopped = record.is_stopped(runs / "one")
    name = config.family if config.family in STARTS else YOLO
    train_detector(DetectorRun(data=Path(data), runs=runs, pretrained=STARTS[name], resume=stopped), config)
    scores = validation.score(Model(runs / "one" / "model.onnx"), held_out, len(read(Path(data)).categories))
    return Scored(scores["det_map50"], float(read_object(runs / "one" / "run.json")["metrics"]["minutes"]))


def pace(name: str, args: argparse.Namespace) -> Pace:
    """The pace of one detector, measured unless it is there."""
    path, settings = args.out / name / "pace.json", {"size": args.size, "set": args.set}
    if path.is_file() and read_object(path)["settings"] == settings:
        return Pace(**read_object(path)["pace"])
    seconds = []
    for epochs in PACE_EPOCHS:
        config = config_of(name, args.size, epochs, 0)
        seconds.append(60 * one_run(config, args.out / name / f"pace_{epochs}_{args.size}", args.data.format(seed=0)).minutes)
    few, many = PACE_EPOCHS
    epoch = max(0.01, (seconds[1] - seconds[0]) / (many - few))
    found = Pace(epoch, max(0.0, seconds[0] - few * epoch))
    record.write_json(path, {"settings": settings, "pace": found._asdict()})
    return found


def as_records(done: dict[str, list[Scored]], args: argparse.Namespace, command: str) -> list[dict[str, Any]]:
    """backbone.SET[.rcnn].minus_yolov8n, paired by seed, and the mAP50 of both: backbone.SET.FAMILY.map50, and that of the YOLO
    trained beside it, backbone.SET[.rcnn].yolov8n.map50.
    """
    family, minutes = args.family, {name: over_seeds([one.minutes for one in values]) for name, values in done.items()}
    spent = ", ".join(f"{name} {mean.value:.1f} minutes" for name, mean in minutes.items())
    setting = f"{family} on {BODY} from ImageNet, {YOLO} from the starter, at {args.size} px, {len(args.seeds)} seeds; {spent}"
    if len(args.seeds) == 1:
        setting += "; one seed, so no interval"
    prefix = f"backbone.{args.set}" + ("" if family == "retinanet" else f".{family}")
    gain = over_seeds([a.map50 - b.map50 for a, b in zip(done[family], done[YOLO], strict=True)])
    rows = [records.figure(f"{prefix}.minus_{YOLO}", gain, "mAP50", f"{setting}; paired by seed", command)]
    for key, values in ((f"backbone.{args.set}.{family}", done[family]), (f"{prefix}.{YOLO}", done[YOLO])):
        rows.append(records.figure(f"{key}.map50", over_seeds([one.map50 for one in values]), "mAP50", setting, command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
