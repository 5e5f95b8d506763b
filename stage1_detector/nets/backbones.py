"""A timm network as the feature extractor of a torchvision detector, with a neck that makes a pyramid of its maps.

Names follow torchvision's own detectors (`body`, `fpn`), and timm's ResNets have torchvision's, so that a local weights file of
torchvision's detectors fits.
"""

import logging
from collections import OrderedDict
from pathlib import Path

import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

from runs import weights_file
from stage1_detector.config import TorchvisionConfig, TransformerConfig
from stage1_detector.nets.fpg import FeaturePyramidGrid, Grid
from stage1_detector.nets.resfpn import Norm, ResidualPyramid

logging.getLogger("timm.models._builder").setLevel(logging.ERROR)  # it warns of each tensor of a file that does not fit
FINEST = {"rcnn": 4, "retinanet": 8, "conditional_detr": 32}  # taken: the stride of the first map that is used
COARSEST = 32  # the stride of the last
GROUPS = 32  # taken: Wu and He 2018, arXiv:1803.08494
MIN_CHANNELS = 4  # chosen: channels of a group, so that even a map of one pixel has a variance
LEVELS = 5  # of the pyramid; taken: torchvision's


class Backbone(nn.Module):
    """Photos (B, 3, H, W) -> an OrderedDict of LEVELS maps (B, width, H / stride, W / stride), the finest first."""

    def __init__(self, body: nn.Module, neck: nn.Module, width: int, finest: int) -> None:
        """`body` is timm's network, called as torchvision does, `finest` the stride of the first of its maps."""
        super().__init__()
        self.body, self.fpn, self.out_channels = body, neck, width
        self.strides = tuple(finest * 2**level for level in range(LEVELS))

    def forward(self, images: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        """(B, 3, H, W) -> the maps of the pyramid."""
        maps = self.body(images)
        pyramid = self.fpn(OrderedDict((str(i), x) for i, x in enumerate(maps)))
        return OrderedDict((str(i), x) for i, x in enumerate(pyramid.values()))


def build(config: TorchvisionConfig, pretrained: Path | None = None) -> Backbone:
    """The backbone that `config` names, of random weights or with those that timm reads from the local file `pretrained`.

    Raises ValueError for a network that timm does not have, one that gives no maps, or a file that does not fit it.
    """
    extractor = with_norm(make_feature_extractor(config, pretrained), config.norm)
    neck = make_neck(config, extractor.feature_info.channels())
    return Backbone(extractor, neck, config.width, FINEST[config.family])


def with_norm(extractor: nn.Module, norm: str) -> nn.Module:
    """The network with its batch norms as they are, "frozen", or with group norms in their place ("group")."""
    if norm == "group":
        replace_batch_norm(extractor)
    return freeze_batch_norm_2d(extractor) if norm == "frozen" else extractor


def make_feature_extractor(config: TorchvisionConfig | TransformerConfig, pretrained: Path | None) -> nn.Module:
    """timm's network without its head, giving the maps whose strides the family's neck takes."""
    if ":" in config.backbone or "/" in config.backbone:
        raise ValueError(f"--backbone: got {config.backbone!r}, must be a name of timm's; nothing is downloaded")
    try:
        with torch.device("meta"):
            reductions = timm.create_model(config.backbone, features_only=True).feature_info.reduction()
    except Exception as error:  # each network has its own
        raise ValueError(f"--backbone: got {config.backbone!r}, must be a network of timm that gives maps: {error}") from None
    indices = [i for i, stride in enumerate(reductions) if FINEST[config.family] <= stride <= COARSEST]
    required = [s for s in (4, 8, 16, 32) if s >= FINEST[config.family]]
    if [reductions[i] for i in indices] != required:
        raise ValueError(f"--backbone: got {config.backbone!r} with maps of strides {reductions}, must have {required}")
    options = {"drop_path_rate": config.drop_path} if config.drop_path else {}
    overlay = {} if pretrained is None else {"pretrained": True, "pretrained_cfg_overlay": weights_source(pretrained)}
    try:
        return timm.create_model(config.backbone, features_only=True, out_indices=tuple(indices), **options, **overlay)
    except Exception as error:  # each network has its own
        refused = f"--pretrained: got {pretrained}" if pretrained else f"--drop-path: got {config.drop_path}"
        raise ValueError(f"{refused}, which does not fit {config.backbone}: {' '.join(str(error).split())}") from None


def weights_source(pretrained: Path) -> dict[str, object]:
    """What timm is to load: a file, or the tensors of one in which they have other names than timm's."""
    state = weights_file.read_renamed(pretrained)
    return {"file": str(pretrained)} if state is None else {"state_dict": state}


def refuse_maps(extractor: nn.Module, name: str) -> None:
    """Raises ValueError where the network called `name` takes photos of one size only, or gives maps in another order."""
    try:
        with torch.no_grad():
            maps = extractor.eval()(torch.zeros(1, 3, 64, 96))
        shapes = [tuple(x.shape[1:]) for x in maps]
    except Exception as error:  # each network has its own
        raise ValueError(f"--backbone: got {name!r}, which does not take a photo of 96 x 64 pixels: {error}") from None
    info = extractor.feature_info
    expected = [(c, 64 // s, 96 // s) for c, s in zip(info.channels(), info.reduction(), strict=True)]
    if shapes != expected:
        raise ValueError(f"--backbone: got {name!r}, whose maps are {shapes}, must be {expected}, channels first")


def make_neck(config: TorchvisionConfig, channels: list[int]) -> nn.Module:
    """The neck `config` names, for maps of so many channels; v2 heads go with a normalised one, as in torchvision."""
    width, norm = config.width, norm_of(config) if config.head == "v2" or config.norm == "group" else None
    if config.neck == "fpg":
        return FeaturePyramidGrid(channels, width, norm, Grid(LEVELS))
    extra_levels = LastLevelMaxPool() if config.family == "rcnn" else LastLevelP6P7(width, width)
    neck = FeaturePyramidNetwork(channels, width, extra_blocks=extra_levels, norm_layer=norm)
    return ResidualPyramid(neck, LEVELS, width, norm_of(config)) if config.neck == "resfpn" else neck


def norm_of(config: TorchvisionConfig) -> Norm:
    """What makes the norms of the neck and the heads: group norm where `config` asks for it, else batch norm."""
    return group_norm if config.norm == "group" else nn.BatchNorm2d


def group_norm(width: int) -> nn.GroupNorm:
    """Group norm of GROUPS groups, or of as many as divide the width with at least MIN_CHANNELS channels in each.

    >>> group_norm(64).num_groups, group_norm(48).num_groups
    (16, 12)
    """
    return nn.GroupNorm(next(n for n in range(max(1, min(GROUPS, width // MIN_CHANNELS)), 0, -1) if width % n == 0), width)


def replace_batch_norm(module: nn.Module) -> None:
    """Replace every batch norm by a group norm; the activation that timm's carry stays."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            new = group_norm(child.num_features)
            carried = [part for part in (getattr(child, "drop", None), getattr(child, "act", None)) if part is not None]
            setattr(module, name, nn.Sequential(new, *carried) if carried else new)
        else:
            replace_batch_norm(child)
