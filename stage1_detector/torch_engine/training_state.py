"""What a training changes as it goes, and what of it is kept, so that a stopped run goes on as if it had never been stopped.

Beside last.pt there are best.pt, of the epoch with the best score on valid, and epoch-N.pt of the `keep` best epochs.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import timm.utils
import torch
from torch import nn

from runs import checkpoint
from runs.distributed import Distributed
from runs.normalisation import refuse_other
from stage1_detector.config import LoopConfig
from stage1_detector.torch_engine.optimizers import make_optimizer
from stage1_detector.torch_engine.schedules import SCHEDULES, factor

Targets = list[dict[str, torch.Tensor]]


class Learner(Protocol):
    """What the loop trains: a module whose losses are summed.

    `feature_extractor` has a learning rate of its own. `description` and the state of `inference_network`, which is what is
    scored on valid, make a checkpoint that can be loaded. `enable_eval_losses` is called around losses in evaluation mode.

    `distributed` are the processes that share each batch in training; the loop sets it. There `losses` are this process's part:
    summed over the processes, those of one process on the whole batch. `batch` are the photos of a batch, fewer than the
    settings' where memory ran out; the loop sets it too.
    """

    description: dict[str, Any]
    distributed: Distributed
    batch: int

    @property
    def feature_extractor(self) -> nn.Module: ...

    @property
    def inference_network(self) -> nn.Module: ...

    def losses(self, images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]: ...

    def enable_eval_losses(self, on: bool) -> None: ...


class TrainingState:
    """The learner, its optimiser and learning rate, its averaged weights if any, the epochs done, and the best of them."""

    def __init__(self, learner: Any, config: LoopConfig, epochs: int, steps: int) -> None:
        """`learner` is a Learner and a module; `epochs` of `steps` steps each will be trained."""
        self.learner, self.config = learner, config
        self.optimizer = make_optimizer(learner, config)
        lr_factor = partial(
            factor, SCHEDULES[config.schedule], total=epochs * steps, warmup=round(config.warmup_epochs * steps),
            end=config.lr_end,
        )  # fmt: skip
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lr_factor)
        self.average = timm.utils.ModelEmaV3(learner, decay=config.ema, use_warmup=True) if config.ema else None
        self.epochs_done = 0
        self.best: list[list[float]] = []  # [score, epoch from 1], the best first

    @property
    def evaluated(self) -> Any:
        """The learner to validate and keep: of averaged weights, if there are any."""
        return self.learner if self.average is None else self.average.module

    @property
    def lr(self) -> float:
        """The learning rate of the next step, outside the feature extractor."""
        return self.scheduler.get_last_lr()[-1]

    @property
    def has_stalled(self) -> bool:
        """Whether the best epoch is `patience` epochs ago. One that found nothing counts not: a DETR begins with many such."""
        if not (self.config.patience and self.best) or self.best[0][0] <= 0:
            return False
        return bool(self.epochs_done - self.best[0][1] >= self.config.patience)

    def step(self, distributed: Distributed) -> None:
        """One step of the optimiser, on the gradients of all processes."""
        distributed.all_reduce_gradients(list(self.learner.parameters()))
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        if self.average is not None:
            self.average.update(self.learner, step=self.scheduler.last_epoch)

    def end_epoch(self, weights: Path, score: float | None) -> None:
        """Count an epoch, of this score on valid, None where it was not validated, and write its checkpoints into WEIGHTS."""
        self.epochs_done += 1
        epoch = [score, self.epochs_done]
        if score is not None:
            ranked = sorted([*self.best, epoch], key=lambda pair: (-pair[0], pair[1]))
            self.best = ranked[: max(1, self.config.keep)]
        network = self.evaluated.description | {"network": self.evaluated.inference_network.state_dict()}
        if epoch in self.best:
            if self.best[0] == epoch:
                checkpoint.write(weights / "best.pt", network)
            if self.config.keep:
                checkpoint.write(weights / f"epoch-{self.epochs_done}.pt", network)
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        state = {"epoch": self.epochs_done, "best": self.best}
        checkpoint.write(weights / "last.pt", network | {"state": state} | parts)
        kept = {f"epoch-{number}.pt" for _, number in self.best}
        for path in weights.glob("epoch-*.pt"):
            if path.name not in kept:
                path.unlink()

    def restore(self, last: Path) -> None:
        """Go on from the checkpoint LAST. Raises ValueError where it is damaged or was begun with other settings."""
        content = checkpoint.read(last, "--resume")
        checkpoint.refuse_other_settings(last, {"shrinking": "linear"} | content["config"], asdict(self.config))
        if "normalisation" in self.learner.description:
            refuse_other("--resume", last, content, self.learner.description["normalisation"])
        for name, part in self._parts().items():
            part.load_state_dict(content[name])
        self.epochs_done, self.best = content["state"]["epoch"], content["state"]["best"]

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        parts = {"net": self.learner, "optimizer": self.optimizer, "rate": self.scheduler}
        return parts if self.average is None else parts | {"average": self.average}
