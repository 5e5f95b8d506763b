"""The settings of the crop classifier's training, and the named recipes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, NamedTuple

from fusion.views import FITS
from photos.data import product_key
from runs.flags import Flag, check

STARTER = Path(__file__).with_name("starter.safetensors")  # made by stage2_classifier.starter
MOST_MARGIN = 0.25  # derived: of crops.ROOM, 0.4, what is left holds the errors of boxes; beyond, crops differ from the judge's
HEADS = ("linear", "cosine", "arcface", "subcentre")


class Columns(NamedTuple):
    """The classifier's outputs: `names` of them are categories; `unknown` is the one that is many products, if there is one;
    `background` says that one more output, the last, is for what is no product.
    """

    names: int
    unknown: int | None = None
    background: bool = False

    @property
    def width(self) -> int:
        """How many outputs there are.

        >>> Columns(356, background=True).width
        357
        """
        return self.names + self.background


@dataclass(frozen=True)
class ClassifierConfig:
    """How the classifier is trained; each field is a flag of `stage2_classifier.train`, its range beside it.

    `epochs` are passes of as many crops as there are boxes, and more where fewer than `min_steps` steps would come out. `head`
    is one of HEADS (`stage2_classifier.heads`). `balance` weighs a category by count^-balance when crops are drawn; the one
    called `unknown` is many products: it is drawn as it comes and gets no margin. `mixup` and `cutmix` are the alphas of the
    Beta distributions that crops are mixed by.
    """

    model: Annotated[str, Flag("backbone, as timm names it; random weights unless --pretrained", common=True)] = "resnet10t"
    size: Annotated[int, Flag("side of a crop in pixels", 16, 2048, common=True)] = 96
    fit: Annotated[str, Flag("how a crop fills its square", choices=FITS)] = "letterbox"
    margin: Annotated[float, Flag("context around a box, as a share of its sides", 0.0, MOST_MARGIN)] = 0.05
    epochs: Annotated[int, Flag("passes over the crops", 1, 10**6, common=True)] = 30
    min_steps: Annotated[int, Flag("optimiser steps at least, by more epochs where crops are few", 0, 10**9)] = 600
    batch: Annotated[int, Flag("crops of a step", 2, 4096, common=True)] = 48
    lr: Annotated[float, Flag("highest learning rate", 1e-9, 10.0, common=True)] = 0.002
    weight_decay: Annotated[float, Flag("weight decay", 0.0, 1.0)] = 0.05
    warmup: Annotated[float, Flag("share of the steps in which the rate rises", 0.0, 0.99)] = 0.1
    head: Annotated[str, Flag("what names the features", choices=HEADS, common=True)] = "linear"
    subcentres: Annotated[int, Flag("centres of a name, for --head subcentre", 1, 16)] = 3
    head_scale: Annotated[float, Flag("what cosines are multiplied by", 1.0, 256.0)] = 24.0
    arc_margin: Annotated[float, Flag("margin in radians, for --head arcface and subcentre", 0.0, 1.5)] = 0.3
    balance: Annotated[float, Flag("0 natural, 0.5 square root, 1 class balanced", 0.0, 1.0, common=True)] = 0.75
    unknown: Annotated[str, Flag("the category that is many products; it is drawn as it comes")] = "unknown_product"
    background: Annotated[float, Flag("share of crops that show no product; 0: no such output", 0.0, 0.9)] = 0.0
    jitter: Annotated[float, Flag("augmentation: multiple of the detector's measured box error", 0.0, 10.0)] = 1.0
    smoothing: Annotated[float, Flag("label smoothing", 0.0, 1.0)] = 0.05
    mixup: Annotated[float, Flag("augmentation: alpha of mixup; 0: off", 0.0, 10.0)] = 0.0
    cutmix: Annotated[float, Flag("augmentation: alpha of cutmix; 0: off", 0.0, 10.0)] = 0.0
    rotate: Annotated[float, Flag("augmentation: degrees; 180 where products stand on their heads", 0.0, 180.0)] = 12.0
    colour: Annotated[float, Flag("augmentation: strength of colour jitter", 0.0, 1.0)] = 0.3
    blur: Annotated[float, Flag("augmentation: probability of blur", 0.0, 1.0)] = 0.3
    erase: Annotated[float, Flag("augmentation: probability of an erased part", 0.0, 1.0)] = 0.25
    bridge: Annotated[float, Flag("how strongly studio crops are made to look like shelf crops", 0.0, 1.0)] = 0.0
    ema: Annotated[float, Flag("decay of the averaged weights that are kept", 0.0, 0.9999)] = 0.98
    seed: Annotated[int, Flag("seed of all that is drawn by chance", 0, 2**32 - 1, common=True)] = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        check(self)


def columns(config: ClassifierConfig, names: Sequence[str]) -> Columns:
    """The outputs for categories of these `names`.

    >>> columns(ClassifierConfig(background=0.1), ["Dal Te", "unknown_product"])
    Columns(names=2, unknown=1, background=True)
    """
    same = [i for i, name in enumerate(names) if product_key(name) == product_key(config.unknown)]
    return Columns(len(names), same[0] if same else None, config.background > 0)


def small() -> ClassifierConfig:
    """resnet10t on 96 px crops from random weights, for a machine without a GPU: the default."""
    return ClassifierConfig()


def demo() -> ClassifierConfig:
    """resnet10t on 64 px crops of drawn shelves: the recipe of `make demo`, about 2 minutes on 2 cores."""
    return ClassifierConfig(size=64, epochs=4, min_steps=160)


def convnext() -> ClassifierConfig:
    """ConvNeXt-small on 224 px crops, as a contestant's override used. Needs a GPU and `--pretrained FILE`. Not run here.

    `python -m stage2_classifier.train --data D --out R --recipe convnext --pretrained FILE --name convnext`. 50 million
    weights, 8.7 GFLOP a crop: an estimated hour on one H100 for the contest's 22,731 boxes.
    """
    return ClassifierConfig(
        model="convnext_small", size=224, epochs=40, lr=0.0003, batch=64, head="subcentre", mixup=0.2, cutmix=0.5,
        background=0.1, balance=0.5, ema=0.999,
    )  # fmt: skip


def efficientnetv2() -> ClassifierConfig:
    """EfficientNetV2-S on 224 px crops: the second backbone beside ConvNeXt. Needs a GPU and `--pretrained FILE`. Not run here.

    `python -m stage2_classifier.train --data D --out R --recipe efficientnetv2 --pretrained FILE --name efficientnetv2`.
    20 million weights, 3 GFLOP a crop: an estimated half hour on one H100.
    """
    return ClassifierConfig(
        model="tf_efficientnetv2_s", size=224, epochs=40, lr=0.0005, batch=64, head="arcface", mixup=0.2, cutmix=0.5,
        background=0.1, balance=0.5, ema=0.999,
    )  # fmt: skip


def dinov2() -> ClassifierConfig:
    """DINOv2 ViT-S/14 on 224 px crops, 16 x 16 patches (its own 518 px are resampled). Needs a GPU and `--pretrained FILE`.

    `python -m stage2_classifier.train --data D --out R --recipe dinov2 --pretrained FILE --name dinov2`. 22 million weights,
    6 GFLOP a crop: an estimated hour on one H100. Not run here. Its file is timm's vit_small_patch14_dinov2.
    """
    return ClassifierConfig(
        model="vit_small_patch14_dinov2", size=224, epochs=30, lr=0.0001, batch=64, head="arcface", background=0.1,
        balance=0.5, ema=0.999,
    )  # fmt: skip


RECIPES = {"small": small, "demo": demo, "convnext": convnext, "efficientnetv2": efficientnetv2, "dinov2": dinov2}


def recipe(name: str, quick: bool = False) -> ClassifierConfig:
    """The recipe called `name`; `quick` makes it a rehearsal, 1 epoch on 32 px crops. Raises ValueError if unknown."""
    if name not in RECIPES:
        raise ValueError(f"--recipe: got {name!r}, allowed: {', '.join(RECIPES)}")
    config = RECIPES[name]()
    return replace(config, size=32, epochs=1, min_steps=0, batch=16) if quick else config


def override(config: ClassifierConfig, values: dict[str, object]) -> ClassifierConfig:
    """`config` with those of `values` that are its fields and not None."""
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in values.items() if name in known and value is not None})  # type: ignore[arg-type]
