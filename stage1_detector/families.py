"""The families of detectors: for each, the functions that train, load and export it, and what its photos look like."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fusion.models import Sidecar, normalise
from stage1_detector.config import Config
from stage1_detector.nets import conditional_detr, torchvision_net
from stage1_detector.torch_engine import loop
from stage1_detector.torch_engine.canvases import LOOK, Look
from stage1_detector.ultralytics_engine import yolo

PLAIN = Look(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Family(NamedTuple):
    """What differs between families.

    `fit` trains and returns the weights file, with the arguments of `yolo.fit`; `load` reads it; `for_export` makes of the
    network one that puts out what `fusion.decode` reads; `refuse` raises ValueError for what training could not begin with.
    `look` is how it sees photos; `layout` the family that `fusion.decode` knows its output by, where that has another name.
    """

    fit: Callable[..., Path]
    load: Callable[[Path], torch.nn.Module]
    for_export: Callable[[torch.nn.Module, Any], torch.nn.Module]
    refuse: Callable[[Any, Path | None, Path | None], None]
    look: Look = PLAIN
    layout: str = ""


def as_it_is(network: torch.nn.Module, config: Config) -> torch.nn.Module:
    """The network; its output is what `fusion.decode` reads."""
    return network


STRETCHED = LOOK._replace(shape="stretch")
TORCHVISION = Family(
    partial(loop.fit, build=torchvision_net.build, look=LOOK), torchvision_net.load, as_it_is, torchvision_net.refuse, LOOK
)
CONDITIONAL_DETR = Family(
    partial(loop.fit, build=conditional_detr.build, look=STRETCHED), conditional_detr.load, as_it_is, conditional_detr.refuse,
    STRETCHED, layout="rtdetr",
)  # fmt: skip
FAMILIES: dict[str, Family] = {
    "yolo": Family(yolo.fit, yolo.load, yolo.for_export, yolo.refuse),
    "rtdetr": Family(yolo.fit, yolo.load, yolo.for_export, yolo.refuse, PLAIN._replace(shape="stretch")),
    "rcnn": TORCHVISION,
    "retinanet": TORCHVISION,
    "conditional_detr": CONDITIONAL_DETR,
}


class Network:
    """A trained network in the place of `fusion.models.Model`: the same canvases in, the same raw output out."""

    def __init__(self, network: torch.nn.Module, config: Config, sidecar: Sidecar) -> None:
        self.network, self.sidecar = FAMILIES[config.family].for_export(network, config), sidecar
        self.device = next(network.parameters()).device

    @torch.no_grad()
    def __call__(self, canvases: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 RGB canvases -> (B, 4 + C, A) float32."""
        images = normalise(canvases, self.sidecar.mean, self.sidecar.std)
        return np.asarray(self.network(torch.from_numpy(images).to(self.device)).float().cpu().numpy())
