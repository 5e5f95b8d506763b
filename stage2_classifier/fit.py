"""The training loop of the classifier: crops drawn anew each epoch, AdamW, one warm-up and a cosine, averaged weights kept.

Threads cut the next batches while the network learns from the current one. A run depends on its seed alone, also when it was
stopped and resumed: each epoch begins with generators of its own, and each crop has its own. So several processes that share
every step's crops learn what one does.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import timm.utils
import torch
from torch.nn import functional
from torchvision.transforms import v2

from runs import checkpoint, gpu_memory, normalisation, random_state
from runs.distributed import SINGLE_PROCESS, Distributed, with_sync_batch_norm
from runs.training_errors import BatchesPerStep, is_out_of_memory, refuse_non_finite
from stage1_detector.engine import modified_at
from stage2_classifier.augment import augmented
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.crops import Image, Region, draw_order
from stage2_classifier.model import Classifier, normalised, to_input, training_device

Progress = Callable[[str], None]
Batch = tuple[Image, np.ndarray]  # crops uint8 (B, size, size, 3), labels (B,)
MAX_GRADIENT_NORM = 2.0  # chosen: so that a batch of a few odd crops does not undo a run
MOST_THREADS = 8  # chosen: that cut crops
PROGRESS_LINES = 10  # chosen: of a whole training
CHECKPOINT_KEYS = frozenset({"epoch", "config"})


class TrainingCrops(NamedTuple):
    """What a classifier learns from: regions of photos, and the error of detected boxes (4,) that their boxes are shaken by.

    `distributed`: the processes that share the crops of every step; each has all regions.
    """

    regions: list[Region]
    box_error: np.ndarray
    distributed: Distributed = SINGLE_PROCESS


class Fitted(NamedTuple):
    """The averaged model in eval mode, the share of the steps' time that was spent waiting for crops, and its epochs."""

    model: Classifier
    loader_share: float
    epochs: int = 0


@dataclass
class Clock:
    """Seconds of all steps, and of them those spent waiting for crops; kept in the checkpoint."""

    steps: float = 0.0
    waits: float = 0.0

    def state_dict(self) -> dict[str, float]:
        """Both numbers."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take both numbers from `state`."""
        self.steps, self.waits = state["steps"], state["waits"]

    @property
    def share(self) -> float:
        """waits / steps."""
        return self.waits / max(self.steps, 1e-9)


@gpu_memory.released_afterwards()
def fit(
    model: Classifier, crops: TrainingCrops, config: ClassifierConfig, last: Path, progress: Progress, resume: bool = False
) -> Fitted:
    """Train `model` on `crops`, whose boxes are shaken by their error x config.jitter.

    After each epoch the whole state goes to the checkpoint LAST, from which `resume` goes on. Where memory runs out, a single
    process goes on from there with a smaller batch and accumulates more of them, so that a step stays of as many crops.
    Raises FloatingPointError at a non-finite loss, ValueError for fewer crops in a step than processes.
    """
    start = {name: values.clone() for name, values in model.state_dict().items()}
    step_size, at_start = BatchesPerStep(config.batch, 1), modified_at(last)
    epochs, steps = schedule_of(crops, model.columns, config)
    n_processes = crops.distributed.world_size
    if config.batch < n_processes:
        raise ValueError(f"--batch: got {config.batch} crops for {n_processes} processes, need one for each")
    while True:
        try:
            with random_state.kept():
                training = Training(model, config, epochs * steps, step_size, crops.distributed)
                return run_epochs(training, crops, last, progress, resume or modified_at(last) != at_start)
        except RuntimeError as error:
            if step_size.batch == 1 or n_processes > 1 or not is_out_of_memory(error):
                raise
        training = None  # its memory is needed by the next one
        model.zero_grad()
        gpu_memory.release()
        model.load_state_dict(start)
        step_size = step_size.with_smaller_batch()
        progress(step_size.told)


def run_epochs(training: "Training", crops: TrainingCrops, last: Path, progress: Progress, resume: bool) -> Fitted:
    """Every epoch that is left, each from the seed of its own; LAST and lines of progress as in `fit`."""
    config, columns = training.config, training.model.columns
    epochs, steps = schedule_of(crops, columns, config)
    first = training.restore(last) if resume else 0
    started = time.time()
    for epoch in range(first, epochs):
        torch.manual_seed(config.seed + 1_000_003 * epoch)
        loss = training.train_epoch(epoch, batches(crops, config, columns, steps, epoch))
        if crops.distributed.is_main:
            training.save(last, epoch + 1)
        left = (time.time() - started) / (epoch + 1 - first) * (epochs - epoch - 1) / 60
        if (epoch + 1) % max(1, epochs // PROGRESS_LINES) == 0:
            share = training.clock.share
            progress(f"epoch {epoch + 1}/{epochs}  loss {loss:.3f}  loader {share:.1%}  {left:.1f} min left")
    training.model.cpu().zero_grad()  # nothing of it stays on a GPU
    return Fitted(training.average.module.cpu().eval(), training.clock.share, epochs)


def schedule_of(crops: TrainingCrops, columns: Columns, config: ClassifierConfig) -> tuple[int, int]:
    """(epochs, steps in each), as `schedule`, for the crops of products among `crops`."""
    return schedule(sum(region.label < columns.names for region in crops.regions), config)


def schedule(n_products: int, config: ClassifierConfig) -> tuple[int, int]:
    """(epochs, steps in each) for so many crops of products: config.epochs, or as many as config.min_steps take.

    >>> schedule(450, ClassifierConfig(epochs=30, batch=48, min_steps=600))
    (60, 10)
    """
    steps = math.ceil(n_products / (1 - config.background) / config.batch)
    return max(config.epochs, math.ceil(config.min_steps / steps)), steps


def batches(crops: TrainingCrops, config: ClassifierConfig, columns: Columns, steps: int, epoch: int) -> Iterator[Batch]:
    """This process's crops (B, size, size, 3) and labels (B,) for each step of one epoch, cut ahead by `cutting_threads`.

    All processes draw the same crops for a step, as one process does, and each cuts its shard: `own_crops`. Each crop has a
    generator of its own, so that the number of threads changes nothing.
    """
    regions, error, own = crops.regions, crops.box_error * config.jitter, own_crops(crops.distributed, config)
    rng, labels = np.random.default_rng((config.seed, epoch)), np.array([region.label for region in regions])
    picks = draw_order(labels, columns, config.balance, config.background, steps * config.batch, rng)
    threads, ahead = cutting_threads(crops.distributed.world_size), deque[tuple[Future[np.ndarray], np.ndarray]]()
    with ThreadPoolExecutor(threads) as pool:
        for step, all_of_step in enumerate(picks.reshape(steps, config.batch)):
            chosen, rngs = all_of_step[own], [np.random.default_rng((config.seed, epoch, step, i)) for i in own]
            ahead.append((pool.submit(augmented, regions, chosen, error, config, rngs), labels[chosen]))
            if len(ahead) > threads:
                cut, their_labels = ahead.popleft()
                yield cut.result(), their_labels
        for cut, their_labels in ahead:
            yield cut.result(), their_labels


def cutting_threads(processes: int) -> int:
    """One beside a network on the CPU, which needs the processors; beside a GPU a process's share of them, less one."""
    return min(MOST_THREADS, max(1, cv2.getNumberOfCPUs() // processes - 1)) if torch.cuda.is_available() else 1


def own_crops(distributed: Distributed, config: ClassifierConfig) -> list[int]:
    """Which of a step's crops this process cuts: its shard, and the one before where crops are mixed.

    MixUp and CutMix of torchvision mix each crop with the one before it, the first with the last.

    >>> [own_crops(Distributed(rank, 2), ClassifierConfig(batch=5, mixup=0.2)) for rank in (0, 1)]
    [[4, 0, 1, 2], [2, 3, 4]]
    """
    shard = list(distributed.shard(config.batch))
    return [(i - 1) % config.batch for i in shard[: mixed_before(distributed, config)]] + shard


def mixed_before(distributed: Distributed, config: ClassifierConfig) -> int:
    """How many crops are cut only for the first one of a shard to be mixed with: 1 or none."""
    return int(distributed.world_size > 1 and bool(config.mixup or config.cutmix))


def mixer(config: ClassifierConfig, width: int) -> Callable[..., tuple[torch.Tensor, torch.Tensor]] | None:
    """Mixup or cutmix, either at random where both are on (Zhang et al. 2018; Yun et al. 2019); None where both are off."""
    kinds = [v2.MixUp(alpha=config.mixup, num_classes=width)] if config.mixup else []
    kinds += [v2.CutMix(alpha=config.cutmix, num_classes=width)] if config.cutmix else []
    return v2.RandomChoice(kinds) if kinds else None


class Training:
    """The model, its optimiser and learning rate, its averaged weights and the clock: what a checkpoint holds."""

    def __init__(
        self,
        model: Classifier,
        config: ClassifierConfig,
        total_steps: int,
        step_size: BatchesPerStep | None = None,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        model = with_sync_batch_norm(model, distributed)
        self.step_size, self.distributed = step_size or BatchesPerStep(config.batch, 1), distributed
        self.device, self.config, self.clock = training_device(), config, Clock()
        self.model = model.to(self.device).train()
        self.mix = mixer(config, model.columns.width)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        warmup = 0.0 if config.warmup * total_steps == 1 else config.warmup  # torch divides by 0 where one step is to rise
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, config.lr, total_steps=total_steps, pct_start=warmup
        )
        self.average = timm.utils.ModelEmaV3(model, decay=config.ema, use_warmup=True)  # so that no random start is averaged in

    def train_epoch(self, epoch: int, batches: Iterator[Batch]) -> float:
        """One pass over `batches`, of `own_crops`; returns the mean loss. Raises FloatingPointError for one not finite."""
        width, losses, extra = self.model.columns.width, [], mixed_before(self.distributed, self.config)
        step_started = time.perf_counter()
        for crops, labels in batches:
            self.clock.waits += time.perf_counter() - step_started
            inputs = normalised(to_input(crops).to(self.device), self.model.normalisation)  # (B, 3, H, W)
            targets = torch.from_numpy(labels).to(self.device)  # (B,)
            if self.mix is None:
                targets = functional.one_hot(targets, width).float()  # (B, C)
            else:
                inputs, targets = (mixed[extra:] for mixed in self.mix(inputs, targets))  # (B, 3, H, W), (B, C)
            self.optimizer.zero_grad()
            losses.append(self._backward(inputs, targets))
            refuse_non_finite(losses[-1], epoch, self.config.lr)
            self._step()
            self.clock.steps += time.perf_counter() - step_started
            step_started = time.perf_counter()
        return float(np.mean(losses))

    def _backward(self, inputs: torch.Tensor, targets: torch.Tensor) -> float:
        """Add the gradients of this process's crops of a step (B, 3, H, W) and targets (B, C), a batch at a time.

        Returns the mean loss of the step's crops in all processes, which the gradients of all add up to.
        """
        total, size = 0.0, self.step_size.batch
        own_share = self.distributed.share_of_mean(len(inputs))
        for some, true in zip(inputs.split(size), targets.split(size), strict=True):
            loss = functional.cross_entropy(self.model(some, true), true, label_smoothing=self.config.smoothing)
            share = loss * (own_share * len(some) / len(inputs))
            share.backward()
            total += share.item()
        return self.distributed.all_reduce_sums({"loss": total})["loss"]

    def _step(self) -> None:
        """One step of the optimiser, on the gradients of all processes."""
        self.distributed.all_reduce_gradients(list(self.model.parameters()))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.scheduler.step()
        self.average.update(self.model, step=self.scheduler.last_epoch)

    def save(self, last: Path, epochs_done: int) -> None:
        """Write the whole state to the checkpoint LAST."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        made = {"epoch": epochs_done, "config": asdict(self.config), "normalisation": tuple(self.model.normalisation)}
        checkpoint.write(last, made | parts)

    def restore(self, last: Path) -> int:
        """Go on from the checkpoint LAST; returns the epochs done. Raises ValueError where it does not fit, or is damaged."""
        state = checkpoint.read(last, "--resume", CHECKPOINT_KEYS)
        checkpoint.refuse_other_settings(last, state["config"], asdict(self.config))
        normalisation.refuse_other("--resume", last, state, self.model.normalisation)
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"--resume: {last} is of another model or recipe: {str(error).splitlines()[0]}") from None
        return int(state["epoch"])

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        return {
            "model": self.model, "optimizer": self.optimizer, "rate": self.scheduler, "average": self.average,
            "clock": self.clock,
        }  # fmt: skip
