"""A torchvision detector as a whole: built from its settings, saved with them, loaded, and made ready for export."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from photos.data import Photo
from runs import checkpoint, normalisation, weights_file
from runs.distributed import SINGLE_PROCESS, Distributed
from runs.weights_file import REQUIRED_SHARE
from stage1_detector.config import TorchvisionConfig, TransformerConfig, kind_of
from stage1_detector.engine import refuse_device
from stage1_detector.nets import anchors, backbones, rcnn, retinanet
from stage1_detector.nets.anchors import Anchors

REQUIRED_KEYS = checkpoint.REQUIRED_KEYS | {"anchors"}
NETS = {"rcnn": rcnn.Net, "retinanet": retinanet.Net}


class Detector(nn.Module):
    """A network and its `description`: settings, names and anchors, all that is needed to build it again. A Learner."""

    distributed: Distributed = SINGLE_PROCESS
    fresh_heads: tuple[str, ...] = ()  # tensors of the heads that weights of a whole network did not fill

    def __init__(self, config: TorchvisionConfig, names: list[str], boxes: Anchors, pretrained: Path | None = None) -> None:
        super().__init__()
        self.net = NETS[config.family](config, backbones.build(config, pretrained), boxes, len(names))
        self.description: dict[str, Any] = {
            "config": asdict(config), "names": names, "anchors": asdict(boxes),
            "normalisation": tuple(normalisation.of_backbone(config.backbone)),
        }  # fmt: skip

    @property
    def backbone(self) -> backbones.Backbone:
        return self.net.backbone

    @property
    def feature_extractor(self) -> nn.Module:
        """timm's network."""
        return self.backbone.body

    @property
    def inference_network(self) -> nn.Module:
        """What is scored on valid and kept: all of it."""
        return self

    def enable_eval_losses(self, on: bool) -> None:
        """Let a Faster R-CNN in evaluation mode sample proposals, without which it has no losses; its norms stay still."""
        if isinstance(self.net, rcnn.Net):
            self.net.rpn.training = self.net.roi_heads.training = on

    def losses(self, images: torch.Tensor, targets: rcnn.Targets) -> dict[str, torch.Tensor]:
        """As those of the nets in NETS: of the batch of all processes in training, of this one's photos in evaluation mode."""
        return self.net.losses(images, targets, self.distributed if self.training else SINGLE_PROCESS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised photos (B, 3, H, W) -> (B, 4 + C, K); see the nets in NETS."""
        return cast(torch.Tensor, self.net(images))


def build(config: TorchvisionConfig, photos: tuple[Photo, ...], names: list[str], pretrained: Path | None = None) -> Detector:
    """The network to train on `photos`. `pretrained` is a local file with weights of the whole network, or of its feature
    extractor as timm or torchvision saves them. Raises ValueError for one that fits neither.
    """
    strides = tuple(backbones.FINEST[config.family] * 2**level for level in range(backbones.LEVELS))
    boxes = anchors.make(config, strides, photos)
    if pretrained is None:
        return Detector(config, names, boxes)
    state = weights_file.read_weights(pretrained)
    net = Detector(config, names, anchors.trained_with(weights_file.read_notes(pretrained), config, strides) or boxes)
    if load_whole(net, state):
        return net
    net = Detector(config, names, boxes, pretrained)
    refuse_ignored_weights(net.feature_extractor, pretrained)
    return net


def load_whole(net: Detector, state: dict[str, torch.Tensor]) -> bool:
    """Load from `state` what fits by name and shape, if that is enough of the feature extractor; returns whether it was.

    A residual pyramid takes the weights of the plain one that it is built around, and the other way round.
    """
    by_plain_name = {plain_name(name): value for name, value in state.items()}
    own_names = [name for name in net.net.state_dict() if plain_name(name) in by_plain_name]
    own = {name: by_plain_name[plain_name(name)] for name in own_names}
    fresh = net.net.state_dict()
    net.fresh_heads = tuple(
        name for name in fresh if not name.startswith("backbone.") and (name not in own or own[name].shape != fresh[name].shape)
    )
    return weights_file.load_matching(net.net, own, counts=lambda name: name.startswith("backbone.body.")).loaded


def plain_name(name: str) -> str:
    """What a tensor of a pyramid is called without residual blocks around it."""
    return name.replace("backbone.fpn.neck.", "backbone.fpn.")


def refuse_ignored_weights(extractor: nn.Module, path: Path) -> None:
    """Raises ValueError unless enough of the extractor's weights are those in the file PATH: timm ignores what does not fit."""
    by_shape: dict[torch.Size, list[torch.Tensor]] = {}
    for value in weights_file.read_weights(path).values():
        by_shape.setdefault(value.shape, []).append(value)
    weights = [p for p in extractor.parameters() if p.ndim > 1]
    loaded = sum(any(torch.equal(p.data, value.float()) for value in by_shape.get(p.shape, [])) for p in weights)
    if loaded < REQUIRED_SHARE * len(weights):
        raise ValueError(f"--pretrained: got {path}, which fills {loaded} of the backbone's {len(weights)} layers")


def load(weights: Path) -> Detector:
    """The network in `weights` on the CPU, in evaluation mode."""
    content = checkpoint.read(weights, "weights", REQUIRED_KEYS)
    config = kind_of(content["config"]["family"])(**content["config"])
    sizes = tuple(tuple(level) for level in content["anchors"]["sizes"])
    net = Detector(cast(TorchvisionConfig, config), content["names"], Anchors(sizes, tuple(content["anchors"]["ratios"])))
    normalisation.refuse_other("weights", weights, content, net.description["normalisation"])
    net.load_state_dict(content["network"])
    return net.eval()


def refuse(config: TorchvisionConfig, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a backbone, a weights file, a checkpoint or a device that training could not begin with."""
    with torch.random.fork_rng(devices=[]):
        if pretrained is not None:
            build(replace(config, anchors="default"), (), ["product"], pretrained)
        backbones.refuse_maps(backbones.make_feature_extractor(config, None), config.backbone)
    refuse_start(config, pretrained, last, REQUIRED_KEYS)


def refuse_start(
    config: TorchvisionConfig | TransformerConfig,
    pretrained: Path | None,
    last: Path | None,
    required_keys: frozenset[str] = checkpoint.REQUIRED_KEYS,
) -> None:
    """Raises ValueError for frozen norms of random weights, a checkpoint without `required_keys`, or a device that is none."""
    if config.norm == "frozen" and pretrained is None:
        raise ValueError("--norm: got frozen, which needs --pretrained FILE: random weights are nothing to hold still")
    if last is not None:
        checkpoint.read(last, "--resume", required_keys)
    refuse_device(config.device)
