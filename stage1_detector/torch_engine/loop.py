"""The training loop of every detector that ultralytics does not train: fresh canvases each epoch, a schedule, checkpoints.

A run depends on its seed alone, also when it was stopped and resumed: each photo of each epoch, and each epoch, begins with
generators of its own.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import timm.utils
import torch
from torch import nn

from photos.data import Photo
from runs import checkpoint
from stage1_detector.config import LoopConfig
from stage1_detector.engine import LOOKS, Progress, Score, device_of, epochs, stamp
from stage1_detector.torch_engine.canvases import Canvases, Look, batches
from stage1_detector.torch_engine.distributed import ALONE, Crew, with_shared_norms
from stage1_detector.torch_engine.optimizers import make_optimizer
from stage1_detector.torch_engine.schedules import SCHEDULES, factor
from stage1_detector.torch_engine.training_log import Journal
from stage1_detector.ultralytics_engine.callbacks import is_out_of_memory

Parts = dict[str, Any]
Targets = list[dict[str, torch.Tensor]]


class Learner(Protocol):
    """What the loop trains: a module whose losses are summed.

    `body` has a rate of its own. `description` and the state of `judged`, which is what valid looks at, make a checkpoint that
    can be loaded; `sampling` is said around losses in evaluation mode.
    """

    description: dict[str, Any]

    @property
    def body(self) -> nn.Module: ...

    @property
    def judged(self) -> nn.Module: ...

    def losses(self, images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]: ...

    def sampling(self, on: bool) -> None: ...


class Job(NamedTuple):
    """One training: what `fit` is told."""

    config: LoopConfig
    photos: dict[str, tuple[Photo, ...]]
    names: list[str]
    out: Path
    progress: Progress
    score: Score
    synthetic: tuple[Photo, ...]
    build: Callable[..., Any]
    look: Look
    crew: Crew


def fit(
    config: LoopConfig,
    photos: dict[str, tuple[Photo, ...]],
    names: list[str],
    out: Path,
    progress: Progress,
    score: Score,
    pretrained: Path | None = None,
    resume: bool = False,
    synthetic: tuple[Photo, ...] = (),
    *,
    build: Callable[..., Any],
    look: Look,
    crew: Crew = ALONE,
) -> Path:
    """Train on `photos["train"]` and return the weights file OUT/weights/{best,last}.pt; arguments as `yolo.fit`.

    `build(config, photos, names, pretrained)` makes the Learner, which sees photos by `look`; a `crew` trains it together.
    Where memory runs out, one alone halves the batch and gathers more into a step, which stays of as many photos. Raises
    FloatingPointError at a non-finite loss.
    """
    weights = out / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    gathered, batch, last = config.accumulate, config.batch, weights / "last.pt"
    job, before = Job(config, photos, names, out, progress, score, synthetic, build, look, crew), stamp(last)
    while True:
        try:
            with torch.random.fork_rng():
                torch.manual_seed(config.seed)
                Run(job, batch, gathered).go(pretrained, resume)
            return weights / ("best.pt" if config.patience else "last.pt")
        except RuntimeError as error:
            if batch == 1 or crew.size > 1 or not is_out_of_memory(error):
                raise
            batch, resume = halved(batch), resume or stamp(last) != before
            gathered = config.photos_a_step // batch
            progress(f"out of memory: goes on with a batch of {batch}, {gathered} to a step")


def halved(batch: int) -> int:
    """The largest part of `batch` that is half of it or less and divides it: so that a step can be of as many photos.

    >>> [halved(n) for n in (8, 6, 5, 3, 2)]
    [4, 3, 1, 1, 1]
    """
    return next(n for n in range(batch // 2, 0, -1) if batch % n == 0)


class Run:
    """One training from its first epoch, or where it was stopped, to its last."""

    def __init__(self, job: Job, batch: int, gathered: int) -> None:
        self.job, self.config, self.crew, self.batch, self.gathered = job, job.config, job.crew, batch, gathered
        plain, agnostic = replace(job.config, synthetic_ratio=0.0), len(job.names) == 1
        self.train = Canvases(job.photos["train"], job.synthetic, job.config, agnostic, job.look)
        self.valid = Canvases(job.photos["valid"], (), plain, agnostic, job.look)
        self.epochs = epochs(job.config, len(job.photos["train"]))
        self.steps = -(-len(self._order(0)) // gathered)
        if not self.steps:
            raise ValueError(f"train: got {len(self.train)} photos, need at least one for each of {job.crew.size} processes")
        self.device = device_of(job.config.device)

    def _order(self, epoch: int) -> list[list[int]]:
        """The epoch's batches; a last one of which some of the crew would have nothing is left out."""
        return [batch for batch in self.train.order(self.batch, epoch) if len(batch) >= self.crew.size]

    def go(self, pretrained: Path | None, resume: bool) -> None:
        """Train, from the checkpoint where `resume`."""
        job, last = self.job, self.job.out / "weights" / "last.pt"
        net = job.build(self.config, job.photos["train"], job.names, None if resume else pretrained)
        parts, state = self._parts(with_shared_norms(net, self.crew)), {"epoch": 0, "best": []}
        if resume:
            state = restore(parts, last, self.config)
        journal = Journal(job.out, job.progress, self.epochs, self.steps, state["epoch"]) if self.crew.leads else None
        try:
            for epoch in range(state["epoch"], self.epochs):
                if self._has_stalled(state):
                    job.progress(f"stops: no gain in {self.config.patience} epochs")
                    break
                torch.manual_seed(self.config.seed + 1_000_003 * (epoch + 1))
                self._epoch(parts, epoch, journal)
                state = self.crew.first(None if journal is None else self._finish(parts, state, epoch, journal))
        finally:
            if journal is not None:
                journal.close()

    def _finish(self, parts: Parts, state: dict[str, Any], epoch: int, journal: Journal) -> dict[str, Any]:
        """What the leader does after an epoch: look at valid, and write; returns the new state."""
        journal.trained()
        return self._keep(parts, state, epoch, self._look(parts, epoch, journal))

    def _has_stalled(self, state: dict[str, Any]) -> bool:
        """Whether the best epoch is `patience` epochs ago."""
        return bool(self.config.patience and state["best"] and state["epoch"] - state["best"][0][1] >= self.config.patience)

    def _parts(self, net: Any) -> Parts:
        """What a checkpoint holds: the network, its optimiser and rate, and the averaged weights, if any."""
        config, net = self.config, net.to(self.device)
        optimizer = make_optimizer(net, config)
        shape = partial(
            factor, SCHEDULES[config.schedule], total=self.epochs * self.steps,
            warmup=round(config.warmup_epochs * self.steps), end=config.lr_end,
        )  # fmt: skip
        parts: Parts = {"net": net, "optimizer": optimizer, "rate": torch.optim.lr_scheduler.LambdaLR(optimizer, shape)}
        if config.ema:
            parts["average"] = timm.utils.ModelEmaV3(net, decay=config.ema, use_warmup=True)
        return parts

    def _epoch(self, parts: Parts, epoch: int, journal: Journal | None) -> None:
        """One pass: a step for every `gathered` batches."""
        net, config = parts["net"].train(), self.config
        plain, every = epoch >= self.epochs - config.plain_epochs, self._order(epoch)
        if journal is not None:
            journal.begin_epoch(epoch, len(self.train))
        waiting: list[dict[str, float]] = []
        made = batches(self.train, every, epoch, plain, self.device, crew=self.crew)
        for i, (images, targets) in enumerate(made):
            with mixed_precision(self.device):
                losses = net.losses(images, targets)
            waiting.append(self.crew.sums({name: float(value.detach()) for name, value in losses.items()}))
            stop_at_non_finite(sum(waiting[-1].values()), epoch, config.lr)
            (sum(losses.values()) / min(self.gathered, len(every) - i // self.gathered * self.gathered)).backward()
            if (i + 1) % self.gathered == 0 or i + 1 == len(every):
                self._step(parts)
                told = {k: float(np.mean([w[k] for w in waiting])) for k in waiting[0]}
                if journal is not None:
                    journal.step(told, parts["rate"].get_last_lr()[-1])
                waiting = []

    def _step(self, parts: Parts) -> None:
        """One step of the optimiser."""
        self.crew.share_gradients(list(parts["net"].parameters()))
        if self.config.clip:
            nn.utils.clip_grad_norm_(parts["net"].parameters(), self.config.clip)
        parts["optimizer"].step()
        parts["optimizer"].zero_grad(set_to_none=True)
        parts["rate"].step()
        if "average" in parts:
            parts["average"].update(parts["net"], step=parts["rate"].last_epoch)

    def _look(self, parts: Parts, epoch: int, journal: Journal) -> float | None:
        """What valid says of the weights after an epoch: every epoch where it chooses among them, else LOOKS times."""
        every = 1 if self.config.patience else max(1, self.epochs // LOOKS)
        if (epoch + 1) % every and epoch + 1 < self.epochs:
            journal.end_epoch({})
            return None
        net = current(parts).eval()
        losses = self._valid_losses(net)
        figures = self.job.score(net.judged)
        journal.end_epoch({f"valid/{k}": v for k, v in {**figures, **losses}.items()})
        return next(iter(figures.values()))

    @torch.no_grad()
    def _valid_losses(self, net: Any) -> dict[str, float]:
        """The mean losses on valid, batch norm and drop path as at judgment."""
        net.sampling(True)
        every = [list(range(i, min(i + self.batch, len(self.valid)))) for i in range(0, len(self.valid), self.batch)]
        told = [net.losses(images, targets) for images, targets in batches(self.valid, every, 0, True, self.device)]
        net.sampling(False)
        return {f"{name}_loss": float(np.mean([float(one[name]) for one in told])) for name in told[0]} if told else {}

    def _keep(self, parts: Parts, state: dict[str, Any], epoch: int, value: float | None) -> dict[str, Any]:
        """Write last.pt and, where valid has spoken, best.pt and the `keep` best of all; returns the new state."""
        weights, best = self.job.out / "weights", list(state["best"])
        if value is not None:
            best = sorted([*best, [value, epoch + 1]], key=lambda pair: (-pair[0], pair[1]))[: max(1, self.config.keep)]
        state = {"epoch": epoch + 1, "best": best}
        told = current(parts).description | {"network": current(parts).judged.state_dict()}
        if value is not None and [value, epoch + 1] in best:
            if best[0] == [value, epoch + 1]:
                checkpoint.write(weights / "best.pt", told)
            if self.config.keep:
                checkpoint.write(weights / f"epoch-{epoch + 1}.pt", told)
        whole = {name: part.state_dict() for name, part in parts.items()}
        checkpoint.write(weights / "last.pt", told | {"state": state} | whole)
        kept = {f"epoch-{number}.pt" for _, number in best}
        for old in weights.glob("epoch-*.pt"):
            if old.name not in kept:
                old.unlink()
        return state


def current(parts: Parts) -> Any:
    """The network to judge by: of averaged weights, if there are any."""
    net: nn.Module = parts["average"].module if "average" in parts else parts["net"]
    return net


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 on a GPU that computes in it: it needs no scaling of the loss."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def stop_at_non_finite(loss: float, epoch: int, lr: float) -> None:
    """Raises FloatingPointError, with where it happened, when the loss is not a number."""
    if not np.isfinite(loss):
        raise FloatingPointError(f"loss of epoch {epoch + 1}: got {loss}, must be finite; lower --lr (now {lr})")


def restore(parts: Parts, last: Path, config: LoopConfig) -> dict[str, Any]:
    """Load checkpoint LAST into `parts` and return its state. Raises ValueError where it is damaged or of other settings."""
    told = checkpoint.read(last, "--resume")
    begun, now = told["config"], asdict(config)
    for name in now:
        if begun.get(name) != now[name]:
            raise ValueError(
                f"--resume: {last} was begun with {name} {begun.get(name)}, now {now[name]}; pass the same, or --force"
            )
    for name, part in parts.items():
        part.load_state_dict(told[name])
    state: dict[str, Any] = told["state"]
    return state
