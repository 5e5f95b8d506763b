"""Mean and spread of the colour channels that a backbone was trained with: what photos and crops are normalised by."""

from pathlib import Path
from typing import Any, NamedTuple

from runs.refusal import Refusal

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # taken: those of most of timm's and torchvision's


class Normalisation(NamedTuple):
    """Mean and spread of each RGB channel, of values in [0, 1]."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


IMAGENET = Normalisation()


def of_backbone(name: str) -> Normalisation:
    """That of the backbone which timm calls `name`, as timm records it; ImageNet's for one without published weights.

    >>> of_backbone("tf_efficientnet_lite0").std, of_backbone("resnet10t").mean
    ((0.5, 0.5, 0.5), (0.485, 0.456, 0.406))
    """
    import timm  # here: it takes seconds to load

    recorded = timm.get_pretrained_cfg(name)
    return IMAGENET if recorded is None else Normalisation(tuple(recorded.mean), tuple(recorded.std))


def refuse_other(flag: str, path: Path, checkpoint: dict[str, Any], now: tuple[Any, ...]) -> None:
    """Raises ValueError, naming `flag`, where the checkpoint in PATH was trained on images normalised otherwise than `now`.

    Those of earlier versions do not tell, and took ImageNet's for every backbone.
    """
    begun = Normalisation(*(tuple(values) for values in checkpoint.get("normalisation", IMAGENET)))
    if begun != now:
        was = f"was trained on images normalised by mean {begun.mean} and spread {begun.std}"
        what = f"{flag}: {path} {was}, its backbone's own are {now[0]} and {now[1]}"
        raise Refusal(what, "train it anew, with --force", f"remove {path} to train it anew")
