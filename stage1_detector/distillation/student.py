"""A YOLO or RT-DETR of ultralytics that learns from the truth and from a teacher, in our own loop.

Its file is a checkpoint of plain tensors: `load` reads it, and so does `yolo.load`, for whatever reads a finished run.
"""

from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torchvision.ops import box_convert
from ultralytics.cfg import get_cfg

from photos.data import Photo
from stage1_detector.config import ULTRALYTICS, LoopConfig, refuse_other, refuse_outside
from stage1_detector.distillation import losses
from stage1_detector.distillation.losses import Part
from stage1_detector.distillation.own_losses import OWN, Decoder, Share
from stage1_detector.distillation.teacher import Known, Teacher
from stage1_detector.engine import max_det
from stage1_detector.families import FAMILIES
from stage1_detector.torch_engine.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.torch_engine.training_state import Targets
from stage1_detector.ultralytics_engine import rtdetr, yolo
from stage1_detector.ultralytics_engine.detection_trainer import load_pretrained

MATCHES = ("index", "cost")
ALIKE = {"yolo"}, {"rtdetr", "conditional_detr"}  # families whose k-th predictions may be paired: by cell, and by query
ALLOWED_STUDENT = {
    "feature_weight": (0.0, 1e6), "class_weight": (0.0, 1e6), "box_weight": (0.0, 1e6), "floor": (0.0, 1.0),
    "teacher_warmup": (0.0, 1000.0), "queries": (0, 100_000), "decoder_layers": (0, 100),
}  # fmt: skip


@dataclass(frozen=True)
class StudentConfig(LoopConfig):
    """An ultralytics network that a teacher helps; most fields are arguments of `python -m stage1_detector.distillation`.

    `model` is a model YAML that ultralytics carries. `feature_weight`, `class_weight` and `box_weight` weigh the terms of
    `losses` beside the student's own; 0: without it. Predictions are matched by `match`: index (the k-th with the k-th) or cost
    (Hungarian), with those of the teacher's that it is surer of than `floor`. The terms grow from 0 to their weights in
    `teacher_warmup` epochs. An RT-DETR has as many `queries` as the photos need, at least 300, and the model's
    `decoder_layers`, unless they are said.
    """

    family: str = "rtdetr"
    model: str = "rtdetr-l.yaml"
    feature_weight: float = 1.0
    class_weight: float = 1.0
    box_weight: float = 1.0
    match: str = "cost"
    floor: float = 0.1
    teacher_warmup: float = 2.0
    queries: int = 0
    decoder_layers: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_other(self.family, "family", ULTRALYTICS)
        super().__post_init__()
        refuse_outside(self, ALLOWED_STUDENT)
        refuse_other(self.match, "match", MATCHES)

    @property
    def predicts(self) -> bool:
        """Whether the teacher's predictions are asked for."""
        return self.class_weight > 0 or self.box_weight > 0


class Student(nn.Module):
    """The network, what adapts its maps to the teacher's, and the losses of both."""

    def __init__(
        self,
        config: StudentConfig,
        names: list[str],
        queries: int,
        teacher: Teacher | None,
        warmup: int,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        """`warmup` is in batches, `queries` an RT-DETR's."""
        super().__init__()
        self.description: dict[str, Any] = {"config": asdict(config), "names": names, "queries": queries}
        self.config, self.teacher, self.warmup, self.distributed = config, teacher, warmup, distributed
        self.network = new(config, names, queries)
        self.input_format = FAMILIES[config.family].input_format
        self.maps: list[torch.Tensor] = []
        self.network.model[-1].register_forward_pre_hook(partial(see, self.maps))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))  # batches learnt from
        self.adapters = nn.ModuleList()
        if teacher is not None and config.feature_weight:
            self.adapters.extend(self._adapters(teacher))

    def _adapters(self, teacher: Teacher) -> list[nn.Module]:
        """For each of the student's maps a layer to as many channels as the teacher's next to it in size has."""
        blank = torch.zeros(1, 3, self.config.size, self.config.size)
        with torch.no_grad():
            self.network.eval()(blank)
        theirs = teacher(blank, self.input_format).maps
        self.network.train()
        made = [nn.Conv2d(mine.shape[1], nearest(mine, theirs).shape[1], 1) for mine in self.maps]
        self.maps.clear()
        return made

    @property
    def sharers(self) -> Distributed:
        """Who shares a batch: in training all, on valid the first process is alone."""
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
        boxes = [box_convert(one["boxes"].float(), "xyxy", "cxcywh") / scale for one in targets]
        labels = [one["labels"] for one in targets]
        parts, predicted = OWN[self.config.family](self, images, boxes, labels)
        weights = dict.fromkeys(parts, 1.0)
        if self.teacher is not None:
            taught = self._taught(self.teacher(images, self.input_format), *predicted, boxes)
            grown = min(1.0, int(self.seen) / self.warmup) if self.warmup else 1.0
            weights |= {name: grown * float(getattr(self.config, f"{name}_weight")) for name in taught}
            parts |= taught
        if self.training:
            self.seen += 1
        self.maps.clear()  # of a graph, which no copy could be made of
        counts = self.sharers.all_reduce_sums({name: float(part.count) for name, part in parts.items()})
        return {name: weights[name] * part.total / max(counts[name], 1e-6) for name, part in parts.items()}

    def _taught(self, known: Known, boxes: torch.Tensor, logits: torch.Tensor, truth: list[torch.Tensor]) -> dict[str, Part]:
        """The terms of the teacher; the student predicts `boxes` (B, Q, 4) and `logits` (B, Q, C)."""
        config, made = self.config, {}
        if self.adapters:
            made["feature"] = add(
                losses.feature_loss(adapt(mine), nearest(mine, known.maps), inside_of(truth, mine))
                for adapt, mine in zip(self.adapters, self.maps, strict=True)
            )
        if config.predicts:
            if config.match == "index":
                pairs = losses.by_index(known.probs[:, : boxes.shape[1]], config.floor)
            else:
                pairs = losses.by_cost(boxes, logits, known.boxes, known.probs, config.floor)
            if config.class_weight:
                made["class"] = losses.class_loss(logits, known.probs, pairs)
            if config.box_weight:
                made["box"] = losses.box_loss(boxes, known.boxes, known.probs, pairs)
        return made


def see(kept: list[torch.Tensor], head: nn.Module, given: tuple[Any, ...]) -> None:
    """Keep the maps that go into the head."""
    kept[:] = given[0]


def nearest(mine: torch.Tensor, theirs: list[torch.Tensor]) -> torch.Tensor:
    """Of `theirs` the map whose height is nearest to that of `mine`, as a ratio."""
    return min(theirs, key=lambda one: max(one.shape[2] / mine.shape[2], mine.shape[2] / one.shape[2]))


def inside_of(boxes: list[torch.Tensor], of: torch.Tensor) -> torch.Tensor:
    """The cells of a map (B, C, H, W) that products cover: (B, 1, H, W)."""
    return losses.inside(boxes, *of.shape[2:]).to(of.device)


def add(parts: Any) -> Part:
    """The parts of several maps as one."""
    totals, counts = zip(*parts, strict=True)
    return Part(sum(totals[1:], totals[0]), sum(counts[1:], counts[0]))


def refuse_match(config: StudentConfig, teacher: Teacher) -> None:
    """Raises ValueError where the k-th of the student's predictions has nothing to do with the k-th of the teacher's."""
    if config.predicts and config.match == "index" and not any({config.family, teacher.family} <= kind for kind in ALIKE):
        raise ValueError(f"--match: got index for a {config.family} of a {teacher.family}, which match by --match cost only")


def new(config: StudentConfig, names: list[str], queries: int) -> nn.Module:
    """The network of random weights."""
    model = rtdetr.with_queries(config.model, queries, config.decoder_layers) if config.family == "rtdetr" else config.model
    network: Any = yolo.build(model, names, config.family)
    network.nc, network.args = len(names), get_cfg()  # what its losses ask for
    if config.family == "rtdetr":
        network.model[-1].__class__ = Decoder
        network.criterion = network.init_criterion()
        network.criterion.__class__ = Share
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
