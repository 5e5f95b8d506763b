"""Small torchvision detectors of random weights, and photos to show them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from small_photos import photo

from photos.data import Photo
from stage1_detector.config import TorchvisionConfig
from stage1_detector.nets import torchvision_net
from stage1_detector.nets.torchvision_net import Detector

SMALL = TorchvisionConfig(backbone="test_resnet", width=16, size=128, rois=32, proposals=100, epochs=1, anchor_size=4.0)


def built(config: TorchvisionConfig, names: list[str]) -> Detector:
    """The same network each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision_net.build(config, (), names)


def photos_of(count: int, height: int = 96, width: int = 128) -> torch.Tensor:
    """Noise on several scales, (count, 3, height, width)."""
    draw = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, height // 16, width // 16, generator=draw)
    return torch.nn.functional.interpolate(coarse, (height, width)) + 0.1 * torch.rand(count, 3, height, width, generator=draw)


def noise(of: Photo) -> Photo:
    """The photo's file filled with noise, so that no two places look alike."""
    cv2.imwrite(str(of.path), np.random.default_rng(of.id).integers(0, 256, (of.height, of.width, 3), np.uint8))
    return of


def crowd(folder: Path, counts: Sequence[int], reach: tuple[int, int], sides: tuple[int, int]) -> tuple[Photo, ...]:
    """Photos of noise with so many boxes each, their corners within `reach` and their sides between `sides` pixels."""
    made = []
    for number, n in enumerate(counts):
        rng = np.random.default_rng(number)
        corner, side = rng.uniform(0, reach, (n, 2)), rng.uniform(*sides, (n, 2))
        made.append(noise(photo(folder, number, np.concatenate([corner, corner + side], 1).tolist())))
    return tuple(made)


def decided(net: Detector) -> Detector:
    """With scores far apart, as training makes them: among ties it is rounding that ranks."""
    of_rcnn = net.description["config"]["family"] == "rcnn"
    for part in (net.net.rpn.head.cls_logits if of_rcnn else net.net.head.classification_head).modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight, generator=torch.Generator().manual_seed(0))
    return net.eval()
