"""The network: a timm backbone with a linear head, and the augmentation that its crops go through."""

from pathlib import Path

import numpy as np
import timm
import torch
from torchvision.transforms import v2

from stage2_classifier.config import ClassifierConfig

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # taken: ImageNet's, so that pretrained files fit


def build(config: ClassifierConfig, n_categories: int, pretrained: Path | None = None) -> torch.nn.Module:
    """`config.model` with `n_categories` outputs; from random weights, or from a local file whose head may be of another width.

    Raises ValueError for a name timm does not know, or a missing file.
    """
    if config.model not in timm.list_models():
        raise ValueError(
            f"--model: got {config.model!r}, must be one that timm knows, such as {', '.join(timm.list_models('resnet1*')[:4])}"
        )
    model = timm.create_model(config.model, pretrained=False, num_classes=n_categories)
    if pretrained is not None:
        load_matching(model, pretrained)
    return model


def load_matching(model: torch.nn.Module, path: Path) -> None:
    """Load from PATH (.safetensors, or a torch file of tensors) what fits by name and shape; ValueError if nothing does."""
    if not path.is_file():
        raise ValueError(f"--pretrained: got {path}, must be a local weights file")
    state = timm.models.load_state_dict(str(path), weights_only=True)
    own = model.state_dict()
    fits = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if not fits:
        raise ValueError(f"--pretrained: got {path}, none of its {len(state)} tensors fits {type(model).__name__}")
    model.load_state_dict(fits, strict=False)


def augment(config: ClassifierConfig) -> v2.Compose:
    """Light, blur, tilt and occlusion for one uint8 (3, H, W) crop."""
    c = config.colour
    return v2.Compose([
        v2.ColorJitter(brightness=c, contrast=c, saturation=c, hue=c / 10),
        v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.6))], config.blur),
        v2.RandomApply([v2.RandomAffine(config.rotate, translate=(0.04, 0.04), fill=114)], 0.7),
        v2.RandomErasing(config.erase, scale=(0.02, 0.2), value=114),
    ])  # fmt: skip


def to_input(crops: np.ndarray, transform: v2.Compose | None = None) -> torch.Tensor:
    """uint8 (B, H, W, 3) crops -> uint8 (B, 3, H, W), each through `transform`."""
    images = torch.from_numpy(crops).permute(0, 3, 1, 2)  # (B, 3, H, W)
    return images if transform is None else torch.stack([transform(image) for image in images])


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, 3, H, W) -> float32, as `fusion.models.normalise` does at judgment (a test holds the two equal)."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images.float() / 255 - mean) / std
