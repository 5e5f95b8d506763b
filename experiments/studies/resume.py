"""What a training loses by kill -9, in the middle of an epoch and again while it writes a checkpoint, resumed each time.

    python -m experiments.studies.resume --data D --out X [--seeds 0 1 2] [--size 256] [--steps 150] [--record]

X/whole/SEED is not interrupted, X/killed/SEED is killed twice; both are scored on photos held out. After each kill the
checkpoint that it left must load.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies.detectors import held_out_photos
from fusion.models import Model
from photos.data import read
from runs.command import run, say
from stage1_detector import train
from stage1_detector.ultralytics_engine.yolo import load

PATIENCE = 900.0  # seconds that a training may take to come to the point where it is killed


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train both ways with every seed, print the difference, record it."""
    p = argparse.ArgumentParser(prog="python -m experiments.studies.resume", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--steps", type=int, default=150)
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results")
    args = p.parse_args(argv)
    pairs = [tuple(train_and_score(way, seed, args) for way in ("killed", "whole")) for seed in args.seeds]
    mean = over_seeds([killed - whole for killed, whole in pairs])
    spread = over_seeds([whole for _, whole in pairs])
    say(f"killed twice and resumed minus left alone: {mean}; left alone: {spread}")
    setting = (
        f"yolov8n, {args.steps} steps at {args.size} px; killed in an epoch and in a checkpoint's writing, resumed, minus left "
        f"alone, paired by seed; left alone {spread}"
    )
    if args.record:
        row = records.figure("resume.map50_difference", mean, "mAP50", setting, records.command("studies.resume", argv))
        records.write("resume", [row])


def train_and_score(way: str, seed: int, args: argparse.Namespace) -> float:
    """det mAP50 on held-out photos of one run."""
    runs = args.out / way / str(seed)
    held_out, out = held_out_photos(args.data, runs), runs / "one"
    flags = ["--data", str(args.data), "--out", str(runs), "--epochs", "1", "--min-steps", str(args.steps)]
    flags += ["--size", str(args.size), "--seed", str(seed)]
    if not (out / "run.json").is_file():
        if train.is_stopped(out):  # this experiment was stopped: begin anew
            shutil.rmtree(out)
        if way == "killed":
            kill(flags, out, in_second_epoch)
            kill([*flags, "--resume"], out, while_writing)
            flags += ["--resume"]
        subprocess.run([sys.executable, "-m", "stage1_detector.train", *flags], check=True)
    value = train.score(Model(out / "model.onnx"), held_out, len(read(args.data).categories))["det_map50"]
    say(f"{way}, seed {seed}: det mAP50 {value:.3f} on {len(held_out)} photos")
    return value


def kill(flags: list[str], out: Path, due: Callable[[Path], bool]) -> None:
    """Start a training and kill -9 it once it is `due`; its last checkpoint must load. RuntimeError where it ends before."""
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", "stage1_detector.train", *flags], start_new_session=True) as training:
        while not due(out):
            if training.poll() is not None or time.monotonic() - started > PATIENCE:
                raise RuntimeError(f"{out}: the training was over before it could be killed; give it more steps")
            time.sleep(0.0005)
        os.killpg(training.pid, signal.SIGKILL)
    load(out / "weights" / "last.pt")
    say(f"killed {due.__name__.replace('_', ' ')}; {out.name}/weights/last.pt is whole, beside it {half_written(out)}")


def in_second_epoch(out: Path) -> bool:
    """Whether a checkpoint is there, and another epoch has been going on for a while."""
    last = out / "weights" / "last.pt"
    return last.is_file() and time.time() - last.stat().st_mtime > 2


def while_writing(out: Path) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return bool(half_written(out))


def half_written(out: Path) -> list[str]:
    """The names of the weights' files that are half written."""
    return sorted(path.name for path in (out / "weights").glob("*.part"))


if __name__ == "__main__":
    raise SystemExit(main())
