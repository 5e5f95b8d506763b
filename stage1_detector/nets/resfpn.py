"""ResFPN: a residual block after each output of a feature pyramid, before RoIAlign (system C).

Each level of the pyramid is a sum of two maps that one 3x3 convolution mixes; two more with a skip connection (He et al. 2016,
arXiv:1512.03385, eq. 1) refine a level and keep what it had.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

Norm = Callable[[int], nn.Module]


class Residual(nn.Module):
    """x + conv(relu(conv(x))), each convolution 3x3 and normalised; begins as the identity."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), norm(width), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), norm(width))
        weight = self.second[1].weight
        assert isinstance(weight, torch.Tensor)
        nn.init.zeros_(weight)  # so that the pyramid begins unchanged (Goyal et al. 2017, arXiv:1706.02677)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, H, W) -> the same shape."""
        return x + torch.as_tensor(self.second(self.first(x)))


class ResidualPyramid(nn.Module):
    """A neck and a Residual of its own after each of its `levels` outputs."""

    def __init__(self, neck: nn.Module, levels: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.neck = neck
        self.blocks = nn.ModuleList(Residual(width, norm) for _ in range(levels))

    def forward(self, maps: OrderedDict[str, torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
        """Maps of the backbone -> maps (B, width, H, W) of the pyramid, finest first."""
        pyramid = self.neck(maps)
        return OrderedDict((name, block(x)) for block, (name, x) in zip(self.blocks, pyramid.items(), strict=True))
