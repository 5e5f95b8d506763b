"""What the valid part says of a detector, while it is trained and when it is done: mAP50 with one view and NMS."""

from pathlib import Path
from typing import Any

import torch

from fusion.decode import run_detector
from fusion.ensemble import Member
from fusion.models import Model, Sidecar
from photos.data import Photo, read_image
from photos.score import Truth, evaluate
from runs.command import say
from stage1_detector.config import Config
from stage1_detector.engine import Score
from stage1_detector.export import export_detector
from stage1_detector.families import FAMILIES, Network

VALID_CONF = 0.001  # taken: the low floor that AP wants (CONTEST.md)
VALID_NMS = 0.6  # chosen: between the 0.5 that loses stacked facings and the 0.7 that keeps doubles


def network_score(config: Config, described: dict[str, Any], photos: tuple[Photo, ...], n_categories: int) -> Score:
    """`score` of a network that is still being trained."""

    def scored(network: torch.nn.Module) -> dict[str, float]:
        return score(Network(network, config, Sidecar(**described)), photos, n_categories)

    return scored


def finish(
    network: torch.nn.Module,
    out: Path,
    config: Config,
    described: dict[str, Any],
    valid: tuple[Photo, ...],
    n_categories: int,
) -> dict[str, Any]:
    """Export a trained network to OUT/model.onnx, check it against torch, and score it on the valid photos."""
    parity = export_detector(FAMILIES[config.family].for_export(network, config), out / "model.onnx", described, valid)
    say(f"{out.name}: ONNX equals torch within {parity['boxes_px']:.1e} px and {parity['scores']:.1e}")
    scores = score(Model(out / "model.onnx"), valid, n_categories)
    say(f"{out.name}: valid " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return {"parity": parity, "valid": scores}


def finish_unscored(
    network: torch.nn.Module, out: Path, config: Config, described: dict[str, Any], train: tuple[Photo, ...]
) -> dict[str, Any]:
    """As `finish` for a network that all photos were trained on: parity is checked on `train`, and nothing is scored there."""
    parity = export_detector(FAMILIES[config.family].for_export(network, config), out / "model.onnx", described, train)
    say(f"{out.name}: ONNX equals torch within {parity['boxes_px']:.1e} px and {parity['scores']:.1e}; trained on all photos")
    return {"parity": parity, "valid": {}}


def member(model: Model | Network) -> Member:
    """How a detector is scored alone: one view, the low floor that AP wants, NMS."""
    return Member.of("", model.sidecar, conf=VALID_CONF, nms_iou=VALID_NMS)


def score(model: Model | Network, photos: tuple[Photo, ...], n_categories: int) -> dict[str, float]:
    """mAP50 of a model alone on `photos`, one view and NMS: det, and cls where it knows categories; without COCO's cap."""
    alone = member(model)
    detections = [run_detector(model, alone, read_image(p.path, p.width, p.height))[0] for p in photos]
    result = evaluate([Truth.of(photo) for photo in photos], detections, n_categories)
    names = {} if model.sidecar.categories is None else {"cls_map50": float(result.cls_map50)}
    return {"det_map50": float(result.det_map50)} | names
