"""Anchors of a pyramid: torchvision's, or fitted to the boxes that there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from photos.data import Photo
from stage1_detector.config import TorchvisionConfig

RATIOS = (0.5, 1.0, 2.0)  # taken: torchvision's, height / width
SIZES = {"rcnn": 8.0, "retinanet": 4.0}  # taken: torchvision's, side / stride
OCTAVES = {"rcnn": (1.0,), "retinanet": (1.0, 2 ** (1 / 3), 2 ** (2 / 3))}  # taken: torchvision's, sizes on each level
OUTLIERS = 0.05  # chosen: share of the smallest and of the largest boxes, and of either end of the ratios, not fitted to
MOST_RATIO = 10.0  # chosen: fitted ratios lie between 1 / MOST_RATIO and MOST_RATIO; a shelf's packages are no narrower
MIN_SIDE = 1.0  # chosen: canvas pixels that a side is counted as at least, so that ratios are finite


@dataclass(frozen=True)
class Anchors:
    """The sizes of anchors (square root of area, canvas pixels) on each level, and their ratios height / width."""

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...]

    def generator(self, strides: tuple[int, ...]) -> "Generator":
        """What places them on maps of these strides."""
        return Generator(self, strides)


class Generator(AnchorGenerator):
    """torchvision's, with steps that are the maps' strides.

    torchvision takes the size of the photo divided by that of the map, which differs where the map's size was rounded up: the
    anchors would depend on the canvas. Where no size was rounded, both are the same.
    """

    def __init__(self, anchors: Anchors, strides: tuple[int, ...]) -> None:
        super().__init__(anchors.sizes, (anchors.ratios,) * len(anchors.sizes))
        self.strides = strides

    def by_level(self, images: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """The anchors (A, 4) on each of `maps` of photos `images`."""
        self.set_cell_anchors(images.dtype, images.device)
        steps = [[torch.full((), stride, dtype=torch.int64, device=images.device)] * 2 for stride in self.strides]
        levels: list[Tensor] = self.grid_anchors([x.shape[-2:] for x in maps], steps)
        return levels

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """The anchors (A, 4) of all levels, once for each photo."""
        return [torch.cat(self.by_level(image_list.tensors, feature_maps))] * len(image_list.image_sizes)


def make(config: TorchvisionConfig, strides: tuple[int, ...], photos: tuple[Photo, ...]) -> Anchors:
    """The anchors that `config` asks for on levels of these strides; `photos` are the training's."""
    octaves = OCTAVES[config.family]
    if config.anchors == "fitted":
        return fitted(shapes(photos, config.size), strides, octaves)
    size = config.anchor_size or SIZES[config.family]
    return Anchors(tuple(tuple(size * stride * octave for octave in octaves) for stride in strides), RATIOS)


def trained_with(notes: Mapping[str, Any], config: TorchvisionConfig, strides: tuple[int, ...]) -> Anchors | None:
    """The anchors that the heads in a checkpoint of ours were trained with, which heads taken from it need.

    Fitted ones, which follow the boxes, grow with the canvas. None where `notes`, what the checkpoint tells, are of another
    family or of none, and where `config` asks for sizes of its own.
    """
    told, begun = notes.get("anchors"), notes.get("config", {})
    asks_for_own = config.anchors == "default" and config.anchor_size > 0
    if not told or begun["family"] != config.family or len(told["sizes"]) != len(strides) or asks_for_own:
        return None
    scale = config.size / begun["size"] if begun["anchors"] == "fitted" else 1.0
    scales = [
        max(scale, stride / level[0]) if scale < 1 else scale for level, stride in zip(told["sizes"], strides, strict=True)
    ]
    sizes = tuple(tuple(side * k for side in level) for level, k in zip(told["sizes"], scales, strict=True))
    return Anchors(sizes, tuple(told["ratios"]))


def shapes(photos: tuple[Photo, ...], size: int) -> np.ndarray:
    """Width and height (N, 2) of every box, in pixels of a canvas whose long side is `size`."""
    by_photo = [(p.boxes[:, 2:] - p.boxes[:, :2]) * (size / max(p.width, p.height)) for p in photos]
    return np.concatenate([np.zeros((0, 2)), *by_photo])


def fitted(sides: np.ndarray, strides: tuple[int, ...], octaves: tuple[float, ...] = (1.0,)) -> Anchors:
    """Anchors for boxes of these `sides` (N, 2): sizes spread evenly in the logarithm from small to large, and the ratios that
    k-means finds between 1 / MOST_RATIO and MOST_RATIO, outliers left out.

    No level has an anchor smaller than its stride, as objects could lie between them unmatched. ValueError without boxes.

    >>> fitted(np.array([[10.0, 20.0], [40.0, 80.0]] * 20), (4, 8, 16)).ratios
    (2.0,)
    """
    if not len(sides):
        raise ValueError("--anchors fitted: got no box to fit them to")
    logs = np.log(np.maximum(sides.astype(np.float64), MIN_SIDE))  # (N, 2)
    low, high = np.quantile(logs.mean(1), [OUTLIERS, 1 - OUTLIERS])
    spread = np.exp(np.linspace(low, high, len(strides)))
    sizes = tuple(
        tuple(float(max(size, stride) * octave / octaves[0]) for octave in octaves)
        for size, stride in zip(spread, strides, strict=True)
    )
    ratios = trimmed(logs[:, 1] - logs[:, 0])[:, None]  # (N, 1)
    count = min(len(RATIOS), len(np.unique(ratios.round(3))))
    centres = KMeans(count, n_init=4, random_state=0).fit(ratios).cluster_centers_.ravel()
    return Anchors(sizes, tuple(float(round(np.exp(centre), 3)) for centre in np.sort(centres)))


def trimmed(log_ratios: np.ndarray) -> np.ndarray:
    """Logarithms of ratios (N,) with the outliers at both ends pulled in to the others, and all within MOST_RATIO.

    >>> trimmed(np.log([*[2.0] * 99, 1e-4])).tolist() == [np.log(2.0)] * 100
    True
    """
    low, high = np.quantile(log_ratios, [OUTLIERS, 1 - OUTLIERS])
    limit = np.log(MOST_RATIO)
    return np.asarray(log_ratios.clip(low, high).clip(-limit, limit))
