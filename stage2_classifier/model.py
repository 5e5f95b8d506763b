"""The network: a timm backbone and a head, and the weights it starts from."""

from pathlib import Path

import numpy as np
import timm
import torch
from timm.layers import resample_abs_pos_embed

from runs import weights_file
from runs.normalisation import IMAGENET, Normalisation, of_backbone
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.heads import Head, make_head


class Classifier(torch.nn.Module):
    """Crops (B, 3, H, W) -> logits (B, columns.width): the trunk's pooled features, then the head.

    `normalisation` is what the crops are to be normalised by.
    """

    def __init__(self, trunk: torch.nn.Module, head: Head, columns: Columns, normalisation: Normalisation = IMAGENET) -> None:
        super().__init__()
        self.trunk, self.head, self.columns, self.normalisation = trunk, head, columns, normalisation

    def forward(self, images: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, C). In training `targets` (B, C) >= 0 say which names are true, for the head's margin."""
        return self.head(self.trunk(images), targets)


def training_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build(config: ClassifierConfig, columns: Columns, pretrained: Path | None = None) -> Classifier:
    """`config.model` under `config.head`, from random weights or from a local file of the same backbone.

    Raises ValueError for a name timm does not know, or a missing file.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        trunk = build_trunk(config)
        model = Classifier(trunk, make_head(config, columns, trunk.head_hidden_size), columns, of_backbone(config.model))
    if pretrained is not None:
        load_pretrained(trunk, pretrained)
    return model


def build_trunk(config: ClassifierConfig) -> torch.nn.Module:
    """`config.model` without its head, from random weights: (B, 3, H, W) -> pooled features (B, head_hidden_size)."""
    refuse_unknown(config.model)
    fixed = timm.get_pretrained_cfg(config.model).fixed_input_size  # transformers have a position embedding for each patch
    options = {"img_size": config.size} if fixed else {}
    return timm.create_model(config.model, pretrained=False, num_classes=0, **options)


def refuse_unknown(name: str) -> None:
    """Raises ValueError for a backbone that timm does not know."""
    if name not in timm.list_models():
        raise ValueError(
            f"--model: got {name!r}, must be one that timm knows, such as {', '.join(timm.list_models('resnet1*')[:4])}"
        )


def refuse_size(config: ClassifierConfig, flag: str = "--size") -> None:
    """Raises ValueError for a backbone that cannot take crops of `config.size`; of `flag` the message speaks.

    It may fail where it is built for the size, or only at a look, where its grids do not meet or nothing is left of a crop.
    """
    refuse_unknown(config.model)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            build_trunk(config).eval()(torch.zeros(1, 3, config.size, config.size))
    except Exception as error:  # backbones raise nearly anything
        first = (str(error) or repr(error)).splitlines()[0]
        own = timm.get_pretrained_cfg(config.model).input_size[-1]
        cannot = f"{config.model} cannot take crops of {config.size} px ({first})"
        raise ValueError(f"{flag}: {cannot}; pass {flag} with a side that it takes, as {own}, which it was made for") from error


def load_pretrained(trunk: torch.nn.Module, path: Path) -> None:
    """Load from PATH (.safetensors, or a torch file of tensors) what fits by name and shape; ValueError if too little does.

    A transformer's position embeddings, when the file is for another size, are resampled to this one's.
    """
    state, own = weights_file.read_weights(path), trunk.state_dict()
    positions = state.get("pos_embed")
    if "pos_embed" in own and positions is not None and positions.shape != own["pos_embed"].shape:
        grid = trunk.patch_embed.grid_size
        state["pos_embed"] = resample_abs_pos_embed(positions, list(grid), num_prefix_tokens=trunk.num_prefix_tokens)
    weights_file.load_or_refuse(trunk, state, path)


def to_input(crops: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) crops -> uint8 (B, 3, H, W)."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2)


def normalised(images: torch.Tensor, by: Normalisation) -> torch.Tensor:
    """uint8 (B, 3, H, W) -> float32, as `fusion.models.normalise` does at judgment (a test holds the two equal)."""
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in by)
    return (images.float() / 255 - mean) / std
