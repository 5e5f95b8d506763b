"""The state of a training between two epochs, to the last bit: what ultralytics' checkpoint rounds to 16 bits or leaves out.

Its last.pt holds the averaged weights and momenta in half precision, and not the weights that learn: a training resumed
from it alone goes on from other weights than it had. OUT/weights/exact-EPOCH.pt lies beside the last.pt of that epoch.
"""

from pathlib import Path
from typing import Any

import torch
from ultralytics.utils.torch_utils import unwrap_model

from runs import checkpoint

PATTERN = "exact-*.pt"
KEPT = frozenset({"step", "exp_avg", "exp_avg_sq", "square_avg"})  # taken: of an optimiser's tensors, those it does not round
TEACHER = "teacher_model."  # of a student's tensors, those of its teacher, which do not change


def path_of(weights: Path, epoch: int) -> Path:
    """Where the state after `epoch`, counted from 0, lies in a run's folder WEIGHTS."""
    return weights / PATTERN.replace("*", str(epoch))


def write(trainer: Any, weights: Path) -> None:
    """Write the state after the trainer's epoch into WEIGHTS, beside those of others: last.pt is still of one of them."""
    parts = {name: tensors(network) for name, network in networks(trainer).items()}
    optimizer = trainer.optimizer.state_dict() if is_rounded(trainer.optimizer) else None
    checkpoint.write(path_of(weights, trainer.epoch), parts | {"optimizer": optimizer})


def keep_only(weights: Path, epoch: int | None) -> None:
    """Remove from WEIGHTS the states of all epochs but this one; None: of all."""
    for path in weights.glob(PATTERN):
        if epoch is None or path != path_of(weights, epoch):
            path.unlink()


def restore(trainer: Any, weights: Path, epoch: int) -> bool:
    """Give the trainer, which has resumed from the last.pt of `epoch`, the state that belongs to it.

    False where WEIGHTS has none, or one of another last.pt. ValueError for a damaged one.
    """
    path = path_of(weights, epoch)
    if not path.is_file():
        return False
    state = checkpoint.read(path, "--resume", frozenset({*networks(trainer), "optimizer"}))
    if not is_of(state["average"], trainer.ema.ema):
        return False
    for name, network in networks(trainer).items():
        missing, unexpected = network.load_state_dict(state[name], strict=False)
        assert not unexpected and all(tensor.startswith(TEACHER) for tensor in missing)
    if state["optimizer"] is not None:
        for group, now in zip(state["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True):
            group["fused"] = now.get("fused")  # this machine chooses the kernel, as in ultralytics
        trainer.optimizer.load_state_dict(state["optimizer"])
    return True


def is_of(average: dict[str, torch.Tensor], resumed: torch.nn.Module) -> bool:
    """Whether the weights that were `resumed`, of 16 bits, are this `average` rounded."""
    rounded = tensors(unwrap_model(resumed))
    return average.keys() == rounded.keys() and all(
        torch.equal(value.half(), rounded[name].cpu().half()) for name, value in average.items()
    )


def is_rounded(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ultralytics' checkpoint holds less than all of it: not of Adam and its kin."""
    return any(name not in KEPT for tensors in optimizer.state.values() for name in tensors)


def networks(trainer: Any) -> dict[str, torch.nn.Module]:
    """The weights that learn and their average."""
    return {"network": unwrap_model(trainer.model), "average": unwrap_model(trainer.ema.ema)}


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of `network` but its teacher's."""
    return {name: value for name, value in network.state_dict().items() if not name.startswith(TEACHER)}
