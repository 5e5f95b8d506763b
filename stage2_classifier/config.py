"""The settings of the crop classifier's training, and the named recipes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from fusion.views import FITS
from stage1_detector.config import refuse_outside

# What each number may be: lowest and highest, both allowed.
ALLOWED = {
    "size": (16, 2048), "margin": (0.0, 1.0), "epochs": (1, 10**6), "min_steps": (0, 10**9), "batch": (2, 4096),
    "lr": (1e-9, 10.0), "weight_decay": (0.0, 1.0), "warmup": (0.0, 1.0), "subcentres": (1, 16), "head_scale": (1.0, 256.0),
    "arc_margin": (0.0, 1.5), "balance": (0.0, 1.0), "background": (0.0, 0.9), "jitter": (0.0, 10.0), "smoothing": (0.0, 1.0),
    "mixup": (0.0, 10.0), "cutmix": (0.0, 10.0), "rotate": (0.0, 180.0), "colour": (0.0, 1.0), "blur": (0.0, 1.0),
    "erase": (0.0, 1.0), "bridge": (0.0, 1.0), "ema": (0.0, 0.9999), "seed": (0, 2**32 - 1),
}  # fmt: skip
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
    """How the classifier is trained. Every field is an argument of `python -m stage2_classifier.train`.

    `model` is a timm name, built from random weights unless `--pretrained FILE`. `size` is the side of a crop in pixels, `fit`
    how it fills its square (letterbox or squash), `margin` the context around a box as a fraction of its sides. `epochs` passes
    of as many crops as there are boxes, and more where fewer than `min_steps` steps of `batch` would come out.

    `head` is one of HEADS (`stage2_classifier.heads`); `subcentres` are those of `subcentre`, `head_scale` multiplies the
    cosines, `arc_margin` is the angle in radians by which arcface and subcentre make the true name harder.

    `balance` weighs a category by count^-balance when crops are drawn: 0 natural (as they come), 0.5 square root, 1 class
    balanced. The category called `unknown` is many products: it is drawn as it comes and gets no margin. `background` is the
    share of crops that show no product; 0 means no such output.

    `jitter` multiplies the detector's measured box error. `smoothing` is that of the labels; `mixup` and `cutmix` are the
    alphas of the Beta distributions that crops are mixed by, 0 is off. `rotate` in degrees, `colour` the strength of colour
    jitter, `blur` and `erase` probabilities. `bridge` is how strongly studio crops are made to look like shelf crops.
    `ema` is the decay of the averaged weights that are kept.
    """

    model: str = "resnet10t"
    size: int = 96
    fit: str = "letterbox"
    margin: float = 0.05
    epochs: int = 30
    min_steps: int = 600
    batch: int = 48
    lr: float = 0.002
    weight_decay: float = 0.05
    warmup: float = 0.1
    head: str = "linear"
    subcentres: int = 3
    head_scale: float = 24.0
    arc_margin: float = 0.3
    balance: float = 0.75
    unknown: str = "unknown_product"
    background: float = 0.0
    jitter: float = 1.0
    smoothing: float = 0.05
    mixup: float = 0.0
    cutmix: float = 0.0
    rotate: float = 12.0
    colour: float = 0.3
    blur: float = 0.3
    erase: float = 0.25
    bridge: float = 0.0
    ema: float = 0.98
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_outside(self, ALLOWED)
        for name, given, allowed in (("--head", self.head, HEADS), ("--fit", self.fit, FITS)):
            if given not in allowed:
                raise ValueError(f"{name}: got {given!r}, allowed: {', '.join(allowed)}")


def columns(config: ClassifierConfig, names: Sequence[str]) -> Columns:
    """The outputs for categories of these `names`.

    >>> columns(ClassifierConfig(background=0.1), ["Dal Te", "unknown_product"])
    Columns(names=2, unknown=1, background=True)
    """
    same = [i for i, name in enumerate(names) if name.strip().casefold() == config.unknown.strip().casefold()]
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
