"""What a training leaves to read: log.csv, rows every so many steps and epochs; curves.png; tensorboard's events; its lines."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from stage1_detector.ultralytics_engine.callbacks import SECONDS, progress_line

EVERY = 50  # taken: system D's, steps from one row of the log to the next
LOG, CURVES = "log.csv", "curves.png"
COLUMNS = ("step", "epoch", "name", "value")


class Journal:
    """The log of one run in OUT; `tell` hears a line for each epoch, and now and then within a long one."""

    def __init__(self, out: Path, tell: Callable[[str], object], epochs: int, steps: int, done: int) -> None:
        """Go on after `done` epochs of `steps` steps each: rows beyond are dropped, they are made again."""
        self.path, self.tell, self.epochs, self.steps = out / LOG, tell, epochs, steps
        kept = [row for row in rows(self.path) if row[1] <= done] if done else []
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *kept])
        self.board = SummaryWriter(str(out), purge_step=done * steps + 1 if done else None)
        self.number, self.epoch, self.photos, self.first, self.rate = done * steps, done, 0, done, 0.0
        self.since: list[dict[str, float]] = []
        self.whole: list[dict[str, float]] = []
        self.started = self.began = self.told = time.monotonic()

    def begin_epoch(self, epoch: int, photos: int) -> None:
        """Epoch `epoch` (from 0) of `photos` photos begins."""
        self.epoch, self.photos, self.whole, self.began = epoch + 1, photos, [], time.monotonic()

    def step(self, losses: dict[str, float], rate: float) -> None:
        """A step was made: its losses and its learning rate. Every EVERY-th writes the means since the last."""
        self.number += 1
        self.since.append(losses | {"total": sum(losses.values())})
        self.whole.append(losses)
        if self.number % EVERY == 0:
            self._write({f"train/{k}": v for k, v in means(self.since).items()} | {"rate": rate})
            self.since = []
        if time.monotonic() - self.told > SECONDS:
            self.told = time.monotonic()
            self.tell(f"epoch {self.epoch}/{self.epochs}  step {len(self.whole)}/{self.steps}")

    def trained(self) -> None:
        """The epoch's last step was made; what follows is looking at valid."""
        self.rate = self.photos / max(time.monotonic() - self.began, 1e-9)

    def end_epoch(self, figures: dict[str, float]) -> None:
        """The epoch is over; `figures` are what valid says, if it was asked."""
        self.told = time.monotonic()
        told = {f"epoch/{k}": v for k, v in means(self.whole).items()}
        self._write(told | figures | {"photos_per_second": self.rate})
        left = (self.told - self.started) / (self.epoch - self.first) * (self.epochs - self.epoch) / 60
        short = {**told, **{k: v for k, v in figures.items() if not k.endswith("_loss")}}
        self.tell(progress_line(self.epoch, self.epochs, {k.split("/")[-1]: v for k, v in short.items()}, self.rate, left))

    def close(self) -> None:
        """Draw the curves, and end."""
        self.board.close()
        draw(self.path, self.path.with_name(CURVES))

    def _write(self, figures: dict[str, float]) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows([self.number, self.epoch, name, f"{value:.6g}"] for name, value in figures.items())
        for name, value in figures.items():
            self.board.add_scalar(name, value, self.number)
        self.board.flush()


def means(every: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each name.

    >>> means([{"a": 1.0}, {"a": 2.0}]), means([])
    ({'a': 1.5}, {})
    """
    return {name: float(np.mean([one[name] for one in every])) for name in every[0]} if every else {}


def rows(path: Path) -> list[tuple[int, int, str, float]]:
    """The log's rows (step, epoch, name, value); none where there is no log, and none of a row cut short by a kill."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        told = [row for row in csv.reader(file) if len(row) == len(COLUMNS)][1:]
    return [(int(step), int(epoch), name, float(value)) for step, epoch, name, value in told]


def draw(log: Path, to: Path) -> None:
    """Three panels of the run in LOG: its losses in training, those on valid, and what valid scores."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    every = rows(log)
    shown = "train/" if any(row[2].startswith("train/") for row in every) else "epoch/"  # of less than EVERY steps
    panels = {
        "loss in training": lambda name: name.startswith(shown),
        "loss on valid": lambda name: name.startswith("valid/") and name.endswith("_loss"),
        "valid": lambda name: name.startswith("valid/") and not name.endswith("_loss"),
    }
    for axis, (title, belongs) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for name in dict.fromkeys(row[2] for row in every if belongs(row[2])):
            points = np.array([(row[0], row[3]) for row in every if row[2] == name])
            axis.plot(*points.T, marker=".", markersize=3, label=name.split("/")[-1].removesuffix("_loss"))
        axis.set(title=title, xlabel="step")
        if axis.lines:
            axis.legend(fontsize=8)
    figure.savefig(to, dpi=90)
