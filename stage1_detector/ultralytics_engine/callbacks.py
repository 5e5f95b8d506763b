"""What a training tells while it runs: a line an epoch, a line now and then within a long one, curves for tensorboard.

Figures of an epoch stand in OUT/events.out.tfevents.*: `tensorboard --logdir R` draws them.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter
from ultralytics.engine.trainer import BaseTrainer

SECONDS = 30.0  # chosen: from one line to the next within an epoch
THREADS = torch.get_num_threads()  # before ultralytics leaves one core alone
BOARD = "events.out.tfevents.*"


class Watch:
    """The callbacks of one training, which `tell` hears of."""

    def __init__(self, out: Path, tell: Callable[[str], object]) -> None:
        self.out, self.tell = out, tell
        self.board: SummaryWriter | None = None
        self.told = self.began = time.monotonic()
        self.batch = self.done = 0

    def attach(self, trainer: BaseTrainer) -> None:
        """Be called by `trainer`."""
        self.batch = trainer.batch_size
        trainer.add_callback("on_train_start", self._start)
        trainer.add_callback("on_train_epoch_start", self._epoch)
        trainer.add_callback("on_train_batch_end", self._batch)
        trainer.add_callback("on_fit_epoch_end", self._end)

    def close(self) -> None:
        """Write what is still to be written."""
        if self.board is not None:
            self.board.close()

    def _start(self, trainer: BaseTrainer) -> None:
        """Figures of epochs that a stopped run did beyond its last checkpoint are dropped: they are done again."""
        self.board = SummaryWriter(str(self.out), purge_step=trainer.start_epoch + 1)

    def _epoch(self, trainer: BaseTrainer) -> None:
        torch.set_num_threads(THREADS)
        self.began, self.done = time.monotonic(), 0
        if trainer.batch_size < self.batch:
            self.tell(f"out of memory with a batch of {self.batch}: goes on with {trainer.batch_size}")
            self.batch = trainer.batch_size

    def _batch(self, trainer: BaseTrainer) -> None:
        stop_at_non_finite(trainer)
        self.done += 1
        if time.monotonic() - self.told >= SECONDS and self.done < len(trainer.train_loader):
            self.told = time.monotonic()
            self.tell(f"epoch {trainer.epoch + 1}/{trainer.epochs}  batch {self.done}/{len(trainer.train_loader)}")

    def _end(self, trainer: BaseTrainer) -> None:
        """An epoch is over: its losses, what valid says, photos a second, and how long it will take."""
        self.told = time.monotonic()
        losses = {name.split("/")[-1]: float(value) for name, value in trainer.tloss.items()}
        rate = self.done * trainer.batch_size / max(self.told - self.began, 1e-9)
        figures = {f"train/{k}": v for k, v in losses.items()} | trainer.metrics | trainer.lr | {"photos_per_second": rate}
        assert self.board is not None
        for name, value in figures.items():
            self.board.add_scalar(name, value, trainer.epoch + 1)
        self.board.flush()
        self.tell(progress_line(trainer.epoch + 1, trainer.epochs, losses | _short(trainer.metrics), rate, _minutes(trainer)))


def progress_line(epoch: int, epochs: int, figures: dict[str, float], rate: float, minutes: float) -> str:
    """What an epoch did.

    >>> progress_line(3, 40, {"box_loss": 1.5, "det_map50": 0.25}, 12.3, 4.56)
    'epoch 3/40  box_loss 1.500 det_map50 0.250  12.3 photos/s  4.6 min left'
    """
    told = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
    return f"epoch {epoch}/{epochs}  {told}  {rate:.1f} photos/s  {minutes:.1f} min left"


def _short(metrics: dict[str, float]) -> dict[str, float]:
    return {name.split("/")[-1]: value for name, value in metrics.items()}


def _minutes(trainer: BaseTrainer) -> float:
    """Minutes that the epochs still to come will take."""
    seconds = (time.time() - trainer.train_time_start) / (trainer.epoch + 1 - trainer.start_epoch)
    return float(seconds * (trainer.epochs - trainer.epoch - 1) / 60)


def stop_at_non_finite(trainer: BaseTrainer) -> None:
    """Raises FloatingPointError, with where it happened, when the loss is not a number."""
    if not torch.isfinite(trainer.loss):
        raise FloatingPointError(
            f"loss of epoch {trainer.epoch + 1}: got {float(trainer.loss)}, must be finite; lower --lr (now {trainer.args.lr0})"
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU, or torch on a CPU, has said that memory ran out.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), is_out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    return "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower()
