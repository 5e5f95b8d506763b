"""The settings of a detector's training, and the named recipes: what to run, what it costs, what it should reach."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

# What each number may be: lowest and highest, both allowed.
ALLOWED = {
    "size": (32, 8192), "epochs": (1, 10**6), "min_steps": (0, 10**9), "batch": (1, 4096), "lr": (1e-9, 10.0),
    "lr_end": (0.0, 1.0), "weight_decay": (0.0, 1.0), "warmup_epochs": (0.0, 1000.0), "scale": (0.0, 1.0),
    "translate": (0.0, 1.0), "mosaic": (0.0, 1.0), "copy_paste": (0.0, 1.0), "flip_lr": (0.0, 1.0), "hue": (0.0, 1.0),
    "saturation": (0.0, 1.0), "value": (0.0, 1.0), "freeze": (0, 1000), "patience": (0, 10**6),
    "synthetic_ratio": (0.0, 1000.0), "seed": (0, 2**32 - 1),
}  # fmt: skip
OPTIMIZERS = ("AdamW", "Adam", "Adamax", "NAdam", "RAdam", "RMSProp", "SGD", "MuSGD")
STARTER = Path(__file__).with_name("starter.safetensors")  # made by stage1_detector.starter
STRIDE = 32  # of the coarsest layer: the sides of a canvas are multiples of it


@dataclass(frozen=True)
class DetectorConfig:
    """How one detector is trained. Every field is an argument of `python -m stage1_detector.train`.

    `size` is the long side of a training photo in pixels; the canvas at judgment has the same. `epochs` passes over the
    training photos, and more where they are so few that fewer than `min_steps` optimiser steps of `batch` photos would
    come out. `lr` falls along a cosine to `lr * lr_end`. `warmup_epochs` counts passes. `scale`, `translate`, `mosaic`,
    `copy_paste`, `flip_lr`, `hue`, `saturation`, `value` are ultralytics' augmentations of the same names: gains or
    probabilities in [0, 1]; its `copy_paste` pastes outlines, which boxes have none of, so that it does nothing here (the
    counterpart is `stage1_detector.synth --paste`). `freeze` holds the first layers of the network still. `patience` > 0
    keeps the best of all epochs by valid det mAP50 and stops after so many without gain; 0 takes the last epoch, and valid
    only looks on.
    `synthetic_ratio` is how many synthetic photos join in an epoch for each real one, others each time.
    """

    family: str = "yolo"
    model: str = "yolov8n.yaml"
    size: int = 640
    epochs: int = 40
    min_steps: int = 0
    batch: int = 4
    optimizer: str = "AdamW"
    lr: float = 0.002
    lr_end: float = 0.02
    weight_decay: float = 0.0005
    warmup_epochs: float = 2.0
    scale: float = 0.4
    translate: float = 0.1
    mosaic: float = 0.0
    copy_paste: float = 0.0
    flip_lr: float = 0.5
    hue: float = 0.015
    saturation: float = 0.6
    value: float = 0.4
    freeze: int = 0
    patience: int = 0
    synthetic_ratio: float = 0.0
    seed: int = 0
    device: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_outside(self, ALLOWED)
        if self.size % STRIDE:
            raise ValueError(f"--size: got {self.size}, must be a multiple of {STRIDE}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"--optimizer: got {self.optimizer!r}, allowed: {', '.join(OPTIMIZERS)}")


def refuse_outside(config: Any, allowed: Mapping[str, tuple[float, float]]) -> None:
    """Raises ValueError for the first field of `config` outside its range in `allowed`; not-a-number is outside of any.

    >>> refuse_outside(DetectorConfig(), {"lr": (1, 2)})
    Traceback (most recent call last):
    ValueError: --lr: got 0.002, allowed 1 to 2
    """
    for name, (lowest, highest) in allowed.items():
        value = getattr(config, name)
        if not lowest <= value <= highest:
            raise ValueError(f"--{name.replace('_', '-')}: got {value}, allowed {lowest} to {highest}")


def small() -> DetectorConfig:
    """yolov8n at 640 px, for a machine without a GPU: the default.

    `python -m stage1_detector.train --data D --out R --classes one --pretrained starter`. About 0.4 s a photo and epoch on 2
    cores. Learns fastest of the three from random weights: 300 steps at 256 px on 77 photos of book spines reach det mAP50 0.50
    (yolo11n 0.46, yolo26n 0.31), and 0.81 from the starter.
    """
    return DetectorConfig(min_steps=1200)


def demo() -> DetectorConfig:
    """yolov8n at 416 px for drawn shelves of 640 px: the recipe of `make demo`, about 3 minutes on 2 cores."""
    return DetectorConfig(size=416, epochs=10)


def yolo26l() -> DetectorConfig:
    """System A's YOLO26-l: 1280 px, freeze 10, copy_paste 0.8, patience 30, up to 150 epochs. Needs a GPU and, since ten
    layers are frozen, `--pretrained FILE`. Theirs: 0.7664, and 0.8331 with flip and WBF. Not run here.
    """
    return DetectorConfig(
        model="yolo26l.yaml", size=1280, epochs=150, batch=8, freeze=10, copy_paste=0.8, patience=30, mosaic=1.0
    )


def yolo11l() -> DetectorConfig:
    """YOLO11-l as `yolo26l`, for a second opinion. Needs a GPU and `--pretrained FILE`. Not run here."""
    return replace(yolo26l(), model="yolo11l.yaml")


def yolov8l() -> DetectorConfig:
    """YOLOv8-l at 1280 px, nothing frozen: the public board's first had two of them (0.9266 with a YOLOv8-m, flip and WBF).
    Needs a GPU. Not run here.
    """
    return replace(yolo26l(), model="yolov8l.yaml", freeze=0)


def yolov8x() -> DetectorConfig:
    """YOLOv8-x as `yolov8l`, half as large again. Needs a GPU. Not run here."""
    return replace(yolov8l(), model="yolov8x.yaml", batch=4)


def yolo26n() -> DetectorConfig:
    """YOLO26-n at 640 px, for a machine without a GPU, as `small`; about 0.45 s a photo and epoch on 2 cores."""
    return replace(small(), model="yolo26n.yaml")


def yolo11n() -> DetectorConfig:
    """YOLO11-n at 640 px, for a machine without a GPU, as `small`; about 0.45 s a photo and epoch on 2 cores."""
    return replace(small(), model="yolo11n.yaml")


def yolov8s() -> DetectorConfig:
    """YOLOv8-s at 640 px: three times the work of `small`, for patience or a small GPU. Not run here."""
    return replace(small(), model="yolov8s.yaml")


def rtdetr_l() -> DetectorConfig:
    """System A's RT-DETR-l: nothing frozen, copy_paste 0.5, 100 epochs, as many queries as the photos need. Needs a GPU.

    Near-zero mAP until epoch 40 to 50 is normal: let it run. Theirs: see `yolo26l`, of whose ensemble it is a part. Not run
    here beyond one epoch at 160 px.
    """
    return DetectorConfig(
        family="rtdetr", model="rtdetr-l.yaml", size=1280, epochs=100, batch=4, lr=0.0001, copy_paste=0.5, mosaic=1.0
    )


RECIPES = {
    "small": small, "demo": demo, "yolov8s": yolov8s, "yolo11n": yolo11n, "yolo26n": yolo26n, "yolov8l": yolov8l,
    "yolov8x": yolov8x, "yolo11l": yolo11l, "yolo26l": yolo26l, "rtdetr-l": rtdetr_l,
}  # fmt: skip


def recipe(name: str, quick: bool = False) -> DetectorConfig:
    """The recipe called `name`; `quick` makes it a rehearsal of 1 epoch at 160 px that tests every joint and learns nothing.

    Raises ValueError for an unknown name.
    """
    if name not in RECIPES:
        raise ValueError(f"--recipe: got {name!r}, allowed: {', '.join(RECIPES)}")
    config = RECIPES[name]()
    return replace(config, size=160, epochs=1, min_steps=0, patience=0, warmup_epochs=0.0) if quick else config


def override(config: DetectorConfig, values: dict[str, object]) -> DetectorConfig:
    """`config` with those of `values` that are its fields and not None.

    >>> override(DetectorConfig(), {"epochs": 3, "batch": None, "data": "D"}).epochs
    3
    """
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in values.items() if name in known and value is not None})  # type: ignore[arg-type]


def weights_file(given: Path | None) -> Path | None:
    """The weights file that `--pretrained` means: `starter` is the one in this package. ValueError for one that is missing."""
    path = STARTER if given is not None and str(given) == "starter" else given
    if path is not None and not path.is_file():
        raise ValueError(f"--pretrained: got {path}, must be a local weights file, or starter")
    return path
