"""The settings of a detector's training: what all families share, and what each engine has besides."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from fusion.views import SHRINKINGS
from runs.flags import Flag, check
from stage1_detector.torch_engine.schedules import SCHEDULES

OPTIMIZERS = ("AdamW", "Adam", "Adamax", "NAdam", "RAdam", "RMSProp", "SGD", "MuSGD")
STARTER = Path(__file__).with_name("starter.safetensors")  # made by stage1_detector.starter
STRIDE = 32  # of the coarsest layer: the sides of a canvas are multiples of it
ULTRALYTICS = ("yolo", "rtdetr")
TORCHVISION = ("rcnn", "retinanet")
TRANSFORMERS = ("conditional_detr",)
FAMILY_NAMES = ULTRALYTICS + TORCHVISION + TRANSFORMERS
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
    """The settings of every family; each field is a flag of `stage1_detector.train`, its range beside it.

    `size` is also the canvas at judgment, and photos are shrunk to it then by the same `shrinking`. `epochs` become more where
    the photos are so few that fewer than `min_steps` optimiser steps of `batch` photos would come out. With `patience` > 0 the
    best of all epochs by valid det mAP50 is kept; with 0 the last one is.
    """

    family: Annotated[str, Flag("family of detectors", choices=FAMILY_NAMES, common=True)]
    size: Annotated[int, Flag("long side of a photo in pixels, a multiple of 32", 32, 8192, common=True)] = 640
    epochs: Annotated[int, Flag("passes over the training photos", 1, 10**6, common=True)] = 40
    min_steps: Annotated[int, Flag("optimiser steps at least, by more epochs where photos are few", 0, 10**9)] = 0
    batch: Annotated[int, Flag("photos of a batch", 1, 4096, common=True)] = 4
    optimizer: Annotated[str, Flag("optimiser; our own loop has AdamW, Adam and SGD", choices=OPTIMIZERS)] = "AdamW"
    lr: Annotated[float, Flag("learning rate; at most 1 in ultralytics", 1e-9, 10.0, common=True)] = 0.002
    lr_end: Annotated[float, Flag("last learning rate as a multiple of --lr", 0.0, 1.0)] = 0.02
    weight_decay: Annotated[float, Flag("weight decay", 0.0, 1.0)] = 0.0005
    warmup_epochs: Annotated[float, Flag("epochs in which the rate rises to --lr", 0.0, 1000.0)] = 2.0
    scale: Annotated[float, Flag("augmentation: largest gain in size; at most 0.99 in our own loop", 0.0, 1.0)] = 0.4
    translate: Annotated[float, Flag("augmentation: largest shift, as a share of the canvas", 0.0, 1.0)] = 0.1
    flip_lr: Annotated[float, Flag("augmentation: probability of a mirror image", 0.0, 1.0)] = 0.5
    hue: Annotated[float, Flag("augmentation: largest change of hue; at most 0.5 in our own loop", 0.0, 1.0)] = 0.015
    saturation: Annotated[float, Flag("augmentation: largest gain in saturation", 0.0, 1.0)] = 0.6
    value: Annotated[float, Flag("augmentation: largest gain in brightness", 0.0, 1.0)] = 0.4
    patience: Annotated[int, Flag("epochs without gain before it stops; 0: the last epoch counts", 0, 10**6, common=True)] = 0
    shrinking: Annotated[
        str, Flag("photos of more than twice the canvas: averaged before they are interpolated, or not", choices=SHRINKINGS)
    ] = "average"
    synthetic_ratio: Annotated[float, Flag("synthetic photos an epoch for each real one, others each time", 0.0, 1000.0)] = 0.0
    seed: Annotated[int, Flag("seed of all that is drawn by chance", 0, 2**32 - 1, common=True)] = 0
    device: Annotated[
        str, Flag("cpu, or empty: the GPU if any; of several CUDA_VISIBLE_DEVICES=1 takes another for all steps", common=True)
    ] = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        check(self)
        if self.size % STRIDE:
            raise ValueError(f"--size: got {self.size}, must be a multiple of {STRIDE}")

    @property
    def photos_a_step(self) -> int:
        """Photos of one step of the optimiser."""
        return self.batch


@dataclass(frozen=True)
class DetectorConfig(Config):
    """A YOLO or RT-DETR of ultralytics, whose rate falls along a cosine.

    `copy_paste` pastes outlines, which boxes have none of, so that it does nothing here (the counterpart is
    `stage1_detector.synthesis --paste`). `distill_model` is a file of ultralytics', whose features are imitated: ultralytics'
    own distillation.
    """

    family: Annotated[str, Flag("family of detectors", choices=ULTRALYTICS)] = "yolo"
    lr: Annotated[float, Flag("learning rate", 1e-9, 1.0)] = 0.002
    model: Annotated[str, Flag("model YAML that ultralytics carries", common=True)] = "yolov8n.yaml"
    mosaic: Annotated[float, Flag("probability of a mosaic of four photos", 0.0, 1.0)] = 0.0
    copy_paste: Annotated[float, Flag("probability of pasted outlines (none, where there are boxes only)", 0.0, 1.0)] = 0.0
    freeze: Annotated[int, Flag("layers held still, from the first", 0, 1000)] = 0
    distill_model: Annotated[str, Flag("a YOLO's .pt file, for ultralytics' own distillation (ours: hylle distill)")] = ""
    dis: Annotated[float, Flag("weight of --distill-model", 0.0, 1e6)] = 6.0


@dataclass(frozen=True)
class LoopConfig(Config):
    """What is trained by our own loop, `stage1_detector.torch_engine.loop`.

    The length of `schedule` holds where `epochs` is 0, and its warm-up where `warmup_epochs` is. In the last `plain_epochs`
    nothing is augmented.
    """

    epochs: Annotated[int, Flag("passes over the training photos", 1, 10**6)] = 0
    optimizer: Annotated[str, Flag("optimiser", choices=TORCH_OPTIMIZERS)] = "AdamW"
    lr: Annotated[float, Flag("learning rate", 1e-9, 10.0)] = 0.0001
    warmup_epochs: Annotated[float, Flag("epochs in which the rate rises to --lr", 0.0, 1000.0)] = 0.0
    scale: Annotated[float, Flag("augmentation: largest gain in size", 0.0, 0.99)] = 0.4
    hue: Annotated[float, Flag("augmentation: largest change of hue", 0.0, 0.5)] = 0.015
    schedule: Annotated[str, Flag("schedule of the rate; alone it also sets the length", choices=tuple(SCHEDULES))] = "cosine"
    backbone_lr: Annotated[float, Flag("the backbone's rate as a multiple of --lr", 0.0, 10.0)] = 1.0
    layer_decay: Annotated[float, Flag("rate of each twelfth of the backbone as a multiple of the next one's", 0.01, 1.0)] = 1.0
    clip: Annotated[float, Flag("greatest norm of the gradients; 0: any", 0.0, 1e6)] = 0.0
    accumulate: Annotated[int, Flag("batches of a step", 1, 4096)] = 1
    ema: Annotated[float, Flag("decay of averaged weights; 0: none", 0.0, 0.99999)] = 0.0
    keep: Annotated[int, Flag("best checkpoints that stay", 0, 1000)] = 3
    plain_epochs: Annotated[int, Flag("epochs at the end without augmentation", 0, 10**6)] = 0
    cache_mb: Annotated[int, Flag("memory for photos kept from epoch to epoch, MB of each process; 0: none", 0, 10**7)] = 2000
    max_shrink: Annotated[int, Flag("decode photos at 1/2, 1/4 or 1/8, to 1/N, where the canvas needs no more", 1, 8)] = 1
    hsv_p: Annotated[float, Flag("probability of --hue, --saturation, --value", 0.0, 1.0)] = 1.0
    affine_p: Annotated[float, Flag("probability of --rotate, --shear, --translate, --scale", 0.0, 1.0)] = 1.0
    rotate: Annotated[float, Flag("augmentation: largest turn, degrees", 0.0, 180.0)] = 0.0
    shear: Annotated[float, Flag("augmentation: largest shear, degrees", 0.0, 60.0)] = 0.0
    colour_policy: Annotated[float, Flag("probability of AutoAugment's colours for SVHN", 0.0, 1.0)] = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_other(self.schedule, "schedule", tuple(SCHEDULES))
        if not self.epochs:
            object.__setattr__(self, "epochs", SCHEDULES[self.schedule].epochs)
            object.__setattr__(self, "min_steps", self.min_steps or SCHEDULES[self.schedule].steps)
        super().__post_init__()

    @property
    def photos_a_step(self) -> int:
        """Photos of one step of the optimiser."""
        return self.batch * self.accumulate


@dataclass(frozen=True)
class TorchvisionConfig(LoopConfig):
    """A Faster R-CNN or RetinaNet of torchvision on any backbone of timm.

    `neck` and `head` as in CHOICES: heads v1 and v2 are torchvision's Faster R-CNN of these names, plain, freeanchor and pisa a
    RetinaNet's losses. `norm` frozen is for pretrained weights. An `anchor_size` of 0 means 8, of a RetinaNet 4.
    """

    family: Annotated[str, Flag("family of detectors", choices=TORCHVISION)] = "rcnn"
    backbone: Annotated[str, Flag("backbone, as timm names it")] = "resnet50"
    neck: Annotated[str, Flag("feature pyramid", choices=CHOICES["rcnn"]["neck"])] = "fpn"
    head: Annotated[str, Flag("v1, v2 of rcnn; plain, freeanchor, pisa of retinanet; empty: the family's first")] = ""
    norm: Annotated[str, Flag("the backbone's norm: batch, batch held still, or group in its place", choices=NORMS)] = "batch"
    width: Annotated[int, Flag("channels of the pyramid, or of a transformer", 8, 4096)] = 256
    anchors: Annotated[str, Flag("anchors' shapes: the usual, or fitted to the boxes", choices=ANCHORS)] = "default"
    anchor_size: Annotated[float, Flag("anchor's side as a multiple of its level's stride; 0: the family's", 0.0, 64.0)] = 0.0
    rois: Annotated[int, Flag("boxes sampled of a photo in training", 1, 100_000)] = 512
    proposals: Annotated[int, Flag("boxes looked at at judgment", 1, 100_000)] = 1000
    drop_path: Annotated[float, Flag("probability that a block of the backbone is left out", 0.0, 0.99)] = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_other(self.family, "family", TORCHVISION)
        if not self.head:
            object.__setattr__(self, "head", CHOICES[self.family]["head"][0])
        super().__post_init__()
        refuse_other(self.head, "head", CHOICES[self.family]["head"])


@dataclass(frozen=True)
class TransformerConfig(LoopConfig):
    """A Conditional DETR of transformers on any backbone of timm, of which it takes the last map.

    `width` is a multiple of HEADS, the hidden part of the layers 8 times as wide; each of the `queries` may find one product.
    """

    family: Annotated[str, Flag("family of detectors", choices=TRANSFORMERS)] = "conditional_detr"
    backbone: Annotated[str, Flag("backbone, as timm names it")] = "resnet50"
    norm: Annotated[str, Flag("the backbone's norm", choices=NORMS)] = "batch"
    width: Annotated[int, Flag("channels of the transformer", 8, 4096)] = 256
    queries: Annotated[int, Flag("the most products that it can find in a photo", 1, 100_000)] = 300
    encoder_layers: Annotated[int, Flag("layers of the encoder", 1, 100)] = 6
    decoder_layers: Annotated[int, Flag("layers of the decoder", 1, 100)] = 6
    dropout: Annotated[float, Flag("dropout of the transformer's layers", 0.0, 0.99)] = 0.1
    drop_path: Annotated[float, Flag("probability that a block of the backbone is left out", 0.0, 0.99)] = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        super().__post_init__()
        if self.width % HEADS:
            raise ValueError(f"--width: got {self.width}, must be a multiple of {HEADS} in family {self.family}")


# The title of each class's settings in --help-all.
GROUPS: dict[type, str] = {
    Config: "Settings of all families",
    DetectorConfig: "Settings of ultralytics (yolo, rtdetr)",
    LoopConfig: "Settings of our own loop (rcnn, retinanet, conditional_detr)",
    TorchvisionConfig: "Settings of torchvision (rcnn, retinanet)",
    TransformerConfig: "Settings of a transformer (conditional_detr)",
}


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
        given = ({"epochs": 0, "min_steps": 0} if "schedule" in given and "epochs" not in given else {}) | given
    if kind is TorchvisionConfig:
        given |= {"head": ""} if family != config.family and "head" not in given else {}
    unknown = [name for name in given if name not in {field.name for field in fields(kind)}]
    if unknown:
        raise ValueError(f"--{unknown[0].replace('_', '-')}: not a setting of family {family}")
    return replace(config, **given)  # type: ignore[arg-type]


def kind_of(family: str) -> type[Config]:
    """Which record holds the settings of a family. Raises ValueError for an unknown one."""
    refuse_other(family, "family", FAMILY_NAMES)
    if family in TRANSFORMERS:
        return TransformerConfig
    return DetectorConfig if family in ULTRALYTICS else TorchvisionConfig


def from_settings(settings: Mapping[str, Any]) -> Config:
    """The settings that a run.json tells of, whatever else it tells."""
    kind, known = kind_of(settings["family"]), {"shrinking": "linear"} | settings  # so it was before there was a choice
    return kind(**{field.name: known[field.name] for field in fields(kind) if field.name in known})


SETTINGS = {field.name for kind in (DetectorConfig, TorchvisionConfig, TransformerConfig) for field in fields(kind)}
