"""The families of detectors: for each, the functions that train, load and export it, and how it takes photos."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fusion.models import Sidecar, normalise
from stage1_detector.config import Config
from stage1_detector.engine import Job
from stage1_detector.nets import conditional_detr, torchvision_net
from stage1_detector.torch_engine import loop
from stage1_detector.torch_engine.canvases import IMAGENET_FORMAT, InputFormat
from stage1_detector.ultralytics_engine import yolo

ULTRALYTICS_FORMAT = InputFormat(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Family(NamedTuple):
    """What differs between families.

    Attributes:
        fit: trains and returns the weights file.
        load: reads the weights file.
        for_export: turns the network into one whose output `fusion.decode` reads; the second argument is its config.
        refuse: raises ValueError for a config, a file to start from or a checkpoint to resume that training cannot begin with.
        input_format: how it takes photos, but for the mean and spread of a backbone of timm's (`InputFormat.of`).
        layout: the family by whose name `fusion.decode` knows its output; empty: its own.
    """

    fit: Callable[[Job[Any]], Path]
    load: Callable[[Path], torch.nn.Module]
    for_export: Callable[[torch.nn.Module, Any], torch.nn.Module]
    refuse: Callable[[Any, Path | None, Path | None], None]
    input_format: InputFormat = ULTRALYTICS_FORMAT
    layout: str = ""


def unchanged(network: torch.nn.Module, config: Config) -> torch.nn.Module:
    """The network itself, whose output `fusion.decode` reads."""
    return network


STRETCHED_FORMAT = IMAGENET_FORMAT._replace(shape="stretch")
TORCHVISION = Family(
    fit=partial(loop.fit, network=loop.NetworkSpec(torchvision_net.build, IMAGENET_FORMAT, torchvision_net.load)),
    load=torchvision_net.load,
    for_export=unchanged,
    refuse=torchvision_net.refuse,
    input_format=IMAGENET_FORMAT,
)
CONDITIONAL_DETR = Family(
    fit=partial(loop.fit, network=loop.NetworkSpec(conditional_detr.build, STRETCHED_FORMAT)),
    load=conditional_detr.load,
    for_export=unchanged,
    refuse=conditional_detr.refuse,
    input_format=STRETCHED_FORMAT,
    layout="rtdetr",
)
YOLO = Family(yolo.fit, yolo.load, yolo.for_export, yolo.refuse)
FAMILIES: dict[str, Family] = {
    "yolo": YOLO,
    "rtdetr": YOLO._replace(input_format=ULTRALYTICS_FORMAT._replace(shape="stretch")),
    "rcnn": TORCHVISION,
    "retinanet": TORCHVISION,
    "conditional_detr": CONDITIONAL_DETR,
}


class Network:
    """A trained network in the place of `fusion.models.Model`: the same canvases in, the same raw output out, all of it."""

    full_answers = 0

    def __init__(self, network: torch.nn.Module, config: Config, sidecar: Sidecar) -> None:
        self.network, self.sidecar = FAMILIES[config.family].for_export(network, config), sidecar
        self.device = next(network.parameters()).device

    @torch.no_grad()
    def __call__(self, canvases: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 RGB canvases -> (B, 4 + C, A) float32."""
        images = normalise(canvases, self.sidecar.mean, self.sidecar.std)
        return np.asarray(self.network(torch.from_numpy(images).to(self.device)).float().cpu().numpy())
