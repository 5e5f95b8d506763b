"""The training loop of every detector that ultralytics does not train: fresh canvases each epoch, a schedule, checkpoints.

A run depends on its seed alone, also when it was stopped and resumed: each photo of each epoch, and each epoch, begins with
generators of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from runs import gpu_memory, random_state
from runs.distributed import with_sync_batch_norm
from runs.training_errors import BatchesPerStep, is_out_of_memory, refuse_lost_worker, refuse_non_finite
from stage1_detector.config import LoopConfig, TransformerConfig
from stage1_detector.engine import Job, device_of, epochs, modified_at, validation_interval
from stage1_detector.torch_engine.canvases import Canvases, EpochBatches, InputFormat, load_batches
from stage1_detector.torch_engine.training_log import TrainingLog, means
from stage1_detector.torch_engine.training_state import TrainingState


class NetworkSpec(NamedTuple):
    """What `fit` trains: `build(config, photos, names, pretrained)` makes a Learner (see `training_state`).

    It takes photos in `input_format`, by the mean and spread of its backbone. `load` makes the Learner of a checkpoint, where
    what it was built from is not in the settings and photos alone.
    """

    build: Callable[..., Any]
    input_format: InputFormat
    load: Callable[[Path], Any] | None = None


@gpu_memory.released_afterwards()
def fit(job: Job[LoopConfig], network: NetworkSpec) -> Path:
    """Train on `job.photos["train"]` and return the weights file OUT/weights/{best,last}.pt.

    Where memory runs out, a single process goes on with a smaller batch and accumulates more of them, so that a step stays of
    as many photos. Raises FloatingPointError at a non-finite loss.
    """
    job.last_checkpoint.parent.mkdir(parents=True, exist_ok=True)
    step_size, at_start = BatchesPerStep(job.config.batch, job.config.accumulate), modified_at(job.last_checkpoint)
    while True:
        try:
            with seeded(job.config.seed), closing(Run(job, network, step_size)) as run:
                for epoch in run.remaining_epochs():
                    run.train_epoch(epoch)
                    run.end_epoch(epoch)
            return job.result
        except RuntimeError as error:
            refuse_lost_worker(error)  # torch's signal handler may raise it in the middle of a step
            if step_size.batch == 1 or job.distributed.world_size > 1 or not is_out_of_memory(error):
                raise
        run = None  # its memory is needed by the next one
        gpu_memory.release()
        step_size = step_size.with_smaller_batch()
        job = replace(job, resume=job.resume or modified_at(job.last_checkpoint) != at_start)
        job.progress(step_size.told)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's generators begin at `seed`, and are afterwards as they were before."""
    with random_state.kept():
        torch.manual_seed(seed)
        yield


class Run:
    """One training from its first epoch, or from where it was stopped, to its last."""

    def __init__(self, job: Job[LoopConfig], network: NetworkSpec, step_size: BatchesPerStep) -> None:
        config, photos, agnostic = job.config, job.photos, job.is_class_agnostic
        self.job, self.config, self.distributed, self.step_size = job, config, job.distributed, step_size
        input_format = network.input_format.of(config)
        self.train = Canvases(photos["train"], job.synthetic, config, agnostic, input_format)
        left_mb = max(0, config.cache_mb - self.train.cache.megabytes)
        for_valid = replace(config, synthetic_ratio=0.0, cache_mb=left_mb, schedule="cosine")  # of one scale
        self.valid = Canvases(photos["valid"], (), for_valid, agnostic, input_format)
        self.epochs = epochs(config, len(photos["train"]))
        self.steps = -(-len(self._train_batches(0)) // step_size.accumulate)
        if not self.steps:
            n_processes = job.distributed.world_size
            raise ValueError(f"train: got {len(self.train)} photos, need at least one for each of {n_processes} processes")
        self.device = device_of(config.device)
        with_queries = isinstance(config, TransformerConfig)  # one for each box of a photo
        shown = (*photos["train"], *job.synthetic) if with_queries else photos["train"]
        if job.resume and network.load is not None:
            learner = network.load(job.last_checkpoint)
        else:
            learner = network.build(config, shown, job.names, None if job.resume else job.pretrained)
        self._tell_of_heads(getattr(learner, "fresh_heads", ()))
        learner = with_sync_batch_norm(learner, self.distributed).to(self.device)
        learner.distributed, learner.batch = self.distributed, step_size.batch
        self.state = TrainingState(learner, config, self.epochs, self.steps)
        if job.resume:
            self.state.restore(job.last_checkpoint)
        done = self.state.epochs_done
        self._tell_of_cache()
        self.log = TrainingLog(job.out, job.progress, self.epochs, self.steps, done) if self.distributed.is_main else None

    def _tell_of_heads(self, fresh: tuple[str, ...]) -> None:
        """Tell which tensors of the heads the weights to start from did not fill."""
        if self.distributed.is_main and fresh:
            self.job.progress(f"from random weights, as --pretrained has none that fit: {', '.join(fresh)}")

    def _tell_of_cache(self) -> None:
        """Tell how many photos stay in memory, where that is not all."""
        caches, n_photos = (self.train.cache, self.valid.cache), len(self.train.photos) + len(self.valid.photos)
        kept = sum(len({index for index, _ in cache.slots}) for cache in caches)
        if self.distributed.is_main and kept < n_photos:
            megabytes = sum(cache.megabytes for cache in caches)
            self.job.progress(f"{kept} of {n_photos} photos are kept in memory ({megabytes} MB); --cache-mb holds more")

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()

    def remaining_epochs(self) -> Iterator[int]:
        """The epochs (from 0) still to be trained, until there was no gain in `patience` epochs."""
        for epoch in range(self.state.epochs_done, self.epochs):
            if self.state.has_stalled:
                self.job.progress(f"stops: no gain in {self.config.patience} epochs")
                return
            yield epoch

    def train_epoch(self, epoch: int) -> None:
        """One pass over the training photos: a step for every `step_size.accumulate` batches."""
        torch.manual_seed(self.config.seed + 1_000_003 * (epoch + 1))
        learner, batches, accumulate = self.state.learner.train(), self._train_batches(epoch), self.step_size.accumulate
        if self.log is not None:
            self.log.begin_epoch(epoch, len(self.train))
        plain = epoch >= self.epochs - self.config.plain_epochs
        dataset = EpochBatches(self.train, batches, epoch, plain, self.distributed)
        step_losses: list[dict[str, float]] = []
        for i, (images, targets) in enumerate(load_batches(dataset, self.device)):
            with mixed_precision(self.device):
                losses = learner.losses(images, targets)
            step_losses.append(self.distributed.all_reduce_sums({k: float(v.detach()) for k, v in losses.items()}))
            refuse_non_finite(sum(step_losses[-1].values()), epoch, self.config.lr, dataset.photo_names(i))
            batches_of_step = min(accumulate, len(batches) - i // accumulate * accumulate)  # fewer in the last step
            (sum(losses.values()) / batches_of_step).backward()
            if len(step_losses) == batches_of_step:
                self.state.step(self.distributed)
                if self.log is not None:
                    self.log.step(means(step_losses), self.state.lr)
                step_losses = []

    def end_epoch(self, epoch: int) -> None:
        """The main process validates, where it is time to, and writes; all processes then know the state of the training."""
        if self.log is not None:
            self.log.end_training_steps()
            is_due = (epoch + 1) % validation_interval(self.config.patience > 0, self.epochs) == 0
            metrics = self._validate() if is_due or epoch + 1 == self.epochs else {}
            self.log.end_epoch({f"valid/{name}": value for name, value in metrics.items()})
            self.state.end_epoch(self.job.last_checkpoint.parent, next(iter(metrics.values()), None))
        self.state.epochs_done, self.state.best = self.distributed.broadcast((self.state.epochs_done, self.state.best))

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The scores on valid, the one that counts first, and the mean losses, with batch norm and drop path as at judgment.

        None of them where all photos are trained on.
        """
        if self.job.score is None:
            return {}
        learner, size = self.state.evaluated.eval(), self.step_size.batch
        batches = [list(range(i, min(i + size, len(self.valid)))) for i in range(0, len(self.valid), size)]
        dataset = EpochBatches(self.valid, batches, epoch=0, plain=True)
        learner.enable_eval_losses(True)
        losses = [learner.losses(images, targets) for images, targets in load_batches(dataset, self.device)]
        learner.enable_eval_losses(False)
        mean_losses = means([{f"{name}_loss": float(value) for name, value in batch.items()} for batch in losses])
        return self.job.score(learner.inference_network) | mean_losses

    def _train_batches(self, epoch: int) -> list[list[int]]:
        """The epoch's batches of photo indices; a last one with fewer photos than processes is left out."""
        batches = self.train.batches_of_epoch(self.step_size.batch, epoch)
        return [batch for batch in batches if len(batch) >= self.distributed.world_size]


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 on a GPU that computes in it: it needs no scaling of the loss."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()
