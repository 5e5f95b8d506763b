"""Several processes that train one network together, as torchrun starts them; alone, a crew of one.

Each takes its part of every batch, and what it adds to a loss is its share of the whole batch's: sums over the crew, of
gradients as of losses, are what one process finds on the same batch. Batch norm looks at the whole batch too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import nn

HOURS = 2.0  # chosen: how long the others wait while the first looks at valid or writes
LOST = ("connection closed", "connection reset", "broken pipe", "timed out", "timeout", "nccl", "gloo")
Any_ = TypeVar("Any_")


class Crew(NamedTuple):
    """This process is number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one speaks, looks at valid and writes."""
        return self.rank == 0

    def part(self, count: int) -> range:
        """Which of `count` photos of a batch are this process's, in order.

        >>> [list(Crew(rank, 2).part(5)) for rank in (0, 1)]
        [[0, 1, 2], [3, 4]]
        """
        return range(-(-count * self.rank // self.size), -(-count * (self.rank + 1) // self.size))

    def every(self, mine: Any_) -> list[Any_]:
        """What each process has, in order."""
        if self.size == 1:
            return [mine]
        whole: list[Any] = [None] * self.size
        dist.all_gather_object(whole, mine)
        return whole

    def first(self, value: Any_) -> Any_:
        """What the first process has."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def sums(self, values: dict[str, float]) -> dict[str, float]:
        """Of each name, the sum over all processes."""
        if self.size == 1:
            return values
        whole = torch.tensor(list(values.values()), dtype=torch.float64, device=home())
        dist.all_reduce(whole)
        return dict(zip(values, whole.tolist(), strict=True))

    def share_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Let every process have the sum of all gradients; one that is nowhere stays None."""
        if self.size == 1:
            return
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=home())
        dist.all_reduce(there)
        learning = [p for p, some in zip(parameters, there.tolist(), strict=True) if some]
        whole = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        dist.all_reduce(whole)
        for p, grad in zip(learning, whole.split([p.numel() for p in learning]), strict=True):
            p.grad = grad.view_as(p)


ALONE = Crew()


def home() -> torch.device:
    """Where tensors must lie that a crew exchanges."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


@contextmanager
def begun(device: str) -> Iterator[Crew]:
    """The crew that torchrun's environment speaks of, for as long as the block takes; ALONE without one.

    NCCL where there are GPUs and `device` is not cpu, else gloo. Raises ConnectionError where another process is gone.
    """
    if "RANK" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    cuda = torch.cuda.is_available() and device != "cpu"
    if cuda:
        local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= there:
            raise ValueError(f"torchrun: got {local + 1} processes on this machine, it has {there} GPUs; or pass --device cpu")
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=HOURS))
    crew = Crew(dist.get_rank(), dist.get_world_size())
    try:
        yield crew
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in LOST):
            raise ConnectionError(
                f"process {crew.rank} of {crew.size}: another process of this training is gone ({str(error).splitlines()[0]}); "
                "start all again, with --resume where an epoch was finished"
            ) from error
        raise
    finally:
        dist.destroy_process_group()


class Sum(torch.autograd.Function):
    """A tensor's sum over all processes, and of its gradient theirs; torch has deprecated its own."""

    @staticmethod
    def forward(context: Any, mine: torch.Tensor) -> torch.Tensor:
        """The sum, in each process."""
        whole = mine.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: Any, grad: torch.Tensor) -> torch.Tensor:
        """What each process makes of the sum depends on every part alike."""
        whole = grad.clone()
        dist.all_reduce(whole)
        return whole


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the whole crew's batch (Peng et al. 2018, arXiv:1711.07240), on any device: torch's own wants GPUs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same, normalised by mean and variance over all processes' photos while it trains."""
        if not self.training:
            return super().forward(x)
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        kind, x = x.dtype, x.float() - self.running_mean[:, None, None]  # what is near zero has small squares
        count = x.new_tensor([x.numel() / x.shape[1]])
        whole = Sum.apply(torch.cat([x.sum((0, 2, 3)), (x * x).sum((0, 2, 3)), count]))  # (2 C + 1,)
        sums, squares, number = whole.split([x.shape[1], x.shape[1], 1])
        mean = sums / number
        variance = (squares / number - mean**2).clamp(min=0)
        with torch.no_grad():
            self.running_mean.add_(self.momentum * mean)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]).to(kind)


def with_shared_norms(net: nn.Module, crew: Crew) -> nn.Module:
    """`net` with batch norms that look at the whole crew's batch; in place."""
    if crew.size > 1:
        for one in net.modules():
            if type(one) is nn.BatchNorm2d:
                one.__class__ = SharedBatchNorm  # the same parameters and buffers
    return net
