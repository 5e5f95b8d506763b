"""Several processes that train one network together, as torchrun starts them; a single process is the same with no others.

Each process takes its share of every batch, and what it adds to a loss is its share of the whole batch's loss: summed over the
processes, gradients and losses are those that one process computes on the same batch. Batch norm sees the whole batch too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from runs.torchrun import is_torchrun

TIMEOUT_HOURS = 2.0  # chosen: how long the others wait while the main process validates or writes
CONNECTION_LOST = ("connection closed", "connection reset", "broken pipe", "timed out", "timeout", "nccl", "gloo")
T = TypeVar("T")


class Distributed(NamedTuple):
    """This process is number `rank` of `world_size`."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that logs, validates and writes."""
        return self.rank == 0

    def shard(self, count: int) -> range:
        """Which of `count` photos of a batch are this process's, in order.

        >>> [list(Distributed(rank, 2).shard(5)) for rank in (0, 1)]
        [[0, 1, 2], [3, 4]]
        """
        return range(-(-count * self.rank // self.world_size), -(-count * (self.rank + 1) // self.world_size))

    def share_of_mean(self, count: float) -> float:
        """The factor by which a mean over this process's `count` items becomes its part of the mean over all processes' items.

        A process without items counts as one where its mean is a sum over 1, as losses have it; all processes must call.

        >>> SINGLE_PROCESS.share_of_mean(0), SINGLE_PROCESS.share_of_mean(5)
        (1.0, 1.0)
        """
        total = self.all_reduce_sums({"count": float(count)})["count"]
        return max(1.0, count) / max(1.0, total)

    def count_before(self, count: int) -> int:
        """How many items the processes of lower rank have, where this one has `count`."""
        return sum(self.all_gather(count)[: self.rank])

    def all_gather(self, value: T) -> list[T]:
        """The `value` of each process, in order of rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """The `value` of the main process, in every process."""
        if self.world_size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def all_reduce_sums(self, values: dict[str, float]) -> dict[str, float]:
        """For each name the sum over all processes."""
        if self.world_size == 1:
            return values
        sums = torch.tensor(list(values.values()), dtype=torch.float64, device=communication_device())
        dist.all_reduce(sums)
        return dict(zip(values, sums.tolist(), strict=True))

    def sum_with_gradient(self, value: torch.Tensor) -> torch.Tensor:
        """`value` (any shape) summed over all processes, through which each process's gradient reaches those of all."""
        return value if self.world_size == 1 else AllReduceSum.apply(value)

    def all_reduce_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Give every process the sum of all gradients; a gradient that is None in all processes stays None."""
        if self.world_size == 1:
            return
        has_gradient = [p.grad is not None for p in parameters]
        counts = torch.tensor(has_gradient, dtype=torch.float32, device=communication_device())
        dist.all_reduce(counts)
        learning = [p for p, count in zip(parameters, counts.tolist(), strict=True) if count]
        gradients = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        dist.all_reduce(gradients)
        for p, gradient in zip(learning, gradients.split([p.numel() for p in learning]), strict=True):
            p.grad = gradient.view_as(p)


SINGLE_PROCESS = Distributed()


def communication_device() -> torch.device:
    """Where tensors must lie that processes exchange: on the GPU for NCCL, else in main memory."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


@contextmanager
def distributed_training(device: str) -> Iterator[Distributed]:
    """The process group that torchrun's environment describes, for as long as the block takes; SINGLE_PROCESS without one.

    NCCL where there are GPUs and `device` is not cpu, else gloo. Raises ConnectionError where another process is gone.
    """
    if not is_torchrun():
        yield SINGLE_PROCESS
        return
    if device not in ("", "cpu", "cuda"):
        raise ValueError(f"--device: got {device!r} in {os.environ['WORLD_SIZE']} processes, must be left out, or cpu: each "
                         "takes the GPU of its own number")  # fmt: skip
    cuda = torch.cuda.is_available() and device != "cpu"
    if cuda:
        local_rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local_rank >= gpus:
            raise ValueError(
                f"torchrun: got {local_rank + 1} processes on this machine, it has {gpus} GPUs; start no more, or leave "
                "the GPUs out by CUDA_VISIBLE_DEVICES= before the command"
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=TIMEOUT_HOURS))
    distributed = Distributed(dist.get_rank(), dist.get_world_size())
    try:
        yield distributed
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in CONNECTION_LOST):
            raise ConnectionError(
                f"process {distributed.rank} of {distributed.world_size}: another process of this training is gone "
                f"({str(error).splitlines()[0]}); start all again, with --resume where an epoch was finished"
            ) from error
        raise
    finally:
        dist.destroy_process_group()


class AllReduceSum(torch.autograd.Function):
    """A tensor's sum over all processes, and of its gradient theirs; torch has deprecated its own."""

    @staticmethod
    def forward(context: Any, value: torch.Tensor) -> torch.Tensor:
        """The sum, in every process."""
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        """The gradients' sum: the total that each process goes on with depends on every process's value alike."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batch of all processes (Peng et al. 2018, arXiv:1711.07240), on any device: torch's wants GPUs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same, in training normalised by mean and variance over all processes' photos."""
        if not self.training:
            return super().forward(x)
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        dtype, x = x.dtype, x.float() - self.running_mean[:, None, None]  # squares of values near zero lose no precision
        count = x.new_tensor([x.numel() / x.shape[1]])
        totals = AllReduceSum.apply(torch.cat([x.sum((0, 2, 3)), (x * x).sum((0, 2, 3)), count]))  # (2 C + 1,)
        sums, squares, number = totals.split([x.shape[1], x.shape[1], 1])
        mean = sums / number
        variance = (squares / number - mean**2).clamp(min=0)
        with torch.no_grad():
            self.running_mean.add_(self.momentum * mean)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]).to(dtype)


class SyncBatchNormAct(SyncBatchNorm):
    """timm's batch norm with an activation (`BatchNormAct2d`), over the batch of all processes."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same, normalised and activated."""
        return self.act(self.drop(super().forward(x)))  # type: ignore[no-any-return]


SYNC_BATCH_NORMS: dict[type[nn.Module], type[SyncBatchNorm]] = {
    nn.BatchNorm2d: SyncBatchNorm, BatchNormAct2d: SyncBatchNormAct, SyncBatchNorm: SyncBatchNorm,
    SyncBatchNormAct: SyncBatchNormAct,
}  # fmt: skip


def with_sync_batch_norm(network: nn.Module, distributed: Distributed) -> nn.Module:
    """`network` with batch norms over the batch of all processes, changed in place; unchanged in a single process.

    Raises ValueError for a kind of batch norm that would see this process's part of the batch alone.
    """
    if distributed.world_size > 1:
        for name, module in network.named_modules():
            if type(module) in SYNC_BATCH_NORMS:
                module.__class__ = SYNC_BATCH_NORMS[type(module)]  # the same parameters and buffers
            elif isinstance(module, _BatchNorm):
                allowed = ", ".join(kind.__name__ for kind in (nn.BatchNorm2d, BatchNormAct2d))
                raise ValueError(
                    f"batch norm of {distributed.world_size} processes: got {type(module).__name__} in {name}, "
                    f"must be {allowed}; train this network in one process"
                )
    return network
