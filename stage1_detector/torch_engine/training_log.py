"""What a training leaves to read: log.csv with rows of steps and epochs, curves.png, tensorboard's events, progress lines."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from stage1_detector.engine import PROGRESS_SECONDS, Progress, progress_line

STEPS_PER_ROW = 50  # taken: system D's, steps from one row of the log to the next
LOG, CURVES = "log.csv", "curves.png"
COLUMNS = ("step", "epoch", "name", "value")
Row = tuple[int, int, str, float]


class TrainingLog:
    """The log of one run in the folder OUT; `progress` is called with a line for each epoch, and now and then in a long one."""

    def __init__(self, out: Path, progress: Progress, epochs: int, steps: int, done: int) -> None:
        """Go on after `done` epochs of `steps` steps each: rows beyond are dropped, as these epochs are trained again."""
        self.path, self.progress, self.epochs, self.steps = out / LOG, progress, epochs, steps
        kept = [row for row in rows(self.path) if row[1] <= done] if done else []
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *kept])
        self.board = SummaryWriter(str(out), purge_step=done * steps + 1 if done else None)
        self.step_number, self.epoch, self.first_epoch, self.photos, self.photos_per_second = done * steps, done, done, 0, 0.0
        self.losses_since_row: list[dict[str, float]] = []
        self.losses_of_epoch: list[dict[str, float]] = []
        self.started = self.epoch_started = self.last_line = time.monotonic()

    def begin_epoch(self, epoch: int, photos: int) -> None:
        """Epoch `epoch` (from 0) of `photos` photos begins."""
        self.epoch, self.photos, self.losses_of_epoch, self.epoch_started = epoch + 1, photos, [], time.monotonic()

    def step(self, losses: dict[str, float], lr: float) -> None:
        """Note a step's losses and its learning rate. Every STEPS_PER_ROW-th writes the means since the last."""
        self.step_number += 1
        self.losses_since_row.append(losses | {"total": sum(losses.values())})
        self.losses_of_epoch.append(losses)
        if self.step_number % STEPS_PER_ROW == 0:
            self._write({f"train/{k}": v for k, v in means(self.losses_since_row).items()} | {"rate": lr})
            self.losses_since_row = []
        if time.monotonic() - self.last_line > PROGRESS_SECONDS:
            self.last_line = time.monotonic()
            self.progress(f"epoch {self.epoch}/{self.epochs}  step {len(self.losses_of_epoch)}/{self.steps}")

    def end_training_steps(self) -> None:
        """The epoch's last step was made; validation follows, whose time does not count in the photos per second."""
        self.photos_per_second = self.photos / max(time.monotonic() - self.epoch_started, 1e-9)

    def end_epoch(self, valid_metrics: dict[str, float]) -> None:
        """The epoch is over; `valid_metrics` are empty where it was not validated."""
        self.last_line = time.monotonic()
        losses = {f"epoch/{k}": v for k, v in means(self.losses_of_epoch).items()}
        self._write(losses | valid_metrics | {"photos_per_second": self.photos_per_second})
        minutes = (self.last_line - self.started) / (self.epoch - self.first_epoch) * (self.epochs - self.epoch) / 60
        shown = losses | {k: v for k, v in valid_metrics.items() if not k.endswith("_loss")}
        shown = {k.split("/")[-1]: v for k, v in shown.items()}
        self.progress(progress_line(self.epoch, self.epochs, shown, self.photos_per_second, minutes))

    def close(self) -> None:
        """Close the files and draw the curves."""
        self.board.close()
        draw(self.path, self.path.with_name(CURVES))

    def _write(self, values: dict[str, float]) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows([self.step_number, self.epoch, name, f"{value:.6g}"] for name, value in values.items())
        for name, value in values.items():
            self.board.add_scalar(name, value, self.step_number)
        self.board.flush()


def means(records: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each name over all records, which have the same names.

    >>> means([{"a": 1.0}, {"a": 2.0}]), means([])
    ({'a': 1.5}, {})
    """
    return {name: float(np.mean([record[name] for record in records])) for name in records[0]} if records else {}


def rows(path: Path) -> list[Row]:
    """The log's rows (step, epoch, name, value); none where there is no log, and without a row that a kill cut short."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        whole = [row for row in csv.reader(file) if len(row) == len(COLUMNS)][1:]
    return [(int(step), int(epoch), name, float(value)) for step, epoch, name, value in whole]


def draw(log: Path, to: Path) -> None:
    """Three panels of the run in LOG: its losses in training, its losses on valid, and its scores on valid."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    logged = rows(log)
    has_steps = any(row[2].startswith("train/") for row in logged)  # not in a run of less than STEPS_PER_ROW steps
    prefix = "train/" if has_steps else "epoch/"
    panels: dict[str, Callable[[str], bool]] = {
        "loss in training": lambda name: name.startswith(prefix),
        "loss on valid": lambda name: name.startswith("valid/") and name.endswith("_loss"),
        "valid": lambda name: name.startswith("valid/") and not name.endswith("_loss"),
    }
    for axis, (title, belongs) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for name in dict.fromkeys(row[2] for row in logged if belongs(row[2])):
            points = np.array([(row[0], row[3]) for row in logged if row[2] == name])  # (N, 2): step, value
            axis.plot(*points.T, marker=".", markersize=3, label=name.split("/")[-1].removesuffix("_loss"))
        axis.set(title=title, xlabel="step")
        if axis.lines:
            axis.legend(fontsize=8)
    figure.savefig(to, dpi=90)
