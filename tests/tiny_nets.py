"""A tiny network of every family, of random weights that hide nothing, and as a finished run."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torchvision_nets import SMALL, decided
from torchvision_nets import built as torchvision_built

from stage1_detector.config import Config, DetectorConfig, TransformerConfig
from stage1_detector.nets import conditional_detr
from stage1_detector.ultralytics_engine import rtdetr, yolo

CONFIGS: dict[str, Config] = {
    "yolo": DetectorConfig(size=96),
    "rtdetr": DetectorConfig(family="rtdetr", model="yolov8n-rtdetr.yaml", size=96),
    "rcnn": SMALL,
    "retinanet": replace(SMALL, family="retinanet", head="plain"),
    "conditional_detr": TransformerConfig(
        backbone="test_resnet", width=16, queries=20, encoder_layers=1, decoder_layers=2, size=96, dropout=0.0
    ),
}


def network(family: str, names: list[str]) -> torch.nn.Module:
    """The same tiny one each time, none of its scores alike."""
    config = CONFIGS[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if family == "conditional_detr":
            return conditional_detr.build(config, (), names).eval()
        if family in ("rcnn", "retinanet"):
            return decided(torchvision_built(config, names))
        model = rtdetr.with_queries(config.model, 30, 1) if family == "rtdetr" else config.model
        return yolo.build(model, names, family).eval()


def shaken(net: conditional_detr.Net) -> conditional_detr.Net:
    """With no weight at a value that hides what is done with it: layer norms of random weights change nothing twice."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for value in net.net.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return net.eval()


def run_of(folder: Path, categories: list[int] | None, family: str = "conditional_detr") -> Path:
    """A finished run of a detector of random weights, not of ultralytics."""
    (folder / "weights").mkdir(parents=True)
    net: Any = network(family, ["product"] if categories is None else [str(i) for i in categories])
    if family == "conditional_detr":
        shaken(net)
    torch.save(net.description | {"network": net.state_dict()}, folder / "weights" / "last.pt")
    (folder / "run.json").write_text(json.dumps({"settings": asdict(CONFIGS[family]) | {"classes": "one"}}))
    (folder / "model.json").write_text(json.dumps({"categories": categories}))
    return folder
