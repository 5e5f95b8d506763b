"""The settings of a detector's training: what all families share, and what each engine has besides."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stage1_detector.torch_engine.schedules import SCHEDULES

# What each number may be: lowest and highest, both allowed.
ALLOWED = {
    "size": (32, 8192), "epochs": (1, 10**6), "min_steps": (0, 10**9), "batch": (1, 4096), "lr": (1e-9, 10.0),
    "lr_end": (0.0, 1.0), "weight_decay": (0.0, 1.0), "warmup_epochs": (0.0, 1000.0), "scale": (0.0, 1.0),
    "translate": (0.0, 1.0), "flip_lr": (0.0, 1.0), "hue": (0.0, 1.0), "saturation": (0.0, 1.0), "value": (0.0, 1.0),
    "patience": (0, 10**6), "synthetic_ratio": (0.0, 1000.0), "seed": (0, 2**32 - 1),
}  # fmt: skip
ALLOWED_ULTRALYTICS = {
    "lr": (1e-9, 1.0), "mosaic": (0.0, 1.0), "copy_paste": (0.0, 1.0), "freeze": (0, 1000), "dis": (0.0, 1e6),
}  # fmt: skip
ALLOWED_LOOP = {
    "backbone_lr": (0.0, 10.0), "layer_decay": (0.01, 1.0), "clip": (0.0, 1e6), "accumulate": (1, 4096), "ema": (0.0, 0.99999),
    "keep": (0, 1000), "plain_epochs": (0, 10**6), "hsv_p": (0.0, 1.0), "affine_p": (0.0, 1.0), "rotate": (0.0, 180.0),
    "shear": (0.0, 60.0), "colour_policy": (0.0, 1.0), "hue": (0.0, 0.5), "scale": (0.0, 0.99),
}  # fmt: skip
ALLOWED_TORCHVISION = {
    "width": (8, 4096), "anchor_size": (0.0, 64.0), "rois": (1, 100_000), "proposals": (1, 100_000), "drop_path": (0.0, 0.99),
}  # fmt: skip
ALLOWED_TRANSFORMER = {
    "width": (8, 4096), "queries": (1, 100_000), "encoder_layers": (1, 100), "decoder_layers": (1, 100), "dropout": (0.0, 0.99),
    "drop_path": (0.0, 0.99),
}  # fmt: skip
OPTIMIZERS = ("AdamW", "Adam", "Adamax", "NAdam", "RAdam", "RMSProp", "SGD", "MuSGD")
STARTER = Path(__file__).with_name("starter.safetensors")  # made by stage1_detector.starter
STRIDE = 32  # of the coarsest layer: the sides of a canvas are multiples of it
ULTRALYTICS = ("yolo", "rtdetr")
TORCHVISION = ("rcnn", "retinanet")
TRANSFORMERS = ("conditional_detr",)
HEADS = 8  # taken: the paper's; a transformer's width is a multiple, so that its positions also have as many sines as cosines
# What a family's network may be made of.
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "rcnn": {"neck": ("fpn", "resfpn", "fpg"), "head": ("v1", "v2")},
    "retinanet": {"neck": ("fpn", "resfpn", "fpg"), "head": ("plain", "freeanchor", "pisa")},
}
NORMS = ("batch", "frozen", "group")
ANCHORS = ("default", "fitted")
TORCH_OPTIMIZERS = ("AdamW", "Adam", "SGD")


@dataclass(frozen=True)
class Config:
    """What every detector's training is told; each field is an argument of `python -m stage1_detector.train`.

    `size` is the long side of a training photo in pixels; the canvas at judgment has the same. `epochs` passes over the
    training photos, and more where they are so few that fewer than `min_steps` optimiser steps of `batch` photos would
    come out. `lr` falls to `lr * lr_end`. `warmup_epochs` counts passes. `scale`, `translate`, `flip_lr`, `hue`, `saturation`,
    `value` are augmentations: gains or probabilities in [0, 1]. `patience` > 0 keeps the best of all epochs by valid det mAP50
    and stops after so many without gain; 0 takes the last epoch, and valid only looks on.
    `synthetic_ratio` is how many synthetic photos join in an epoch for each real one, others each time.
    """

    family: str
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
    flip_lr: float = 0.5
    hue: float = 0.015
    saturation: float = 0.6
    value: float = 0.4
    patience: int = 0
    synthetic_ratio: float = 0.0
    seed: int = 0
    device: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_outside(self, ALLOWED)
        if self.size % STRIDE:
            raise ValueError(f"--size: got {self.size}, must be a multiple of {STRIDE}")

    @property
    def photos_a_step(self) -> int:
        """Photos of one step of the optimiser."""
        return self.batch


@dataclass(frozen=True)
class DetectorConfig(Config):
    """A YOLO or RT-DETR of ultralytics.

    `model` is a model YAML that it carries. The rate falls along a cosine; `mosaic` and `copy_paste` are its augmentations of
    these names; `copy_paste` pastes outlines, which boxes have none of, so that it does nothing here (the counterpart is
    `stage1_detector.synthesis --paste`). `freeze` holds the first layers of the network still. `distill_model` is a YOLO's file
    of ultralytics', whose features it imitates with weight `dis`: ultralytics' own distillation.
    """

    family: str = "yolo"
    model: str = "yolov8n.yaml"
    mosaic: float = 0.0
    copy_paste: float = 0.0
    freeze: int = 0
    distill_model: str = ""
    dis: float = 6.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        super().__post_init__()
        refuse_outside(self, ALLOWED_ULTRALYTICS)
        refuse_other(self.family, "family", ULTRALYTICS)
        refuse_other(self.optimizer, "optimizer", OPTIMIZERS)


@dataclass(frozen=True)
class LoopConfig(Config):
    """What is trained by our own loop, `stage1_detector.torch_engine.loop`.

    `schedule` is one of SCHEDULES, whose length holds where `epochs` is 0, and whose warm-up where `warmup_epochs` is. The
    backbone learns at `backbone_lr` x lr, each twelfth of it at `layer_decay` of the next one's rate. `clip` > 0 is the
    gradients' greatest norm, `accumulate` the batches of a step, `ema` > 0 the decay of averaged weights, `keep` how many of
    the best checkpoints stay. Colour jitter comes with probability `hsv_p`, an affine map of +-`rotate` and +-`shear` degrees
    with `affine_p`, a colour policy with `colour_policy`; in the last `plain_epochs` nothing
    does.
    """

    epochs: int = 0
    lr: float = 0.0001
    warmup_epochs: float = 0.0
    schedule: str = "cosine"
    backbone_lr: float = 1.0
    layer_decay: float = 1.0
    clip: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    keep: int = 3
    plain_epochs: int = 0
    hsv_p: float = 1.0
    affine_p: float = 1.0
    rotate: float = 0.0
    shear: float = 0.0
    colour_policy: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_other(self.schedule, "schedule", tuple(SCHEDULES))
        if not self.epochs:
            object.__setattr__(self, "epochs", SCHEDULES[self.schedule].epochs)
            object.__setattr__(self, "min_steps", self.min_steps or SCHEDULES[self.schedule].steps)
        super().__post_init__()
        refuse_outside(self, ALLOWED_LOOP)
        refuse_other(self.optimizer, "optimizer", TORCH_OPTIMIZERS)

    @property
    def photos_a_step(self) -> int:
        """Photos of one step of the optimiser."""
        return self.batch * self.accumulate


@dataclass(frozen=True)
class TorchvisionConfig(LoopConfig):
    """A Faster R-CNN or RetinaNet of torchvision on any backbone of timm.

    `backbone` is timm's name, `neck`, `head`, `norm` and `anchors` as in CHOICES, NORMS and ANCHORS: heads v1 and v2 are
    torchvision's Faster R-CNN of these names, plain, freeanchor and pisa a RetinaNet's losses. `norm` frozen holds the
    backbone's batch norm still (for pretrained weights), group puts group norm in its place. `width` is the channels of the
    pyramid, `anchor_size` an anchor's side as a multiple of the stride (0: 8, of a RetinaNet 4); `rois` are sampled of a
    photo in training, `proposals` taken at judgment.
    """

    family: str = "rcnn"
    backbone: str = "resnet50"
    neck: str = "fpn"
    head: str = ""
    norm: str = "batch"
    width: int = 256
    anchors: str = "default"
    anchor_size: float = 0.0
    rois: int = 512
    proposals: int = 1000
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_other(self.family, "family", TORCHVISION)
        if not self.head:
            object.__setattr__(self, "head", CHOICES[self.family]["head"][0])
        super().__post_init__()
        refuse_outside(self, ALLOWED_TORCHVISION)
        for name, allowed in {**CHOICES[self.family], "norm": NORMS, "anchors": ANCHORS}.items():
            refuse_other(getattr(self, name), name, allowed)


@dataclass(frozen=True)
class TransformerConfig(LoopConfig):
    """A Conditional DETR of transformers on any backbone of timm, of which it takes the last map.

    `backbone`, `norm` and `drop_path` as in TorchvisionConfig. `width` is that of the transformer, a multiple of HEADS, its
    layers' hidden part 8 times as wide; each of the `queries` may find one product. `dropout` is that of its layers.
    """

    family: str = "conditional_detr"
    backbone: str = "resnet50"
    norm: str = "batch"
    width: int = 256
    queries: int = 300
    encoder_layers: int = 6
    decoder_layers: int = 6
    dropout: float = 0.1
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_other(self.family, "family", TRANSFORMERS)
        super().__post_init__()
        refuse_outside(self, ALLOWED_TRANSFORMER)
        refuse_other(self.norm, "norm", NORMS)
        if self.width % HEADS:
            raise ValueError(f"--width: got {self.width}, must be a multiple of {HEADS} in family {self.family}")


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


def refuse_other(value: str, name: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError for a value that is none of `allowed`."""
    if value not in allowed:
        raise ValueError(f"--{name}: got {value!r}, allowed: {', '.join(allowed)}")


def override(config: Config, values: Mapping[str, object]) -> Config:
    """`config` with those of `values` that are settings of a detector and not None.

    Another family starts from its own defaults, where it is not of the same engine. Raises ValueError for a setting that the
    family does not have.

    >>> override(DetectorConfig(), {"epochs": 3, "batch": None, "data": "D"}).epochs
    3
    >>> override(DetectorConfig(), {"neck": "fpn"})
    Traceback (most recent call last):
    ValueError: --neck: not a setting of family yolo
    """
    given = {name: value for name, value in values.items() if name in SETTINGS and value is not None}
    kind, family = kind_of(str(given.get("family", config.family))), given.get("family", config.family)
    config = config if isinstance(config, kind) else kind(family=str(family))
    if issubclass(kind, LoopConfig):
        given |= {"epochs": 0, "min_steps": 0} if "schedule" in given and "epochs" not in given else {}
    if kind is TorchvisionConfig:
        given |= {"head": ""} if family != config.family and "head" not in given else {}
    unknown = [name for name in given if name not in {field.name for field in fields(kind)}]
    if unknown:
        raise ValueError(f"--{unknown[0].replace('_', '-')}: not a setting of family {family}")
    return replace(config, **given)  # type: ignore[arg-type]


def kind_of(family: str) -> type[Config]:
    """Which record holds the settings of a family. Raises ValueError for an unknown one."""
    refuse_other(family, "family", ULTRALYTICS + TORCHVISION + TRANSFORMERS)
    if family in TRANSFORMERS:
        return TransformerConfig
    return DetectorConfig if family in ULTRALYTICS else TorchvisionConfig


def from_settings(settings: Mapping[str, Any]) -> Config:
    """The settings that a run.json tells of, whatever else it tells."""
    kind = kind_of(settings["family"])
    return kind(**{field.name: settings[field.name] for field in fields(kind) if field.name in settings})


SETTINGS = {field.name for kind in (DetectorConfig, TorchvisionConfig, TransformerConfig) for field in fields(kind)}


def weights_file(given: Path | None) -> Path | None:
    """The weights file that `--pretrained` means: `starter` is the one in this package. ValueError for one that is missing."""
    path = STARTER if given is not None and str(given) == "starter" else given
    if path is not None and not path.is_file():
        raise ValueError(f"--pretrained: got {path}, must be a local weights file, or starter")
    return path
