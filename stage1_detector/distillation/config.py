"""The settings of a student, and the named ones to start from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from runs.first_command import DETECTORS, train
from runs.flags import Flag
from stage1_detector.config import ULTRALYTICS, LoopConfig, refuse_other
from stage1_detector.recipes import RECIPES

NONE = "none"  # in place of a teacher: the student alone, which is what it is compared with
MATCHES = ("index", "cost")


@dataclass(frozen=True)
class StudentConfig(LoopConfig):
    """An ultralytics network that a teacher helps, in our own loop.

    The weights are of the terms of `losses` beside the student's own. Predictions are matched by `match`: index (the k-th with
    the k-th) or cost (Hungarian). `family` and `model` come with the named student.
    """

    family: str = "rtdetr"
    model: str = "rtdetr-l.yaml"
    feature_weight: Annotated[float, Flag("weight of the teacher's maps; 0: without", 0.0, 1e6, common=True)] = 1.0
    class_weight: Annotated[float, Flag("weight of the teacher's classes; 0: without", 0.0, 1e6, common=True)] = 1.0
    box_weight: Annotated[float, Flag("weight of the teacher's boxes; 0: without", 0.0, 1e6, common=True)] = 1.0
    match: Annotated[str, Flag("the k-th with the k-th, or Hungarian", choices=MATCHES)] = "cost"
    floor: Annotated[float, Flag("score above which the teacher's predictions count", 0.0, 1.0)] = 0.1
    teacher_warmup: Annotated[float, Flag("epochs in which its terms grow to their weights", 0.0, 1000.0)] = 2.0
    queries: Annotated[int, Flag("an RT-DETR's; 0: as many as the photos need, at least 300", 0, 100_000)] = 0
    decoder_layers: Annotated[int, Flag("an RT-DETR's; 0: the model's", 0, 100)] = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_other(self.family, "family", ULTRALYTICS)
        super().__post_init__()

    @property
    def predicts(self) -> bool:
        """Whether the teacher's predictions are asked for."""
        return self.class_weight > 0 or self.box_weight > 0


def rtdetr_l() -> StudentConfig:
    """System E's student: RT-DETR-L at 640 px, 72 epochs, AdamW at 1e-4, batch 16. Needs a GPU. Not run here."""
    return StudentConfig(size=640, epochs=72, batch=16, lr=1e-4, lr_end=0.02, weight_decay=1e-4, clip=0.1, ema=0.9997)


def rtdetr_small() -> StudentConfig:
    """RT-DETR with a YOLOv8-n's backbone at 320 px, for a machine without a GPU; the recipe of the same name, in our loop."""
    return replace(rtdetr_l(), model="yolov8n-rtdetr.yaml", size=320, epochs=40, batch=4, lr=2e-4, ema=0.995, min_steps=1200)


def yolov8n() -> StudentConfig:
    """YOLOv8-n at 640 px, for a machine without a GPU: the recipe `small`, in our loop. The weight of the maps: chosen on book
    spines at 256 px, of 1, 6, 20 and 60.
    """
    return replace(
        rtdetr_small(), family="yolo", model="yolov8n.yaml", size=640, lr=2e-3, weight_decay=5e-4, clip=10.0, match="index",
        feature_weight=20.0,
    )  # fmt: skip


STUDENTS: dict[str, Callable[[], StudentConfig]] = {"rtdetr-l": rtdetr_l, "rtdetr-small": rtdetr_small, "yolov8n": yolov8n}


def refuse_teacher(teacher: str) -> None:
    """Raises ValueError for a --teacher that is neither a path, nor a recipe's name, nor none."""
    path = Path(teacher)
    if not path.exists() and teacher not in (NONE, *RECIPES):
        first = f" ({train(path.parent, path.name)} trains it)" if path.name in DETECTORS else ""
        raise ValueError(f"--teacher: got {teacher}, must be a finished run{first}, {NONE}, or a recipe: {', '.join(RECIPES)}")
