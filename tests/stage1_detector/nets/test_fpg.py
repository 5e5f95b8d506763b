"""The grid against a slow one written with numpy from the paper's five arrows, counts by hand, and the ONNX file."""

import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from stage1_detector.nets.fpg import FeaturePyramidGrid, Grid, Node, joins


def maps(height: int, width: int, channels: list[int], batch: int = 1, seed: int = 0) -> OrderedDict[str, torch.Tensor]:
    """Backbone maps of random values, halved with rounding up, as stride-2 convolutions do."""
    draw = torch.Generator().manual_seed(seed)
    out = OrderedDict()
    for i, count in enumerate(channels):
        out[str(i)] = torch.randn(batch, count, height, width, generator=draw)
        height, width = (height + 1) // 2, (width + 1) // 2
    return out


def plain(grid: nn.Module) -> nn.Module:
    """Let each convolution of one channel take the middle pixel of its window as it is: the sums of arrows can then be seen."""
    for layer in grid.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)
    return grid


def slow_grid(first: list[np.ndarray], pathways: int, contracted: bool = False, across_up: bool = True) -> list[np.ndarray]:
    """The maps (H, W) of the last pathway, when each arrow is ReLU and the middle pixel."""
    levels, before = len(first), first
    for pathway in range(1, pathways + 1):
        here: list[np.ndarray] = []
        for i in range(levels):
            # the triangle: in pathway 1 only the coarsest level, one more in each further, all in the last
            if contracted and i < levels - pathway and pathway < pathways:
                here.append(before[i])
                continue
            height, width = first[i].shape
            fused = first[i] + np.maximum(before[i], 0)
            if i > 0:
                fused = fused + np.maximum(here[i - 1], 0)[::2, ::2]
                fused = fused + across_up * np.maximum(before[i - 1], 0)[::2, ::2]
            if i < levels - 1:
                fused = fused + np.maximum(before[i + 1], 0).repeat(2, 0).repeat(2, 1)[:height, :width]
            here.append(fused)
        before = here
    return [np.maximum(one, 0) for one in before]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"levels": 2}, r"levels: got 2, must be at least the 3 maps"), ({"pathways": 0}, r"pathways: got 0, must be at least 1")],
    ids=["fewer levels than maps", "no pathway"],
)
def test_a_grid_that_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeaturePyramidGrid([3, 5, 7], 4, grid=Grid(**arguments))


@pytest.mark.parametrize("contracted", [True, False], ids=["contracted", "whole"])
@pytest.mark.parametrize(
    ("height", "width", "batch"),
    [(32, 48, 1), (33, 47, 1), (1, 1, 1), (17, 5, 3), (16, 16, 0)],
    ids=["even", "odd", "one pixel", "several photos", "no photo"],
)
def test_every_level_keeps_its_size(height: int, width: int, batch: int, contracted: bool) -> None:
    grid = FeaturePyramidGrid([3, 5, 7], 4, grid=Grid(5, 3, contracted))
    given = maps(height, width, [3, 5, 7], batch)
    out = grid(given)
    assert list(out) == ["0", "1", "2", "extra0", "extra1"]
    for i, one in enumerate(out.values()):
        assert one.shape == (batch, 4, -(-height // 2**i), -(-width // 2**i))


def test_the_arrows_by_hand() -> None:
    """One pathway over a = 1 (4 x 4) and b (2 x 2).

    Finer: skip 1 + same 1 + down relu(b). Coarser: skip b + same relu(b) + SameUp of the finer result + AcrossUp 1.
    For b = 10: 12 and 10 + 10 + 12 + 1 = 33. For b = -10: 2 and -10 + 0 + 2 + 1 = -7, which the last ReLU makes 0.
    """
    grid = plain(FeaturePyramidGrid([1, 1], 1, grid=Grid(2, 1)))
    for b, finer, coarser in ((10.0, 12.0, 33.0), (-10.0, 2.0, 0.0)):
        given = OrderedDict(p=torch.ones(1, 1, 4, 4), q=torch.full((1, 1, 2, 2), b))
        out = grid(given)
        assert torch.equal(out["p"], torch.full((1, 1, 4, 4), finer))
        assert torch.equal(out["q"], torch.full((1, 1, 2, 2), coarser))


@pytest.mark.parametrize("across_up", [True, False], ids=["with AcrossUp", "without"])
@pytest.mark.parametrize("contracted", [True, False], ids=["contracted", "whole"])
@pytest.mark.parametrize(("height", "width", "pathways"), [(16, 24, 5), (13, 9, 4), (11, 6, 2)], ids=["even", "odd", "few"])
def test_the_grid_is_the_papers(height: int, width: int, pathways: int, contracted: bool, across_up: bool) -> None:
    grid = plain(FeaturePyramidGrid([1, 1, 1, 1], 1, grid=Grid(4, pathways, contracted, across_up)))
    given = maps(height, width, [1, 1, 1, 1], seed=height)
    slow = slow_grid([one[0, 0].numpy() for one in given.values()], pathways, contracted, across_up)
    for ours, theirs in zip(grid(given).values(), slow, strict=True):
        np.testing.assert_allclose(ours[0, 0].detach(), theirs, rtol=1e-5, atol=1e-5)


def test_missing_levels_come_from_the_last_map_by_stride_2() -> None:
    grid = plain(FeaturePyramidGrid([1], 1, grid=Grid(3, 2)))
    given = maps(9, 10, [1])
    one = given["0"][0, 0].numpy()
    slow = slow_grid([one, one[::2, ::2], one[::2, ::2][::2, ::2]], 2, contracted=True)
    for ours, theirs in zip(grid(given).values(), slow, strict=True):
        np.testing.assert_allclose(ours[0, 0].detach(), theirs, rtol=1e-5, atol=1e-5)


def test_parameters_by_hand() -> None:
    """Width 1, two levels, one pathway. In: 3 + 1 and 5 + 1. Finer: 1 x 1 is 2, 3 x 3 is 10. Coarser: 2 + 10 + 10. Out: 20.

    A norm (BatchNorm: 2 numbers) takes the place of the biases of the 5 convolutions within: 64 - 5 + 10.
    """
    grids = [FeaturePyramidGrid([3, 5], 1, norm, Grid(2, 1)) for norm in (None, nn.BatchNorm2d)]
    count = [sum(p.numel() for p in grid.parameters()) for grid in grids]
    assert count == [10 + 12 + 22 + 20, 69]


def test_the_contracted_grid_lacks_the_triangle() -> None:
    """Of 5 x 9 nodes it lacks the 4 + 3 + 2 + 1 of fine levels in early pathways; the last pathway has all, however few."""
    nodes = {
        c: sum(isinstance(m, Node) for m in FeaturePyramidGrid([4], 1, grid=Grid(contracted=c)).modules())
        for c in (True, False)
    }
    assert nodes == {True: 35, False: 45}
    assert [joins(level, 5, 1) for level in range(5)] == [0] * 5


@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d], ids=["no norm", "norm"])
def test_nine_pathways_keep_the_scale_and_every_weight_learns(norm: type[nn.Module] | None) -> None:
    torch.manual_seed(0)
    grid = FeaturePyramidGrid([8, 8, 8], 16, norm=norm)
    out = grid(maps(33, 47, [8, 8, 8], 2))
    assert all(0.05 < one.detach().std().item() < 20 for one in out.values())
    sum(one.square().mean() for one in out.values()).backward()
    for name, weight in grid.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0 or name.endswith("bias"), name


class Listed(nn.Module):
    """A grid that takes and gives maps in order, as ONNX does."""

    def __init__(self, grid: nn.Module) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.grid(OrderedDict((str(i), one) for i, one in enumerate(given))).values())


def test_onnx_does_the_same_at_another_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, names = Listed(FeaturePyramidGrid([3, 5], 4, nn.BatchNorm2d, Grid(4, 3))).eval(), ["a", "b"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter calls itself legacy
        torch.onnx.export(
            net, tuple(maps(16, 24, [3, 5]).values()), str(tmp_path / "grid.onnx"), opset_version=17, dynamo=False,
            input_names=names, dynamic_axes={name: {0: "batch", 2: f"h{name}", 3: f"w{name}"} for name in names},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "grid.onnx"), providers=["CPUExecutionProvider"])
    for height, width, batch in ((16, 24, 1), (37, 21, 2), (64, 6, 1)):
        given = list(maps(height, width, [3, 5], batch, seed=1).values())
        theirs = session.run(None, {name: one.numpy() for name, one in zip(names, given, strict=True)})
        with torch.no_grad():
            ours = net(*given)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
