"""The training loop of the classifier: crops drawn anew each epoch, AdamW, one warm-up and a cosine, averaged weights kept.

The next batch is cut by a thread while the network learns from this one. A run depends on its seed alone, also when it was
stopped and resumed: each epoch begins with generators of its own.
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm.utils
import torch
from torch.nn import functional
from torchvision.transforms import v2

from runs.checkpoint import refuse_other_settings
from stage2_classifier.augment import augmented
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.crops import Image, Region, draw_order
from stage2_classifier.model import Classifier, normalised, to_input

Progress = Callable[[str], None]
STEEPEST = 2.0  # chosen: the norm gradients are cut to, so that a batch of a few odd crops does not undo a run


class Fitted(NamedTuple):
    """The averaged model in eval mode, and the share of the steps' time that was spent waiting for crops."""

    model: Classifier
    loader_share: float


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


def fit(
    model: Classifier,
    regions: list[Region],
    error: np.ndarray,
    config: ClassifierConfig,
    checkpoint: Path,
    progress: Progress,
    resume: bool = False,
) -> Fitted:
    """Train `model` on crops of `regions`, boxes shaken by `error` x config.jitter.

    After each epoch the whole state goes to CHECKPOINT, from which `resume` goes on.
    Raises FloatingPointError at a non-finite loss.
    """
    with torch.random.fork_rng():
        return _fit(model, regions, error * config.jitter, config, checkpoint, progress, resume)


def schedule(n_products: int, config: ClassifierConfig) -> tuple[int, int]:
    """(epochs, steps in each) for so many crops of products: config.epochs, or as many as config.min_steps take.

    >>> schedule(450, ClassifierConfig(epochs=30, batch=48, min_steps=600))
    (60, 10)
    """
    steps = math.ceil(n_products / (1 - config.background) / config.batch)
    return max(config.epochs, math.ceil(config.min_steps / steps)), steps


def _fit(
    model: Classifier,
    regions: list[Region],
    error: np.ndarray,
    config: ClassifierConfig,
    checkpoint: Path,
    progress: Progress,
    resume: bool,
) -> Fitted:
    device, clock = torch.device("cuda" if torch.cuda.is_available() else "cpu"), Clock()
    epochs, steps = schedule(sum(region.label < model.columns.names for region in regions), config)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=epochs * steps, pct_start=config.warmup)
    average = timm.utils.ModelEmaV3(model, decay=config.ema)
    parts = {"model": model, "optimizer": optimizer, "rate": rate, "average": average, "clock": clock}
    first = _restore(parts, checkpoint, config) if resume else 0
    started = time.time()
    for epoch in range(first, epochs):
        torch.manual_seed(config.seed + 1_000_003 * epoch)
        loss = _epoch(parts, batches(regions, error, config, model, steps, epoch), config)
        _save(parts, epoch + 1, checkpoint, config)
        left = (time.time() - started) / (epoch + 1 - first) * (epochs - epoch - 1) / 60
        if (epoch + 1) % max(1, epochs // 10) == 0:
            progress(f"epoch {epoch + 1}/{epochs}  loss {loss:.3f}  loader {clock.share:.1%}  {left:.1f} min left")
    return Fitted(average.module.cpu().eval(), clock.share)


def batches(
    regions: list[Region], error: np.ndarray, config: ClassifierConfig, model: Classifier, steps: int, epoch: int
) -> Iterator[tuple[Image, np.ndarray]]:
    """Crops (B, size, size, 3) and labels (B,) for each step of one epoch, cut one step ahead by a thread."""
    rng, labels = np.random.default_rng((config.seed, epoch)), np.array([region.label for region in regions])
    picks = draw_order(labels, model.columns, config.balance, config.background, steps * config.batch, rng)
    with ThreadPoolExecutor(1) as thread:
        ahead = None
        for step in picks.reshape(steps, config.batch):
            coming = thread.submit(augmented, regions, step, error, config, rng), labels[step]
            if ahead is not None:
                yield ahead[0].result(), ahead[1]
            ahead = coming
        if ahead is not None:
            yield ahead[0].result(), ahead[1]


def mixer(config: ClassifierConfig, width: int) -> Callable[..., tuple[torch.Tensor, torch.Tensor]] | None:
    """Mixup or cutmix, by lot where both are on (Zhang et al. 2018; Yun et al. 2019); None where both are off."""
    kinds = [v2.MixUp(alpha=config.mixup, num_classes=width)] if config.mixup else []
    kinds += [v2.CutMix(alpha=config.cutmix, num_classes=width)] if config.cutmix else []
    return v2.RandomChoice(kinds) if kinds else None


def _epoch(parts: dict, crops: Iterator[tuple[Image, np.ndarray]], config: ClassifierConfig) -> float:
    """One pass; returns the mean loss."""
    width, clock, losses = parts["model"].columns.width, parts["clock"], []
    mix, device = mixer(config, width), next(parts["model"].parameters()).device
    begun = time.perf_counter()
    for images, labels in crops:
        clock.waits += time.perf_counter() - begun
        inputs, named = normalised(to_input(images).to(device)), torch.from_numpy(labels).to(device)
        inputs, targets = mix(inputs, named) if mix else (inputs, functional.one_hot(named, width).float())  # (B, C)
        losses.append(_step(parts, inputs, targets, config))
        clock.steps += time.perf_counter() - begun
        begun = time.perf_counter()
    return float(np.mean(losses))


def _step(parts: dict, inputs: torch.Tensor, targets: torch.Tensor, config: ClassifierConfig) -> float:
    """One step of the optimiser; returns the loss. FloatingPointError if it is not finite."""
    logits = parts["model"](inputs, targets)
    loss = functional.cross_entropy(logits, targets, label_smoothing=config.smoothing)
    if not torch.isfinite(loss):
        raise FloatingPointError(f"loss: got {loss.item()}, must be finite; lower --lr (now {config.lr})")
    parts["optimizer"].zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parts["model"].parameters(), STEEPEST)
    parts["optimizer"].step()
    parts["rate"].step()
    parts["average"].update(parts["model"])
    return loss.item()


def _save(parts: dict, epoch: int, checkpoint: Path, config: ClassifierConfig) -> None:
    """Write the whole state beside CHECKPOINT, then rename."""
    beside = checkpoint.with_suffix(".part")
    torch.save({"epoch": epoch, "config": asdict(config)} | {name: part.state_dict() for name, part in parts.items()}, beside)
    beside.replace(checkpoint)


def _restore(parts: dict, checkpoint: Path, config: ClassifierConfig) -> int:
    """Load CHECKPOINT into `parts` and return the epochs done. Raises ValueError where it does not fit, or is damaged."""
    try:
        state = torch.load(checkpoint, weights_only=True)
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"--resume: {checkpoint} is damaged; pass --force to start again") from error
    refuse_other_settings(checkpoint, state.get("config", {}), asdict(config))
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"--resume: {checkpoint} is of another model or recipe: {str(error).splitlines()[0]}") from None
    return int(state["epoch"])
