"""The training loop of the classifier: crops drawn anew each epoch, AdamW, one warm-up and a cosine, averaged weights kept."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import timm.utils
import torch

from stage2_classifier.config import ClassifierConfig
from stage2_classifier.data import Region, crops_of, draw_order
from stage2_classifier.model import augment, normalised, to_input

Progress = Callable[[str], None]


def fit(
    model: torch.nn.Module,
    regions: list[Region],
    error: np.ndarray,
    config: ClassifierConfig,
    checkpoint: Path,
    progress: Progress,
    resume: bool = False,
) -> torch.nn.Module:
    """Train `model` on crops of `regions`, boxes shaken by `error` x config.jitter; return the averaged model in eval mode.

    After each epoch the whole state goes to CHECKPOINT, from which `resume` goes on.
    Raises FloatingPointError at a non-finite loss.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return _fit(model, regions, error * config.jitter, config, checkpoint, progress, resume)


def schedule(n_regions: int, config: ClassifierConfig) -> tuple[int, int]:
    """(epochs, steps in each): config.epochs, or as many as config.min_steps take.

    >>> schedule(450, ClassifierConfig(epochs=30, batch=48, min_steps=600))
    (60, 10)
    """
    steps = math.ceil(n_regions / config.batch)
    return max(config.epochs, math.ceil(config.min_steps / steps)), steps


def _fit(
    model: torch.nn.Module,
    regions: list[Region],
    error: np.ndarray,
    config: ClassifierConfig,
    checkpoint: Path,
    progress: Progress,
    resume: bool,
) -> torch.nn.Module:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    epochs, steps = schedule(len(regions), config)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=epochs * steps, pct_start=config.warmup)
    average = timm.utils.ModelEmaV3(model, decay=config.ema)
    parts = {"model": model, "optimizer": optimizer, "rate": rate, "average": average}
    first = _restore(parts, checkpoint, config) if resume else 0
    started = time.time()
    for epoch in range(first, epochs):
        loss = _epoch(parts, regions, error, config, steps, np.random.default_rng((config.seed, epoch)), device)
        _save(parts, epoch + 1, checkpoint, config)
        left = (time.time() - started) / (epoch + 1 - first) * (epochs - epoch - 1) / 60
        if (epoch + 1) % max(1, epochs // 10) == 0:
            progress(f"epoch {epoch + 1}/{epochs}  loss {loss:.3f}  {left:.1f} min left")
    return average.module.cpu().eval()


def _epoch(
    parts: dict,
    regions: list[Region],
    error: np.ndarray,
    config: ClassifierConfig,
    steps: int,
    rng: np.random.Generator,
    device: torch.device,
) -> float:
    """One pass; returns the mean loss."""
    transform, total = augment(config), 0.0
    picks = draw_order(regions, config.balance, steps * config.batch, rng).reshape(steps, config.batch)
    for step in picks:
        crops = crops_of(regions, step, error, config.size, config.margin, rng)  # (B, size, size, 3)
        labels = torch.tensor([regions[i].label for i in step], device=device)
        logits = parts["model"](normalised(to_input(crops, transform)).to(device))
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=config.smoothing)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss: got {loss.item()}, must be finite; lower --lr (now {config.lr})")
        parts["optimizer"].zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            parts["model"].parameters(), 2.0
        )  # chosen: keeps a bad batch of a few crops from undoing a run
        parts["optimizer"].step()
        parts["rate"].step()
        parts["average"].update(parts["model"])
        total += loss.item() / steps
    return total


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
    begun = state.get("config", {})
    for name, now in asdict(config).items():
        if begun.get(name) != now:
            raise ValueError(
                f"--resume: {checkpoint} was begun with {name} {begun.get(name)}, now {now}; pass the same, or --force"
            )
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"--resume: {checkpoint} is of another model or recipe: {str(error).splitlines()[0]}") from None
    return int(state["epoch"])
