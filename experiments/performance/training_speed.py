"""Seconds of an epoch of our YOLO training over ultralytics' own, at equal settings, in turns.

    python -m experiments.performance.training_speed --data D --out FOLDER [--photos 16] [--epochs 3] [--rounds 3] [--record]

Both train the same network on the same photos with the same arguments; neither validates. The first epoch, in which processes
start and caches fill, is left out. Figure train.ours_over_ultralytics: below 1 ours is faster.
"""

import logging
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures import records
from photos.data import Photo, read
from runs.command import Parser, run, say


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train in turns, tell the ratio and record it."""
    p = Parser(prog="python -m experiments.performance.training_speed", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    p.add_argument("--photos", type=int, default=16)
    p.add_argument("--size", type=int, default=320, help="long side of a photo in pixels")
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results")
    args = p.parse_args(argv)
    if args.epochs < 2 or min(args.photos, args.rounds) < 1:
        raise ValueError(
            f"--epochs, --photos, --rounds: got {args.epochs}, {args.photos}, {args.rounds}, need 2, 1 and 1 or more"
        )
    photos = read(args.data).photos[: args.photos]
    ratios = np.array([ratio_of_round(i, photos, args) for i in range(args.rounds)])
    estimate = records.Estimate(float(np.median(ratios)), args.rounds, float(ratios.min()), float(ratios.max()))
    setting = (
        f"{len(photos)} photos of {args.data.name}, {args.size} px, yolov8n; median of {args.rounds} rounds, and their range"
    )
    say(f"ours over ultralytics: {estimate}; {setting}")
    if args.record:
        call = records.command("performance.training_speed", argv)
        row = records.figure("train.ours_over_ultralytics", estimate, "ratio", setting, call)
        say(f"figures: {records.write('training_speed', [row])}")


def ratio_of_round(i: int, photos: tuple[Photo, ...], args: Namespace) -> float:
    """Seconds of our epoch over those of ultralytics', of which each goes first in every second round."""
    trainings, seconds = {"ours": train_ours, "ultralytics": train_ultralytics}, {}
    for name in sorted(trainings, reverse=bool(i % 2)):
        job = job_of(photos, args.out / f"{name}{i}", args.size, args.epochs)
        seconds[name] = float(np.median(trainings[name](job)))
        say(f"round {i + 1}: {name} {seconds[name]:.2f} s an epoch")
    return seconds["ours"] / seconds["ultralytics"]


def job_of(photos: tuple[Photo, ...], out: Path, size: int, epochs: int) -> Any:
    """A class-agnostic training of the default family without a valid score to speak of."""
    from stage1_detector.config import DetectorConfig
    from stage1_detector.engine import Job
    from stage1_detector.ultralytics_engine import yolo

    yolo.SETTINGS.update(dict.fromkeys(yolo.UNUSED_TRACKERS, False))  # Ray, where it is installed, would be asked each epoch
    config = DetectorConfig(size=size, epochs=epochs, device="cpu")
    parts = {"train": photos, "valid": photos[:1]}
    return Job(config, parts, ["product"], out, progress=lambda line: None, score=lambda network: {"det_map50": 0.0})


def train_ours(job: Any) -> list[float]:
    """Seconds of each epoch but the first of our engine, which adds its sampler, callbacks and checkpoints."""
    from stage1_detector.ultralytics_engine import yolo
    from stage1_detector.ultralytics_engine.callbacks import TrainingCallbacks
    from stage1_detector.ultralytics_engine.detection_trainer import trainer_class

    arguments = yolo.ultralytics_arguments(job) | {"workers": yolo.loader_workers(job.config.batch, job)}
    trainer = trainer_class(job.config.family, yolo.trainer_options(job))(overrides=arguments)
    callbacks = TrainingCallbacks(job.out, job.progress)
    callbacks.attach(trainer)
    try:
        return epoch_seconds(trainer)
    finally:
        callbacks.close()


def train_ultralytics(job: Any) -> list[float]:
    """Seconds of each epoch but the first of ultralytics' own trainer, with the same arguments."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    from stage1_detector.ultralytics_engine import yolo

    folders = yolo.trainer_options(job).folders

    class Trainer(DetectionTrainer):
        """Takes the photos as folders, where a data YAML would look for a font, and does not validate."""

        def get_dataset(self) -> dict[str, Any]:
            return {
                "train": str(folders["train"]),
                "val": str(folders["valid"]),
                "nc": 1,
                "names": {0: "product"},
                "channels": 3,
            }

        def validate(self) -> tuple[dict[str, float], float]:
            return {}, 0.0

        def final_eval(self) -> None:
            pass

    arguments = yolo.ultralytics_arguments(job) | {"workers": yolo.loader_workers(job.config.batch, job)}
    return epoch_seconds(Trainer(overrides=arguments))


def epoch_seconds(trainer: Any) -> list[float]:
    """Train; the seconds from the end of each epoch to that of the next, what comes between them included."""
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    ends: list[float] = []
    trainer.add_callback("on_fit_epoch_end", partial(_note_end, ends))
    trainer.train()
    return np.diff(ends).tolist()


def _note_end(ends: list[float], trainer: Any) -> None:
    ends.append(time.perf_counter())


if __name__ == "__main__":
    raise SystemExit(main())
