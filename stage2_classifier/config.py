"""The settings of the crop classifier's training, and the named recipes."""

from dataclasses import dataclass, fields, replace

from stage1_detector.config import refuse_outside

# What each number may be: lowest and highest, both allowed.
ALLOWED = {
    "size": (16, 2048), "margin": (0.0, 1.0), "epochs": (1, 10**6), "min_steps": (0, 10**9), "batch": (2, 4096),
    "lr": (1e-9, 10.0), "weight_decay": (0.0, 1.0), "warmup": (0.0, 1.0), "balance": (0.0, 1.0), "jitter": (0.0, 10.0),
    "smoothing": (0.0, 1.0), "rotate": (0.0, 180.0), "colour": (0.0, 1.0), "blur": (0.0, 1.0), "erase": (0.0, 1.0),
    "ema": (0.0, 0.9999), "seed": (0, 2**32 - 1),
}  # fmt: skip


@dataclass(frozen=True)
class ClassifierConfig:
    """How the classifier is trained. Every field is an argument of `python -m stage2_classifier.train`.

    `model` is a timm name, built from random weights unless `--pretrained FILE`. `size` is the side of a letterboxed crop in
    pixels, `margin` the context around a box as a fraction of its sides. `epochs` passes of as many crops as there are boxes,
    and more where fewer than `min_steps` steps of `batch` would come out. `balance` weighs a category by count^-balance when
    crops are drawn: 0 as they come, 0.5 square root, 1 all alike. `jitter` multiplies the detector's measured box error.
    `smoothing` is that of the labels, `rotate` in degrees, `colour` the strength of colour jitter, `blur` and `erase`
    probabilities. `ema` is the decay of the averaged weights that are kept.
    """

    model: str = "resnet10t"
    size: int = 96
    margin: float = 0.05
    epochs: int = 30
    min_steps: int = 600
    batch: int = 48
    lr: float = 0.002
    weight_decay: float = 0.05
    warmup: float = 0.1
    balance: float = 0.75
    jitter: float = 1.0
    smoothing: float = 0.05
    rotate: float = 12.0
    colour: float = 0.3
    blur: float = 0.3
    erase: float = 0.25
    ema: float = 0.98
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        refuse_outside(self, ALLOWED)


def small() -> ClassifierConfig:
    """resnet10t on 96 px crops from random weights, for a machine without a GPU: the default."""
    return ClassifierConfig()


def demo() -> ClassifierConfig:
    """resnet10t on 64 px crops of drawn shelves: the recipe of `make demo`, about 2 minutes on 2 cores."""
    return ClassifierConfig(size=64, epochs=4, min_steps=160)


def convnext() -> ClassifierConfig:
    """ConvNeXt-small on 224 px crops, as an entrant's override used. Needs a GPU and `--pretrained FILE`. Not run here."""
    return ClassifierConfig(model="convnext_small", size=224, epochs=40, lr=0.0003, batch=64, ema=0.999)


RECIPES = {"small": small, "demo": demo, "convnext": convnext}


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
