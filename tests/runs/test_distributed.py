"""Processes that train together: parts that make a whole, batch norm and gradients of the whole batch."""

import pytest
import torch
from processes import RUNTIMES, run_in_processes
from timm.layers import BatchNormAct2d
from torch import nn

from runs.distributed import SINGLE_PROCESS, Distributed, SyncBatchNorm, distributed_training, with_sync_batch_norm

Tensors = dict[str, torch.Tensor]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 7, 16])
def test_parts_cover_all_once_in_order_and_differ_by_one(size: int, count: int) -> None:
    parts = [Distributed(rank, size).shard(count) for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert count < size or min(map(len, parts)) > 0


def test_alone_nothing_is_exchanged() -> None:
    layer = nn.Linear(2, 1)
    SINGLE_PROCESS.all_reduce_gradients(list(layer.parameters()))
    assert SINGLE_PROCESS.is_main and SINGLE_PROCESS.all_gather(3) == [3] and SINGLE_PROCESS.broadcast(3) == 3
    assert SINGLE_PROCESS.all_reduce_sums({"a": 1.5}) == {"a": 1.5}
    assert SINGLE_PROCESS.share_of_mean(3) == 1 and SINGLE_PROCESS.count_before(3) == 0
    assert layer.weight.grad is None
    norm = with_sync_batch_norm(nn.Sequential(nn.BatchNorm2d(3)), SINGLE_PROCESS)[0]
    assert type(norm) is nn.BatchNorm2d


def exchanged(distributed: Distributed) -> tuple[object, ...]:
    """What each process receives, and the gradients of four parameters after they were shared."""
    four = [nn.Parameter(torch.zeros(2, 3)) for _ in range(4)]
    four[0].grad = torch.full((2, 3), 1.0 + distributed.rank)  # both
    four[1].grad = torch.arange(6.0).view(2, 3) if distributed.rank == 0 else None  # the first alone
    four[2].grad = torch.ones(2, 3) if distributed.rank == 1 else None  # the second alone
    distributed.all_reduce_gradients(four)
    told = [
        distributed.all_gather(f"of {distributed.rank}"),
        distributed.broadcast(distributed.rank),
        distributed.all_reduce_sums({"b": distributed.rank + 0.5, "a": 1e-9}),
        [distributed.count_before(n) for n in (3 + distributed.rank, 0)],
        [distributed.share_of_mean(n) for n in (3 * distributed.rank, 1, 3 - distributed.rank, 0)],
    ]
    return told, [None if one.grad is None else one.grad.tolist() for one in four]


def divided(distributed: Distributed, values: torch.Tensor) -> tuple[float, torch.Tensor]:
    """A process's part of sum(values^2) / sum(values), and the gradient of its own values."""
    mine = distributed.shard(len(values))
    own = values[mine.start : mine.stop].clone().requires_grad_()
    part = (own**2).sum() / distributed.sum_with_gradient(own.sum())
    part.backward()
    return part.item(), own.grad


def normed(distributed: Distributed, images: torch.Tensor, wanted: torch.Tensor, half: bool) -> Tensors:
    """A process's part of `images` through batch norm and what comes of it; `half`: in mixed precision."""
    first, second = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 1, bias=False)
    net = nn.Sequential(first, nn.BatchNorm2d(4, momentum=0.3), nn.ReLU(), second, BatchNormAct2d(4, act_layer=nn.GELU))
    torch.manual_seed(0)
    for one in net.parameters():
        nn.init.normal_(one)
    net = with_sync_batch_norm(net, distributed)
    assert distributed.world_size == 1 or isinstance(net[1], SyncBatchNorm)
    mine = distributed.shard(len(images))
    shown = images[mine.start : mine.stop].clone().requires_grad_()
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made = net(shown)
        loss = ((made.float() - wanted[mine.start : mine.stop]) ** 2).sum()
    loss.backward()
    distributed.all_reduce_gradients(list(net.parameters()))
    told = {f"gradient of {name}": one.grad for name, one in net.named_parameters()}
    told |= {name: one.detach().clone() for name, one in net.named_buffers()}
    told |= {"as judged": net.eval()(images).detach()}
    return told | {"made": made.detach(), "gradient": shown.grad, "type": torch.tensor(made.dtype == torch.bfloat16)}


def shown(mean: float) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(5, 3, 9, 7, generator=draw) + mean, torch.randn(5, 4, 7, 5, generator=draw)


def everything(distributed: Distributed) -> tuple[object, ...]:
    """One start of processes for all tests: it takes seconds."""
    normed_parts = [normed(distributed, *shown(mean), half) for mean, half in CASES]
    return exchanged(distributed), normed_parts, divided(distributed, VALUES)


VALUES = torch.tensor([1.0, 2.0, 4.0])
CASES = [(0.0, False), (30.0, False), (0.0, True)]


@pytest.fixture(scope="module", params=RUNTIMES, ids=str)
def both(request: pytest.FixtureRequest) -> list[tuple[object, ...]]:
    """What two processes make of `everything`."""
    return run_in_processes(everything, runtime=request.param)


@pytest.mark.slow
def test_all_hear_the_same_and_have_the_sum_of_all_gradients(both: list) -> None:
    for rank, ((told, gradients), *_) in enumerate(both):
        assert told[:3] == [["of 0", "of 1"], 0, {"b": 2.0, "a": 2e-9}]
        assert told[3] == [[0, 0], [3, 0]][rank], "items of the processes before"
        assert told[4] == [[1 / 3, 0.5, 0.6, 1.0], [1.0, 0.5, 0.4, 1.0]][rank], "shares of 0 + 3, 1 + 1, 3 + 2 and no items"
        assert gradients == [[[3.0] * 3] * 2, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], [[1.0] * 3] * 2, None]


@pytest.mark.slow
@pytest.mark.parametrize("case", range(len(CASES)), ids=["three photos and two", "far from zero", "mixed precision"])
def test_batch_norm_is_that_of_the_whole_batch(both: list, case: int) -> None:
    mean, half = CASES[case]
    whole, parts = normed(SINGLE_PROCESS, *shown(mean), half), [made[case] for _, made, _ in both]
    close = {"rtol": 0.05, "atol": 0.5} if half else {"rtol": 1e-4, "atol": 1e-3 if mean else 1e-4}
    for name, value in whole.items():
        if name in ("made", "gradient"):
            torch.testing.assert_close(torch.cat([part[name] for part in parts]), value, **close)
        else:
            for part in parts:
                torch.testing.assert_close(part[name], value, **close, msg=lambda told, name=name: f"{name}: {told}")


@pytest.mark.slow
def test_a_gradient_goes_through_a_sum_over_processes(both: list) -> None:
    """Of f = S2 / S1, S2 = 21, S1 = 7: f = 3 and df/dx = 2 x / S1 - S2 / S1^2."""
    parts, gradients = zip(*(made for *_, made in both), strict=True)
    assert sum(parts) == pytest.approx(3)
    torch.testing.assert_close(torch.cat(gradients), 2 * VALUES / 7 - 21 / 49)


def test_a_batch_norm_that_would_see_a_part_of_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="got BatchNorm1d in 0, must be BatchNorm2d, BatchNormAct2d"):
        with_sync_batch_norm(nn.Sequential(nn.BatchNorm1d(3)), Distributed(0, 2))


def test_a_device_that_all_processes_would_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with (
        pytest.raises(ValueError, match="--device: got '1' in 2 processes, must be left out, or cpu"),
        distributed_training("1"),
    ):
        pass
