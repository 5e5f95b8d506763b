"""The network: a timm backbone with a linear head, and the augmentation that its crops go through."""

from pathlib import Path

import numpy as np
import timm
import torch
from torchvision.transforms import v2

from stage2_classifier.config import ClassifierConfig

TOGETHER = 6  # measured: crops augmented with one draw; each alone costs as much as the network's step on 2 cores
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # taken: ImageNet's, so that pretrained files fit


def build(config: ClassifierConfig, n_categories: int, pretrained: Path | None = None) -> torch.nn.Module:
    """`config.model` with `n_categories` outputs; from random weights, or from a local file whose head may be of another width.

    Raises ValueError for a name timm does not know, or a missing file.
    """
    if config.model not in timm.list_models():
        raise ValueError(
            f"--model: got {config.model!r}, must be one that timm knows, such as {', '.join(timm.list_models('resnet1*')[:4])}"
        )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = timm.create_model(config.model, pretrained=False, num_classes=n_categories)
    if pretrained is not None:
        load_matching(model, pretrained)
    return model


def load_matching(model: torch.nn.Module, path: Path) -> None:
    """Load from PATH (.safetensors, or a torch file of tensors) what fits by name and shape; ValueError if nothing does."""
    refuse_missing(path)
    try:
        state = timm.models.load_state_dict(str(path), weights_only=True)
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"--pretrained: got {path}, must be .safetensors or a torch file of nothing but tensors") from error
    own = model.state_dict()
    fits = {k: v for k, v in state.items() if k in own and own[k].shape == getattr(v, "shape", None)}
    if not fits:
        raise ValueError(f"--pretrained: got {path}, none of its {len(state)} tensors fits {type(model).__name__}")
    model.load_state_dict(fits, strict=False)


def refuse_missing(pretrained: Path | None) -> None:
    """Raises ValueError for a path that is given but no file."""
    if pretrained is not None and not pretrained.is_file():
        raise ValueError(f"--pretrained: got {pretrained}, must be a local weights file")


def augment(config: ClassifierConfig) -> v2.Compose:
    """Light, blur, tilt and occlusion for uint8 (N, 3, H, W) crops, one draw for all of them."""
    c = config.colour
    return v2.Compose([
        v2.ColorJitter(brightness=c, contrast=c, saturation=c, hue=c / 10),
        v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.6))], config.blur),
        v2.RandomApply([v2.RandomAffine(config.rotate, translate=(0.04, 0.04), fill=114)], 0.7),
        v2.RandomErasing(config.erase, scale=(0.02, 0.2), value=114),
    ])  # fmt: skip


def to_input(crops: np.ndarray, transform: v2.Compose | None = None) -> torch.Tensor:
    """uint8 (B, H, W, 3) crops -> uint8 (B, 3, H, W), through `transform`, whose draws TOGETHER crops share."""
    images = torch.from_numpy(crops).permute(0, 3, 1, 2)  # (B, 3, H, W)
    return images if transform is None else torch.cat([transform(part) for part in images.split(TOGETHER)])


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, 3, H, W) -> float32, as `fusion.models.normalise` does at judgment (a test holds the two equal)."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images.float() / 255 - mean) / std
