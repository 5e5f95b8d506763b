"""A YOLO or RT-DETR of ultralytics that learns from the truth and from a teacher, in our own loop.

Its file is a checkpoint of plain tensors: `load` reads it, and so does `yolo.load`, for whatever reads a finished run.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torchvision.ops import box_convert
from ultralytics.cfg import get_cfg

from photos.data import Photo
from runs.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.distillation import losses
from stage1_detector.distillation.config import StudentConfig
from stage1_detector.distillation.detection_losses import DETECTION_LOSSES, SharedDecoder, SharedRtdetrLoss
from stage1_detector.distillation.losses import LossSum
from stage1_detector.distillation.teacher import Teacher, TeacherOutput
from stage1_detector.engine import max_det
from stage1_detector.families import FAMILIES
from stage1_detector.torch_engine.training_state import Targets
from stage1_detector.ultralytics_engine import rtdetr, yolo
from stage1_detector.ultralytics_engine.detection_trainer import load_pretrained

SAME_INDEXING = {"yolo"}, {"rtdetr", "conditional_detr"}  # families whose k-th predictions may be paired: by cell, and by query


class Student(nn.Module):
    """The network, adapters of its feature maps to the teacher's, and the losses from annotations and teacher."""

    def __init__(
        self,
        config: StudentConfig,
        names: list[str],
        queries: int,
        teacher: Teacher | None,
        warmup: int,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        """`warmup` is in batches of config.batch photos, `queries` an RT-DETR's."""
        super().__init__()
        self.description: dict[str, Any] = {"config": asdict(config), "names": names, "queries": queries}
        self.config, self.teacher, self.warmup, self.distributed = config, teacher, warmup, distributed
        self.network = build_network(config, names, queries)
        self.input_format = FAMILIES[config.family].input_format
        self.maps: list[torch.Tensor] = []
        self.network.model[-1].register_forward_pre_hook(partial(keep_inputs, self.maps))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))  # batches of config.batch photos learnt from
        self.batch, self.begun = config.batch, 0  # photos of a batch; photos learnt from since `seen` grew
        self.adapters = nn.ModuleList()
        if teacher is not None and config.feature_weight:
            self.adapters.extend(self._adapters(teacher))

    def _adapters(self, teacher: Teacher) -> list[nn.Module]:
        """For each of the student's maps a 1 x 1 convolution to the channels of the teacher's map nearest in size."""
        blank = torch.zeros(1, 3, self.config.size, self.config.size)
        with torch.no_grad():
            self.network.eval()(blank)
        teacher_maps = teacher(blank, self.input_format).maps
        self.network.train()
        adapters = [nn.Conv2d(own_map.shape[1], nearest_in_size(own_map, teacher_maps).shape[1], 1) for own_map in self.maps]
        self.maps.clear()
        return adapters

    @property
    def batch_sharers(self) -> Distributed:
        """The processes that share a batch: all while training, only the first on valid."""
        return self.distributed if self.training else SINGLE_PROCESS

    @property
    def feature_extractor(self) -> nn.Module:
        """The backbone."""
        network: Any = self.network
        return cast(nn.Module, network.model[: len(network.yaml["backbone"])])

    @property
    def inference_network(self) -> nn.Module:
        """The network alone, in a copy: what judges a network readies it for export."""
        return deepcopy(self.network)

    def enable_eval_losses(self, on: bool) -> None:
        """Nothing is drawn."""

    def losses(self, images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """This process's share of the losses on photos (B, 3, H, W), to be added up, and over the processes; targets as
        `rcnn.Targets`.
        """
        scale = images.new_tensor([images.shape[3], images.shape[2]] * 2)
        boxes = [box_convert(target["boxes"].float(), "xyxy", "cxcywh") / scale for target in targets]
        labels = [target["labels"] for target in targets]
        sums, predicted = DETECTION_LOSSES[self.config.family](self, images, boxes, labels)
        weights = dict.fromkeys(sums, 1.0)
        if self.teacher is not None:
            imitation = self._teacher_losses(self.teacher(images, self.input_format), *predicted, boxes)
            ramp = min(1.0, int(self.seen) / self.warmup) if self.warmup else 1.0
            weights |= {name: ramp * float(getattr(self.config, f"{name}_weight")) for name in imitation}
            sums |= imitation
        if self.training:
            self.begun += self.batch
            self.seen += self.begun // self.config.batch
            self.begun %= self.config.batch
        self.maps.clear()  # they hold the autograd graph, which cannot be copied
        counts = self.batch_sharers.all_reduce_sums({name: float(loss.count) for name, loss in sums.items()})
        return {name: weights[name] * loss.total / max(counts[name], 1e-6) for name, loss in sums.items()}

    def _teacher_losses(
        self, teacher_output: TeacherOutput, boxes: torch.Tensor, logits: torch.Tensor, truth: list[torch.Tensor]
    ) -> dict[str, LossSum]:
        """The distillation losses; the student predicts `boxes` (B, Q, 4) and `logits` (B, Q, C)."""
        config, sums = self.config, {}
        if self.adapters:
            sums["feature"] = add_sums(
                losses.feature_loss(
                    adapt(own_map), nearest_in_size(own_map, teacher_output.maps), foreground_of(truth, own_map)
                )
                for adapt, own_map in zip(self.adapters, self.maps, strict=True)
            )
        if config.predicts:
            if config.match == "index":
                pairs = losses.match_by_index(teacher_output.probs[:, : boxes.shape[1]], config.floor)
            else:
                pairs = losses.match_by_cost(boxes, logits, teacher_output.boxes, teacher_output.probs, config.floor)
            if config.class_weight:
                sums["class"] = losses.class_loss(logits, teacher_output.probs, pairs)
            if config.box_weight:
                sums["box"] = losses.box_loss(boxes, teacher_output.boxes, teacher_output.probs, pairs)
        return sums


def keep_inputs(kept: list[torch.Tensor], head: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Keep the feature maps that go into the head."""
    kept[:] = inputs[0]


def nearest_in_size(own_map: torch.Tensor, teacher_maps: list[torch.Tensor]) -> torch.Tensor:
    """Of `teacher_maps` the one whose height is nearest to that of `own_map`, as a ratio."""
    return min(teacher_maps, key=lambda other: max(other.shape[2] / own_map.shape[2], own_map.shape[2] / other.shape[2]))


def foreground_of(boxes: list[torch.Tensor], feature_map: torch.Tensor) -> torch.Tensor:
    """The cells of a map (B, C, H, W) that products cover: (B, 1, H, W)."""
    return losses.foreground_mask(boxes, *feature_map.shape[2:]).to(feature_map.device)


def add_sums(sums: Iterable[LossSum]) -> LossSum:
    """The losses of several maps as one."""
    totals, counts = zip(*sums, strict=True)
    return LossSum(sum(totals[1:], totals[0]), sum(counts[1:], counts[0]))


def refuse_match(config: StudentConfig, teacher: Teacher) -> None:
    """Raises ValueError for --match index where equal indices of the two families' predictions are unrelated."""
    if (
        config.predicts
        and config.match == "index"
        and not any({config.family, teacher.family} <= kind for kind in SAME_INDEXING)
    ):
        raise ValueError(f"--match: got index for a {config.family} of a {teacher.family}, which match by --match cost only")


def build_network(config: StudentConfig, names: list[str], queries: int) -> nn.Module:
    """The network of random weights."""
    model = rtdetr.with_queries(config.model, queries, config.decoder_layers) if config.family == "rtdetr" else config.model
    network: Any = yolo.build(model, names, config.family)
    network.nc, network.args = len(names), get_cfg()  # read by ultralytics' losses
    if config.family == "rtdetr":
        network.model[-1].__class__ = SharedDecoder
        network.criterion = network.init_criterion()
        network.criterion.__class__ = SharedRtdetrLoss
    return cast(nn.Module, network)


def build(
    config: StudentConfig,
    photos: tuple[Photo, ...],
    names: list[str],
    pretrained: Path | None = None,
    teacher: Teacher | None = None,
    distributed: Distributed = SINGLE_PROCESS,
) -> Student:
    """The student to train on `photos`. Raises ValueError for weights that fill less than REQUIRED_SHARE of it."""
    batches = -(-(len(photos) + round(len(photos) * config.synthetic_ratio)) // config.batch)
    queries = config.queries or max(rtdetr.QUERIES, max_det(photos))
    student = Student(config, names, queries, teacher, round(config.teacher_warmup * batches), distributed)
    if pretrained is not None:
        load_pretrained(student.network, pretrained)
    return student
