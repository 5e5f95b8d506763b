"""Networks of random weights that answer like trained ones: values in range, and as many boxes a canvas as a shelf has."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.gpu.scale import Detector, Scale
from runs.normalisation import of_backbone
from stage1_detector.config import STRIDE, DetectorConfig
from stage1_detector.export import fix_output_rows, to_onnx, write_sidecar
from stage1_detector.ultralytics_engine import rtdetr, yolo
from stage2_classifier import model as classifier_model
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.export import export_classifier
from submission import graphs

MAX_DET = 300  # taken: what ultralytics keeps of a photo
NAMES = 356  # taken: the contest's
CELLS = 3.0  # chosen: from a YOLO's anchor to each edge of its box, in cells of its grid
LOGITS = -2.94, -6.9  # of the scores 0.05 and 0.001
# Chosen: shares of a canvas's anchors, and of an RT-DETR's queries, above those scores; 300 and 2,000 anchors at 1280 px.
ABOVE = {"yolo": (0.009, 0.06), "rtdetr": (0.33, 0.83)}


def detector_files(detector: Detector, scale: Scale, folder: Path) -> tuple[Path, Path]:
    """FOLDER/NAME.onnx and FOLDER/NAME_half.onnx in FP16, each with its sidecar; made where they are not there yet."""
    full, half = folder / f"{detector.name}.onnx", folder / f"{detector.name}_half.onnx"
    if not half.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        side = detector_sidecar(detector, scale.size)
        config = DetectorConfig(family=detector.family, model=detector.model, size=scale.size)
        network = yolo.for_export(random_detector(detector, scale.size), config)
        stretched = side["shape"] == "stretch"
        example = torch.zeros(2, 3, scale.size, scale.size) if stretched else torch.zeros(1, 3, 320, 256)
        free = {0: "batch"} if stretched else {0: "batch", 2: "height", 3: "width"}
        axes = {"images": free, "predictions": {0: "batch", 2: "anchors"}}
        to_onnx(network, example, full, axes, side["mean"], side["std"])
        fix_output_rows(full, network, example)
        write_sidecar(full, side)
        write_half(full, half, side)
    return full, half


def classifier_files(scale: Scale, folder: Path) -> tuple[Path, Path]:
    """The files of a classifier of `scale.backbone`, as `detector_files`; its own export holds it equal to torch."""
    full, half = folder / f"{scale.backbone}.onnx", folder / f"{scale.backbone}_half.onnx"
    if not half.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        mean, std = of_backbone(scale.backbone)
        side: dict[str, Any] = {"task": "classifier", "family": "timm", "categories": list(range(NAMES))}
        side |= {"size": scale.crop_size, "mean": list(mean), "std": list(std)}
        config = ClassifierConfig(model=scale.backbone, size=scale.crop_size)
        export_classifier(classifier_model.build(config, Columns(NAMES)).eval(), full, side, textured(2, scale.crop_size))
        write_half(full, half, side)
    return full, half


def write_half(full: Path, half: Path, side: dict[str, Any]) -> None:
    """The graph in FULL in FP16 at HALF, with the sidecar; HALF comes last, as it says that all is there."""
    write_sidecar(half, side)
    partial = half.with_suffix(".part")
    partial.write_bytes(graphs.halved(full.read_bytes()))
    partial.replace(half)


def detector_sidecar(detector: Detector, size: int) -> dict[str, Any]:
    """The sidecar of a class-agnostic detector of ultralytics."""
    return {
        "task": "detector", "family": detector.family, "categories": None, "size": size,
        "shape": "stretch" if detector.family == "rtdetr" else "square", "stride": STRIDE, "mean": [0.0] * 3, "std": [1.0] * 3,
        "max_det": MAX_DET,
    }  # fmt: skip


@torch.no_grad()
def random_detector(detector: Detector, size: int) -> torch.nn.Module:
    """The network on the CPU, in evaluation mode, batch norm folded into the convolutions.

    Its batch norms have the statistics of a few canvases, without which the values of 100 random layers vanish or overflow;
    its scores are moved and stretched so that ABOVE of its boxes are above the scores of LOGITS, a YOLO's boxes are a few cells
    wide.
    """
    model: Any = detector.model
    if detector.family == "rtdetr":
        model = rtdetr.with_queries(model, MAX_DET)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = yolo.build(model, ["product"], detector.family).eval()
    images = torch.from_numpy(textured(2, min(size, 640)).transpose(0, 3, 1, 2).copy()).float() / 255  # (2, 3, S, S)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean of all batches
        norm.train()
    network(images)
    network = network.eval().fuse(verbose=False).eval()
    head = network.model[-1]
    if hasattr(head, "_end2end"):
        head.end2end = False
    if detector.family == "yolo":
        tame_boxes(network, images)
    spread_scores(network, detector, images)
    return network  # type: ignore[no-any-return]


def spread_scores(network: Any, detector: Detector, images: torch.Tensor) -> None:
    """Scale and shift the last layers that score boxes, so that ABOVE of the scores are above those of LOGITS."""
    head = network.model[-1]
    layers = [head.dec_score_head[-1]] if detector.family == "rtdetr" else [branch[-1] for branch in head.cv3]
    seen = torch.cat([output.flatten() for output in outputs_of(layers, network, images)])
    few, many = (float(torch.quantile(seen, 1 - share)) for share in ABOVE[detector.family])
    gain = (LOGITS[0] - LOGITS[1]) / max(few - many, 1e-6)
    for layer in layers:
        layer.weight *= gain
        layer.bias.copy_(layer.bias * gain + LOGITS[0] - gain * few)


def tame_boxes(network: Any, images: torch.Tensor) -> None:
    """Scale and shift a YOLO's last layers of boxes: logits of mean 0 and spread 1 where distances are distributions over
    cells, else distances of mean CELLS and spread 1. Untrained ones are as large as the canvas, and so is FP16's error.
    """
    head = network.model[-1]
    layers = [branch[-1] for branch in head.cv2]
    for layer, output in zip(layers, outputs_of(layers, network, images), strict=True):
        gain, mean = 1 / max(float(output.std()), 1e-6), float(output.mean())
        layer.weight *= gain
        layer.bias.copy_((layer.bias - mean) * gain + (0.0 if head.reg_max > 1 else CELLS))


def outputs_of(layers: list[torch.nn.Module], network: torch.nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """What each of `layers` puts out where `network` sees `images`."""
    seen: dict[int, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output, i=i: seen.update({i: output}))
        for i, layer in enumerate(layers)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return [seen[i] for i in range(len(layers))]


def textured(count: int, side: int) -> np.ndarray:
    """Canvases of coloured rectangles and noise, uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(0)
    canvases = rng.integers(0, 40, (count, side, side, 3))
    for canvas in canvases:
        for x, y in rng.integers(0, side, (60, 2)):
            canvas[y : y + side // 8, x : x + side // 12] += rng.integers(0, 200, 3)
    return np.clip(canvases, 0, 255).astype(np.uint8)
