"""A torchvision detector as a whole: built from its settings, saved with them, loaded, and made ready for export."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from photos.data import Photo
from runs import checkpoint
from stage1_detector.config import TorchvisionConfig, TransformerConfig, kind_of
from stage1_detector.engine import MUCH, device_of
from stage1_detector.nets import anchors, backbones, rcnn, retinanet
from stage1_detector.nets.anchors import Anchors

NEEDED = checkpoint.WHOLE | {"anchors"}
NETS = {"rcnn": rcnn.Net, "retinanet": retinanet.Net}


class Detector(nn.Module):
    """A network and its `description`: settings, names and anchors, all that is needed to build it again."""

    def __init__(self, config: TorchvisionConfig, names: list[str], boxes: Anchors, pretrained: Path | None = None) -> None:
        super().__init__()
        self.net = NETS[config.family](config, backbones.build(config, pretrained), boxes, len(names))
        self.description: dict[str, Any] = {"config": asdict(config), "names": names, "anchors": asdict(boxes)}

    @property
    def backbone(self) -> backbones.Backbone:
        return self.net.backbone

    @property
    def body(self) -> nn.Module:
        """timm's network."""
        return self.backbone.body

    @property
    def judged(self) -> nn.Module:
        """What is looked at on valid and kept: all of it."""
        return self

    def sampling(self, on: bool) -> None:
        """Let a Faster R-CNN in evaluation mode draw proposals to learn from, so that it has losses; its norms stay still."""
        if isinstance(self.net, rcnn.Net):
            self.net.rpn.training = self.net.roi_heads.training = on

    def losses(self, images: torch.Tensor, targets: rcnn.Targets) -> dict[str, torch.Tensor]:
        """As those of the nets in NETS."""
        return self.net.losses(images, targets)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised photos (B, 3, H, W) -> (B, 4 + C, K); see the nets in NETS."""
        return cast(torch.Tensor, self.net(images))


def build(config: TorchvisionConfig, photos: tuple[Photo, ...], names: list[str], pretrained: Path | None = None) -> Detector:
    """The network to train on `photos`. `pretrained` is a local file with weights of the whole network, or of its body as timm
    or torchvision saves them. Raises ValueError for one that fits neither.
    """
    strides = tuple(backbones.FINEST[config.family] * 2**level for level in range(backbones.LEVELS))
    boxes = anchors.make(config, strides, photos)
    net = Detector(config, names, boxes)
    if pretrained is None or fill(net, checkpoint.weights_in(pretrained)):
        return net
    net = Detector(config, names, boxes, pretrained)
    refuse_unread(net.backbone.body, pretrained)
    return net


def fill(net: Detector, state: dict[str, torch.Tensor]) -> bool:
    """Load from `state` what fits by name and shape, if that is MUCH of the body; whether it was. A residual pyramid takes the
    plain one that it is built around, and the other way round.
    """
    own = net.net.state_dict()
    state = {plain_name(name): value for name, value in state.items()}
    found = {n: state[plain_name(n)] for n in own if plain_name(n) in state and state[plain_name(n)].shape == own[n].shape}
    body = [name for name, value in own.items() if name.startswith("backbone.body.") and value.is_floating_point()]
    if sum(name in found for name in body) < MUCH * len(body):
        return False
    net.net.load_state_dict(found, strict=False)
    return True


def plain_name(name: str) -> str:
    """What a tensor of a pyramid is called without residual blocks around it."""
    return name.replace("backbone.fpn.neck.", "backbone.fpn.")


def refuse_unread(body: nn.Module, path: Path) -> None:
    """Raises ValueError unless MUCH of the body's weights are those in the file PATH: timm leaves out what does not fit."""
    known: dict[torch.Size, list[torch.Tensor]] = {}
    for value in checkpoint.weights_in(path).values():
        known.setdefault(value.shape, []).append(value)
    weights = [p for p in body.parameters() if p.ndim > 1]
    read = sum(any(torch.equal(p.data, value.float()) for value in known.get(p.shape, [])) for p in weights)
    if read < MUCH * len(weights):
        raise ValueError(f"--pretrained: got {path}, which fills {read} of the backbone's {len(weights)} layers")


def load(weights: Path) -> Detector:
    """The network in `weights` on the CPU, in evaluation mode."""
    told = checkpoint.read(weights, "weights", NEEDED)
    config = kind_of(told["config"]["family"])(**told["config"])
    sizes = tuple(tuple(level) for level in told["anchors"]["sizes"])
    net = Detector(cast(TorchvisionConfig, config), told["names"], Anchors(sizes, tuple(told["anchors"]["ratios"])))
    net.load_state_dict(told["network"])
    return net.eval()


def refuse(config: TorchvisionConfig, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a backbone, a weights file, a checkpoint or a device that training could not begin with."""
    with torch.random.fork_rng(devices=[]):
        if pretrained is not None:
            build(replace(config, anchors="default"), (), ["product"], pretrained)
        backbones.refuse_maps(backbones.make_body(config, None), config.backbone)
    refuse_beginning(config, pretrained, last, NEEDED)


def refuse_beginning(
    config: TorchvisionConfig | TransformerConfig,
    pretrained: Path | None,
    last: Path | None,
    needed: frozenset[str] = checkpoint.WHOLE,
) -> None:
    """Raises ValueError for norms that hold random weights still, a checkpoint without `needed`, or a device that is none."""
    if config.norm == "frozen" and pretrained is None:
        raise ValueError("--norm: got frozen, which needs --pretrained FILE: random weights are nothing to hold still")
    if last is not None:
        checkpoint.read(last, "--resume", needed)
    try:
        torch.zeros(1, device=device_of(config.device))
    except (RuntimeError, AssertionError):
        raise ValueError(f"--device: got {config.device!r}, allowed: cpu, or the number of a GPU that torch sees") from None
