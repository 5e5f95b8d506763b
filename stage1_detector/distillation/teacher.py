"""A trained detector that another learns from: its outputs on a batch, its weights frozen."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torchvision.ops import box_convert

from fusion.models import read_object
from runs.record import weights_of
from stage1_detector.config import TRANSFORMERS, ULTRALYTICS, Config, TransformerConfig, from_settings
from stage1_detector.families import FAMILIES
from stage1_detector.nets import conditional_detr
from stage1_detector.torch_engine.canvases import InputFormat
from stage1_detector.ultralytics_engine import float32_boxes, rtdetr


class TeacherOutput(NamedTuple):
    """The outputs of a detector on a batch: feature maps (B, C_l, H_l, W_l), fine to coarse, boxes cx cy w h (B, K, 4) in
    fractions of the canvas, and class probabilities (B, K, C).
    """

    maps: list[torch.Tensor]
    boxes: torch.Tensor
    probs: torch.Tensor


class Teacher:
    """A frozen detector of any family. It is no nn.Module, so that neither a student's state nor its copies hold it."""

    def __init__(self, net: nn.Module, config: Config, categories: list[int] | None) -> None:
        """`categories` are the ids it knows, in the order of its classes; None: it knows products only."""
        self.family, self.categories = config.family, categories
        family = FAMILIES[config.family]
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in family.input_format.of(config).normalisation)
        self.maps: list[torch.Tensor] = []
        if config.family not in TRANSFORMERS:
            neck = net.model[-1] if config.family in ("yolo", "rtdetr") else net.backbone  # type: ignore[index,union-attr]
            neck.register_forward_hook(self._keep_maps)
        # an RT-DETR's boxes are in fractions, whatever canvas it is shown
        self.net = rtdetr.Dense(net, 1) if config.family == "rtdetr" else family.for_export(net, config)
        self.net.eval().requires_grad_(False)
        if config.family in ULTRALYTICS:
            float32_boxes.decode_exactly(net.model[-1])  # type: ignore[index,union-attr]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Teacher":
        return self

    def _keep_maps(self, module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        """Keep the maps: those that go into an ultralytics head, or come out of a torchvision backbone."""
        self.maps = list(outputs.values()) if isinstance(outputs, dict) else list(inputs[0])

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, input_format: InputFormat) -> TeacherOutput:
        """Its outputs on photos (B, 3, H, W) that are normalised as `input_format` says."""
        self.net.to(images.device)
        scale = images.new_tensor([images.shape[3], images.shape[2]] * 2)[:, None]  # (4, 1)
        mean, std = (images.new_tensor(value)[:, None, None] for value in (input_format.mean, input_format.std))
        images = ((images * std + mean) - self.mean.to(images)) / self.std.to(images)
        if self.family in TRANSFORMERS:
            maps, boxes, logits = self.net.predictions(images)  # type: ignore[operator]
            return TeacherOutput(maps, boxes, logits.sigmoid())
        raw = self.net(images)  # (B, 4 + C, K)
        boxes = raw[:, :4] if self.family == "rtdetr" else raw[:, :4] / scale
        boxes = boxes.permute(0, 2, 1)  # (B, K, 4)
        boxes = box_convert(boxes, "xyxy", "cxcywh") if self.family in ("rcnn", "retinanet") else boxes
        return TeacherOutput(self.maps, boxes, raw[:, 4:].permute(0, 2, 1))


def load(run: Path) -> Teacher:
    """The teacher in a finished run, a folder with run.json, or of a file of Conditional DETR's weights. Raises ValueError for
    one that is not there or not finished.
    """
    if run.is_file():
        net = conditional_detr.from_weights(run)
        return Teacher(net, TransformerConfig(), list(range(len(net.description["names"]))))
    if not (run / "run.json").is_file():
        raise ValueError(f"--teacher: got {run}, must be a finished run (with run.json), such as R/one")
    settings = read_object(run / "run.json")["settings"]
    config = from_settings(settings)
    categories = read_object(run / "model.json")["categories"]
    return Teacher(FAMILIES[config.family].load(weights_of(run)), config, categories)


def refuse_other_classes(teacher: Teacher, run: Path, categories: list[int] | None) -> None:
    """Raises ValueError unless the teacher knows the student's `categories`, ids in their order; None: products of one kind."""
    student_classes, teacher_classes = (1 if ids is None else len(ids) for ids in (categories, teacher.categories))
    if teacher.categories == categories or (
        run.is_file() and student_classes == teacher_classes
    ):  # a file of weights tells no names
        return
    message = f"--teacher: {run} knows {teacher_classes} classes, the student is to know {student_classes}"
    message += " others" if student_classes == teacher_classes else ""
    raise ValueError(f"{message}; train it with --classes {'one' if categories is None else 'all'} on the same data")
