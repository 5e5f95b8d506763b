"""What a training shows while it runs: a line an epoch, a line now and then within a long one, curves for tensorboard.

Metrics of the epochs are in OUT/events.out.tfevents.*: `tensorboard --logdir R` draws them.
"""

import time
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter
from ultralytics.engine.trainer import BaseTrainer

from runs.distributed import SINGLE_PROCESS, Distributed
from runs.training_errors import refuse_non_finite
from stage1_detector.engine import PROGRESS_SECONDS, Progress, progress_line
from stage1_detector.ultralytics_engine.draws import seed_of

THREADS = torch.get_num_threads()  # before ultralytics takes one core away
BOARD = "events.out.tfevents.*"


class TrainingCallbacks:
    """The callbacks of one training in the folder `out`; `progress` is called with each line.

    Of several processes all stop at a loss that is no number, and the main one shows and writes.
    """

    def __init__(self, out: Path, progress: Progress, distributed: Distributed = SINGLE_PROCESS) -> None:
        self.out, self.progress, self.distributed = out, progress, distributed
        self.board: SummaryWriter | None = None
        self.last_line = self.epoch_started = time.monotonic()
        self.batch_size = self.batches_done = 0

    def attach(self, trainer: BaseTrainer) -> None:
        """Register with `trainer`."""
        self.batch_size = trainer.batch_size
        trainer.add_callback("on_train_epoch_start", self._begin_epoch)
        trainer.add_callback("on_train_batch_end", self._end_batch)
        trainer.add_callback("on_train_epoch_end", self._average_losses)
        if self.distributed.is_main:
            trainer.add_callback("on_train_start", self._begin_training)
            trainer.add_callback("on_fit_epoch_end", self._end_epoch)

    def close(self) -> None:
        """Write what is still to be written."""
        if self.board is not None:
            self.board.close()

    def _begin_training(self, trainer: BaseTrainer) -> None:
        """Drop the metrics of epochs beyond the checkpoint that is resumed: they are trained again."""
        self.board = SummaryWriter(str(self.out), purge_step=trainer.start_epoch + 1)

    def _begin_epoch(self, trainer: BaseTrainer) -> None:
        torch.set_num_threads(THREADS)
        torch.manual_seed(seed_of(trainer.args.seed, trainer.epoch, self.distributed.rank))  # as in a run that is resumed here
        self.epoch_started, self.batches_done = time.monotonic(), 0
        if trainer.batch_size < self.batch_size:
            self.progress(f"out of memory with a batch of {self.batch_size}: goes on with {trainer.batch_size}")
            self.batch_size = trainer.batch_size

    def _end_batch(self, trainer: BaseTrainer) -> None:
        photos = [Path(file).resolve().name for file in getattr(trainer, "batch_files", ())]  # links to the user's files
        refuse_non_finite(float(trainer.loss.detach()), trainer.epoch, trainer.args.lr0, photos)
        self.batches_done += 1
        n_batches = len(trainer.train_loader)
        if time.monotonic() - self.last_line >= PROGRESS_SECONDS and self.batches_done < n_batches:
            self.last_line = time.monotonic()
            self.progress(f"epoch {trainer.epoch + 1}/{trainer.epochs}  batch {self.batches_done}/{n_batches}")

    def _average_losses(self, trainer: BaseTrainer) -> None:
        """Make the epoch's losses the mean of those of all processes, which have as many photos each."""
        sums = self.distributed.all_reduce_sums({name: float(value) for name, value in trainer.tloss.items()})
        trainer.tloss = {name: value / self.distributed.world_size for name, value in sums.items()}

    def _end_epoch(self, trainer: BaseTrainer) -> None:
        """Write the epoch's losses, its metrics on valid and photos per second, and show them with the time left."""
        self.last_line = time.monotonic()
        losses = short_names(trainer.tloss)
        rate = self.batches_done * trainer.batch_size / max(self.last_line - self.epoch_started, 1e-9)
        training = {f"train/{name}": value for name, value in losses.items()}
        assert self.board is not None
        for name, value in (training | trainer.metrics | trainer.lr | {"photos_per_second": rate}).items():
            self.board.add_scalar(name, value, trainer.epoch + 1)
        self.board.flush()
        shown = losses | short_names(trainer.metrics)
        self.progress(progress_line(trainer.epoch + 1, trainer.epochs, shown, rate, minutes_left(trainer)))


def short_names(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics by the last part of their name.

    >>> short_names({"valid/det_map50": 0.5})
    {'det_map50': 0.5}
    """
    return {name.split("/")[-1]: float(value) for name, value in metrics.items()}


def minutes_left(trainer: BaseTrainer) -> float:
    """Minutes that the epochs still to come will take."""
    seconds = (time.time() - trainer.train_time_start) / (trainer.epoch + 1 - trainer.start_epoch)
    return float(seconds * (trainer.epochs - trainer.epoch - 1) / 60)
