"""How large everything is that is checked: FULL on a GPU, TINY in a rehearsal on a CPU. Loads nothing heavy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from experiments.figures.records import Measured

GPU, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Detector(NamedTuple):
    """A detector by its family and ultralytics' model YAML."""

    family: str
    model: str

    @property
    def name(self) -> str:
        """The YAML without its suffix.

        >>> Detector("yolo", "yolov8l.yaml").name
        'yolov8l'
        """
        return self.model.removesuffix(".yaml")


@dataclass(frozen=True)
class Scale:
    """Networks, sizes in pixels, counts of photos, and how often a run is timed."""

    detectors: tuple[Detector, Detector, Detector]  # two YOLOs and an RT-DETR
    size: int  # the detectors' canvas
    backbone: str  # the crop classifier's, as timm names it
    crop_size: int
    crop_batch: int  # crops of a batch at judgment
    repeats: int  # timed runs of a graph
    judged_photos: int
    photo_size: tuple[int, int]  # width and height of a judged photo
    shelves: int  # drawn photos to train on
    shelf_size: tuple[int, int]
    train_batch: int
    memory_detector: str  # model YAML of the training that memory is made too small for
    memory_batches: tuple[int, int]  # of that training, and of a classifier's
    memory_gb: float  # what both are given of the GPU's memory
    fit_flags: tuple[str, ...]  # of `hylle fit`


FULL = Scale(
    detectors=(Detector("yolo", "yolov8l.yaml"), Detector("yolo", "yolo26l.yaml"), Detector("rtdetr", "rtdetr-l.yaml")),
    size=1280, backbone="convnext_small", crop_size=224, crop_batch=64, repeats=30, judged_photos=250,
    photo_size=(4032, 3024), shelves=48, shelf_size=(1600, 1200), train_batch=4, memory_detector="yolov8n.yaml",
    memory_batches=(16, 256), memory_gb=5.0, fit_flags=("--minutes", "2"),
)  # fmt: skip
TINY = Scale(
    detectors=(Detector("yolo", "yolov8n.yaml"), Detector("yolo", "yolo26n.yaml"), Detector("rtdetr", "yolov8n-rtdetr.yaml")),
    size=64, backbone="test_convnext", crop_size=64, crop_batch=4, repeats=3, judged_photos=4, photo_size=(320, 240),
    shelves=4, shelf_size=(160, 128), train_batch=2, memory_detector="yolov8n.yaml", memory_batches=(4, 8), memory_gb=0.0,
    fit_flags=("--minutes", "60", "--plan", "--size", "64", "--crop-size", "32", "--folds", "2"),
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What a check is given: the folder that all checks share, the scale, and whether it is rehearsed on a CPU."""

    out: Path
    scale: Scale
    rehearsed: bool

    @property
    def provider(self) -> str:
        """The provider of onnxruntime that every model must run on."""
        return CPU if self.rehearsed else GPU

    @property
    def device(self) -> str:
        """The device as trainings take it."""
        return "cpu" if self.rehearsed else "0"

    def setting(self, text: str) -> str:
        """The setting of a figure: `text`, and that the weights are random."""
        return f"{text}; random weights{'; a rehearsal on a CPU' if self.rehearsed else ''}"


class Check(NamedTuple):
    """A check: its name, what measures it (figures as they come; an exception where it fails), and its seconds on a GPU."""

    name: str
    measure: Callable[[Work], Iterator[Measured]]
    cost: float  # chosen: seconds that must be left for it to begin; estimated for one H100, not measured
