"""The training loop of the torchvision detectors: canvases augmented anew each epoch, a schedule by steps, checkpoints.

A run depends on its seed alone, also when it was stopped and resumed: each photo of each epoch, and each epoch, begins with
generators of its own.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm.optim
import timm.utils
import torch
from torch import nn

from stage1_detector import torchvision_net
from stage1_detector.canvases import Canvases, batches
from stage1_detector.config import TorchvisionConfig
from stage1_detector.course import LOOKS, Progress, Score, epochs, stamp
from stage1_detector.data import Photo
from stage1_detector.journal import Journal
from stage1_detector.schedules import SCHEDULES, factor
from stage1_detector.torchvision_net import Detector
from stage1_detector.watch import is_out_of_memory

MOMENTUM = 0.9  # taken: of SGD, the field's
DEPTHS = 12  # taken: how many layers mmdetection tells apart in a ConvNeXt
Parts = dict[str, Any]


def fit(
    config: TorchvisionConfig,
    photos: dict[str, tuple[Photo, ...]],
    names: list[str],
    out: Path,
    progress: Progress,
    score: Score,
    pretrained: Path | None = None,
    resume: bool = False,
    synthetic: tuple[Photo, ...] = (),
) -> Path:
    """Train on `photos["train"]` and return the weights file OUT/weights/{best,last}.pt; arguments as `yolo.fit`.

    Where memory runs out, the batch is halved and more are gathered into a step, which stays of as many photos. Raises
    FloatingPointError at a non-finite loss.
    """
    weights = out / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    gathered, batch, last = config.accumulate, config.batch, weights / "last.pt"
    before = stamp(last)
    while True:
        try:
            with torch.random.fork_rng():
                torch.manual_seed(config.seed)
                run = Run(config, photos, names, out, progress, score, synthetic, batch, gathered)
                run.go(pretrained, resume)
            return weights / ("best.pt" if config.patience else "last.pt")
        except RuntimeError as error:
            if batch == 1 or not is_out_of_memory(error):
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

    def __init__(
        self,
        config: TorchvisionConfig,
        photos: dict[str, tuple[Photo, ...]],
        names: list[str],
        out: Path,
        progress: Progress,
        score: Score,
        synthetic: tuple[Photo, ...],
        batch: int,
        gathered: int,
    ) -> None:
        self.config, self.photos, self.names, self.out = config, photos, names, out
        self.progress, self.score, self.gathered = progress, score, gathered
        agnostic = len(names) == 1
        self.train = Canvases(photos["train"], synthetic, config, agnostic)
        self.valid = Canvases(photos["valid"], (), replace(config, synthetic_ratio=0.0), agnostic)
        self.batch, self.epochs = batch, epochs(config, len(photos["train"]))
        self.steps = -(-len(self.train) // (batch * gathered))
        self.device = torchvision_net.device_of(config.device)

    def go(self, pretrained: Path | None, resume: bool) -> None:
        """Train, from the checkpoint where `resume`."""
        last = self.out / "weights" / "last.pt"
        net = torchvision_net.build(self.config, self.photos["train"], self.names, None if resume else pretrained)
        parts, state = self._parts(net), {"epoch": 0, "best": []}
        if resume:
            state = restore(parts, last, self.config)
        journal = Journal(self.out, self.progress, self.epochs, self.steps, state["epoch"])
        try:
            for epoch in range(state["epoch"], self.epochs):
                if self._has_stalled(state):
                    self.progress(f"stops: no gain in {self.config.patience} epochs")
                    break
                torch.manual_seed(self.config.seed + 1_000_003 * (epoch + 1))
                self._epoch(parts, epoch, journal)
                journal.trained()
                looked = self._look(parts, epoch, journal)
                state = self._keep(parts, state, epoch, looked)
        finally:
            journal.close()

    def _has_stalled(self, state: dict[str, Any]) -> bool:
        """Whether the best epoch is `patience` epochs ago."""
        return bool(self.config.patience and state["best"] and state["epoch"] - state["best"][0][1] >= self.config.patience)

    def _parts(self, net: Detector) -> Parts:
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

    def _epoch(self, parts: Parts, epoch: int, journal: Journal) -> None:
        """One pass: a step for every `gathered` batches."""
        net, config = parts["net"].train(), self.config
        plain = epoch >= self.epochs - config.plain_epochs
        journal.begin_epoch(epoch, len(self.train))
        waiting: list[dict[str, float]] = []
        every = list(self.train.order(self.batch, epoch))
        for i, (images, targets) in enumerate(batches(self.train, every, epoch, plain, self.device)):
            with mixed_precision(self.device):
                losses = net.losses(images, targets)
            total = sum(losses.values())
            stop_at_non_finite(total, epoch, config.lr)
            (total / min(self.gathered, len(every) - i // self.gathered * self.gathered)).backward()
            waiting.append({name: float(value.detach()) for name, value in losses.items()})
            if (i + 1) % self.gathered == 0 or i + 1 == len(every):
                self._step(parts)
                journal.step({k: float(np.mean([w[k] for w in waiting])) for k in waiting[0]}, parts["rate"].get_last_lr()[-1])
                waiting = []

    def _step(self, parts: Parts) -> None:
        """One step of the optimiser."""
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
        figures = self.score(net)
        journal.end_epoch({f"valid/{k}": v for k, v in {**figures, **losses}.items()})
        return next(iter(figures.values()))

    @torch.no_grad()
    def _valid_losses(self, net: Detector) -> dict[str, float]:
        """The mean losses on valid, batch norm and drop path as at judgment."""
        torchvision_net.sampling(net, True)
        every = [list(range(i, min(i + self.batch, len(self.valid)))) for i in range(0, len(self.valid), self.batch)]
        told = [net.losses(images, targets) for images, targets in batches(self.valid, every, 0, True, self.device)]
        torchvision_net.sampling(net, False)
        return {f"{name}_loss": float(np.mean([float(one[name]) for one in told])) for name in told[0]} if told else {}

    def _keep(self, parts: Parts, state: dict[str, Any], epoch: int, value: float | None) -> dict[str, Any]:
        """Write last.pt and, where valid has spoken, best.pt and the `keep` best of all; returns the new state."""
        weights, best = self.out / "weights", list(state["best"])
        if value is not None:
            best = sorted([*best, [value, epoch + 1]], key=lambda pair: (-pair[0], pair[1]))[: max(1, self.config.keep)]
        state = {"epoch": epoch + 1, "best": best}
        told = current(parts).description | {"network": current(parts).state_dict()}
        if value is not None and [value, epoch + 1] in best:
            if best[0] == [value, epoch + 1]:
                write(weights / "best.pt", told)
            if self.config.keep:
                write(weights / f"epoch-{epoch + 1}.pt", told)
        write(weights / "last.pt", told | {"state": state} | {name: part.state_dict() for name, part in parts.items()})
        kept = {f"epoch-{number}.pt" for _, number in best}
        for old in weights.glob("epoch-*.pt"):
            if old.name not in kept:
                old.unlink()
        return state


def current(parts: Parts) -> Detector:
    """The network to judge by: of averaged weights, if there are any."""
    net: Detector = parts["average"].module if "average" in parts else parts["net"]
    return net


def make_optimizer(net: Detector, config: TorchvisionConfig) -> torch.optim.Optimizer:
    """The optimiser, with a group of parameters for each rate and weight decay that `config` asks for."""
    groups = parameter_groups(net, config)
    if config.optimizer == "SGD":
        return torch.optim.SGD(groups, config.lr, momentum=MOMENTUM)
    return {"AdamW": torch.optim.AdamW, "Adam": torch.optim.Adam}[config.optimizer](groups, config.lr)


def parameter_groups(net: Detector, config: TorchvisionConfig) -> Iterator[dict[str, Any]]:
    """Parameters by rate: the body's at backbone_lr x lr and, of its DEPTHS equal parts, the k-th from its end at layer_decay^k
    of that (Clark et al. 2020, arXiv:2003.10555); norms and biases do not decay.
    """
    body = list(net.backbone.body.parameters())
    own, deep = {id(parameter) for parameter in body}, config.layer_decay < 1
    for k, part in enumerate(np.array_split(np.arange(len(body)), DEPTHS if deep else 1)[::-1]):
        rate = config.lr * config.backbone_lr * config.layer_decay**k
        yield from decayed([body[i] for i in part], rate, config)
    yield from decayed([p for p in net.parameters() if id(p) not in own], config.lr, config)


def decayed(parameters: list[nn.Parameter], rate: float, config: TorchvisionConfig) -> Iterator[dict[str, Any]]:
    """Groups of parameters of one rate: those that decay, and norms and biases, which do not."""
    for group in timm.optim.param_groups_weight_decay(nn.ParameterList(parameters), config.weight_decay):
        yield {"params": group["params"], "weight_decay": group["weight_decay"], "lr": rate}


def mixed_precision(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 on a GPU that computes in it: it needs no scaling of the loss."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def stop_at_non_finite(loss: torch.Tensor, epoch: int, lr: float) -> None:
    """Raises FloatingPointError, with where it happened, when the loss is not a number."""
    if not torch.isfinite(loss):
        raise FloatingPointError(f"loss of epoch {epoch + 1}: got {float(loss)}, must be finite; lower --lr (now {lr})")


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside PATH, then rename: a kill leaves the old or the new."""
    beside = path.with_name(path.name + ".part")
    torch.save(content, beside)
    beside.replace(path)


def restore(parts: Parts, last: Path, config: TorchvisionConfig) -> dict[str, Any]:
    """Load checkpoint LAST into `parts` and return its state. Raises ValueError where it is damaged or of other settings."""
    checkpoint = torchvision_net.read(last, "--resume")
    begun, now = checkpoint["config"], asdict(config)
    for name in now:
        if begun.get(name) != now[name]:
            raise ValueError(
                f"--resume: {last} was begun with {name} {begun.get(name)}, now {now[name]}; pass the same, or --force"
            )
    for name, part in parts.items():
        part.load_state_dict(checkpoint[name])
    state: dict[str, Any] = checkpoint["state"]
    return state
