"""Feature Pyramid Grids (Chen et al. 2020, arXiv:2004.03580): several pyramids side by side, each fed by the one before.

A grid of maps: its rows are levels, finest first, its columns are pathways. The first pathway is the backbone. In each
further one a map is the sum of what arrives from its neighbours:

    SameUp      the finer map of the same pathway        3 x 3, stride 2
    AcrossSame  the same level one pathway before        1 x 1
    AcrossUp    the finer level one pathway before       3 x 3, stride 2
    AcrossDown  the coarser level one pathway before     nearest neighbour to this map's size, then 3 x 3
    AcrossSkip  the same level of the first pathway      as it is

Of the paper: the five arrows, their sum, 9 pathways, the contracted form. Of mmdetection's config, where the paper is not at
hand: ReLU before and norm after each convolution, a last ReLU and 3 x 3 on every level, stride-2 convolutions for the levels
the backbone lacks. Other than in that config: AcrossUp is on (there off), AcrossSkip has no convolution (there 1 x 1), and
weights start as torch draws them, so that a grid without norm keeps its maps at one scale.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

PATHWAYS = 9  # taken: the paper's
Norm = Callable[[int], nn.Module] | None


@dataclass(frozen=True)
class Grid:
    """Which maps a grid has: `levels` of each pathway, and `pathways` beyond the backbone's own.

    `contracted` leaves out the triangle of fine levels in early pathways, which costs most: a level joins one pathway after
    the next coarser one, and all have joined in the last. `across_up` is whether there are the arrows of that name.

    Raises ValueError for no pathway.
    """

    levels: int = 5
    pathways: int = PATHWAYS
    contracted: bool = True
    across_up: bool = True

    def __post_init__(self) -> None:
        if self.pathways < 1:
            raise ValueError(f"pathways: got {self.pathways}, must be at least 1")

    def has_node(self, level: int, pathway: int) -> bool:
        """Whether there is a map of its own at `level` of `pathway`; else it is the map of the pathway before."""
        return not self.contracted or pathway >= joins(level, self.levels, self.pathways)


FULL_GRID = Grid()


class FeaturePyramidGrid(nn.Module):
    """Maps of `width` channels on each level of `grid` from the backbone's maps, of `in_channels`.

    `norm` makes a layer for so many channels; None: no norm. Raises ValueError for fewer levels than backbone maps.
    """

    def __init__(self, in_channels: list[int], width: int, norm: Norm = None, grid: Grid = FULL_GRID) -> None:
        super().__init__()
        levels = grid.levels
        if levels < len(in_channels):
            raise ValueError(f"levels: got {levels}, must be at least the {len(in_channels)} maps of the backbone")
        self.entries = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        missing = levels - len(in_channels)  # levels that the backbone lacks
        self.coarser = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(missing))
        self.grid = nn.ModuleList()
        for pathway in range(grid.pathways):
            nodes = [
                Node(level, levels, width, norm, grid.across_up) if grid.has_node(level, pathway) else Through(level)
                for level in range(levels)
            ]
            self.grid.append(nn.ModuleList(nodes))
        self.exits = nn.ModuleList(arrow(width, 3, 1, None) for _ in range(levels))

    def forward(self, maps: OrderedDict[str, torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
        """Maps (B, in_channels[i], H_i, W_i), finest first, each half the one before, rounded up -> (B, width, H_i, W_i).

        Names are kept; the levels the backbone lacks are called extra0, extra1, ...
        """
        first = [entry(x) for entry, x in zip(self.entries, maps.values(), strict=True)]
        for halve in self.coarser:
            first.append(halve(first[-1]))
        previous = first
        for pathway in self.grid:
            current: list[torch.Tensor] = []
            for node in pathway:
                current.append(node(current, previous, first))
            previous = current
        names = [*maps, *(f"extra{i}" for i in range(len(self.coarser)))]
        return OrderedDict((name, leave(x)) for name, leave, x in zip(names, self.exits, previous, strict=True))


class Node(nn.Module):
    """The map of one level of one pathway: the sum of the arrows that end there."""

    def __init__(self, level: int, levels: int, width: int, norm: Norm, across_up: bool) -> None:
        super().__init__()
        self.level = level
        self.across_same = arrow(width, 1, 1, norm)
        self.same_up = arrow(width, 3, 2, norm) if level > 0 else None
        self.across_up = arrow(width, 3, 2, norm) if level > 0 and across_up else None
        self.across_down = arrow(width, 3, 1, norm) if level < levels - 1 else None

    def forward(self, current: list[torch.Tensor], previous: list[torch.Tensor], first: list[torch.Tensor]) -> torch.Tensor:
        """From the finer maps of this pathway, all of the one before, all of the first -> (B, width, H, W) of the level."""
        fused = first[self.level] + self.across_same(previous[self.level])  # (B, width, H, W)
        if self.same_up is not None:
            fused = fused + self.same_up(current[self.level - 1])
        if self.across_up is not None:
            fused = fused + self.across_up(previous[self.level - 1])
        if self.across_down is not None:
            coarser = nn.functional.interpolate(previous[self.level + 1], size=fused.shape[-2:], mode="nearest")
            fused = fused + self.across_down(coarser)
        return fused


class Through(nn.Module):
    """Where a contracted grid has no node: the map of the pathway before."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def forward(self, current: list[torch.Tensor], previous: list[torch.Tensor], first: list[torch.Tensor]) -> torch.Tensor:
        return previous[self.level]


def arrow(width: int, kernel: int, stride: int, norm: Norm) -> nn.Sequential:
    """ReLU, convolution, norm; the convolution has a bias only where no norm follows."""
    layers: list[nn.Module] = [nn.ReLU()]
    layers.append(nn.Conv2d(width, width, kernel, stride, padding=kernel // 2, bias=norm is None))
    return nn.Sequential(*layers, *([] if norm is None else [norm(width)]))


def joins(level: int, levels: int, pathways: int) -> int:
    """The first pathway in which a contracted grid has a node at `level`.

    >>> [joins(level, 5, 9) for level in range(5)]
    [4, 3, 2, 1, 0]
    >>> [joins(level, 5, 3) for level in range(5)]
    [2, 2, 2, 1, 0]
    """
    return min(levels - 1 - level, pathways - 1)
