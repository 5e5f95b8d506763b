"""Conditional DETR (Meng et al. 2021, arXiv:2108.06152) of transformers, on any backbone of timm: nothing is downloaded.

Four things of transformers are not the paper's, and are put right here. Its random weights are for networks that are then
loaded: all queries begin at one place (`as_the_paper_begins`). It holds every batch norm still, and loses the activation that
some of timm's carry: the body is made here. With its auxiliary losses on, each layer of the decoder gets its input normalised
once more: they are computed here (`Net._layers`). It weighs classification by 1, though its own settings say 2. Unlike the
paper, no layer of the backbone is held still. Photos are stretched to a square.
"""

import math
import re
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torchvision.ops import box_convert, sigmoid_focal_loss

from photos.data import Photo
from runs import checkpoint
from stage1_detector.config import HEADS, STRIDE, TransformerConfig
from stage1_detector.engine import MUCH
from stage1_detector.nets import backbones
from stage1_detector.nets.rcnn import Targets
from stage1_detector.nets.torchvision_net import refuse_beginning, refuse_unread

PRIOR = 0.01  # taken: the paper's code; the score that every query gives every class before it has learnt any
FORWARD = 8  # taken: the paper's 2048 for 256; a layer's hidden part as a multiple of its width
HEAD = "class_labels_classifier."
PLACE = "test_resnet"  # chosen: the smallest network of timm, where ours comes
EPS = 1e-5  # taken: transformers', keeps the inverse of the sigmoid finite
LOSSES = {"classification": "loss_ce", "box": "loss_bbox", "giou": "loss_giou"}
# What transformers called its tensors before version 5, as the public weights still do; taken: its conversion_mapping.
RENAMED = (
    (r"backbone\.conv_encoder\.", "backbone."), (r"\.out_proj\.", ".o_proj."), (r"(layers\.\d+)\.(fc[12])\.", r"\1.mlp.\2."),
    (r"\.sa_", ".self_attn."), (r"\.ca_", ".encoder_attn."), (r"\.([qk])(content|pos)_", r".\1_\2_"),
)  # fmt: skip


class Net(nn.Module):
    """A Conditional DETR and its `description`, all that is needed to build it again.

    `losses` to train it; `known`, what another network may learn of it; called, what its export gives.
    """

    def __init__(self, config: TransformerConfig, names: list[str]) -> None:
        super().__init__()
        self.net: Any = transformer(config, len(names))
        self.told: Any = deepcopy(self.net.config)  # what transformers' loss reads; its decoder reads the network's
        self.told.auxiliary_loss = True
        self.description: dict[str, Any] = {"config": asdict(config), "names": names}

    @property
    def body(self) -> nn.Module:
        """timm's network."""
        return cast(nn.Module, self.net.model.backbone.model)

    @property
    def judged(self) -> "Net":
        """What is looked at on valid and kept: all of it."""
        return self

    def sampling(self, on: bool) -> None:
        """Nothing: its losses in evaluation mode are those of training, without dropout."""

    def losses(self, images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """Of photos (B, 3, H, W), normalised; `targets` hold boxes (N, 4) in their pixels and labels (N,) in 0..C-1 each.

        Each, summed over the decoder's layers: focal loss, L1 of cx cy w h as fractions of the photo, GIoU; as in the paper
        per box of the batch, 2, 5 and 2 times. Not a number where a box is none.
        """
        logits, boxes = self._layers(images)
        with torch.autocast(images.device.type, enabled=False):  # the matching is numpy's, which has no bf16
            if not torch.isfinite(boxes).all():
                return dict.fromkeys(LOSSES, boxes.sum())  # for the loop to say; transformers calls it a wrong box
            if not sum(len(one["labels"]) for one in targets):
                return self._nothing_there(logits, boxes)
            labels = [{"class_labels": t["labels"], "boxes": fractions(t["boxes"], images)} for t in targets]
            _, told, _ = self.net.loss_function(logits[-1], labels, images.device, boxes[-1], self.told, logits, boxes)
        return {
            name: weight * torch.stack([told[key] for key in told if key.startswith(LOSSES[name])]).sum()
            for name, weight in self._weights().items()
        }

    def _weights(self) -> dict[str, float]:
        """How much each loss counts."""
        told = self.told
        return {
            "classification": told.cls_loss_coefficient, "box": told.bbox_loss_coefficient, "giou": told.giou_loss_coefficient
        }  # fmt: skip

    def _nothing_there(self, logits: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """The losses where no photo of the batch has a box, which transformers cannot match: every query is to be silent."""
        silent = sigmoid_focal_loss(logits, torch.zeros_like(logits), self.told.focal_alpha, 2, "sum")
        none = 0 * boxes.sum()
        return {"classification": self._weights()["classification"] * silent, "box": none, "giou": none}

    def _layers(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What each of L decoder layers says: logits (L, B, Q, C), boxes (L, B, Q, 4) cx cy w h in [0, 1]; the last counts."""
        found = self.net.model(images, output_hidden_states=True)
        norm = self.net.model.decoder.layernorm
        between = [norm(hidden) for hidden in found.decoder_hidden_states[1:-1]]  # the first is what layer one is given
        hidden = torch.stack([*between, found.last_hidden_state])  # (L, B, Q, width)
        reference = torch.logit(found.reference_points, EPS).transpose(0, 1)  # (B, Q, 2)
        with torch.autocast(images.device.type, enabled=False):  # in bf16 a box is pixels off
            moved = self.net.bbox_predictor(hidden.float())
            boxes = torch.cat([moved[..., :2] + reference.float(), moved[..., 2:]], -1).sigmoid()
            return self.net.class_labels_classifier(hidden.float()), boxes

    def known(self, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """Of photos (B, 3, H, W), normalised: what the encoder makes of them, one map (B, width, H / 32, W / 32); of each
        query its box (B, Q, 4), cx cy w h in [0, 1], and its logits (B, Q, C).
        """
        found, (high, wide) = self.net(images), images.shape[-2:]
        encoded = found.encoder_last_hidden_state.transpose(1, 2)  # (B, width, H / 32 * W / 32)
        shape = (len(images), self.told.d_model, high // STRIDE, wide // STRIDE)
        return [encoded.reshape(shape)], found.pred_boxes, found.logits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Photos (B, 3, H, W), normalised -> (B, 4 + C, Q): cx cy w h in their pixels, then sigmoid scores."""
        _, boxes, logits = self.known(images)
        high, wide = images.shape[-2:]
        boxes = boxes * boxes.new_tensor([wide, high, wide, high])
        return torch.cat([boxes, logits.sigmoid()], 2).permute(0, 2, 1)


def fractions(boxes: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Boxes (N, 4) x0 y0 x1 y1 in pixels of `images` (B, 3, H, W) -> (N, 4) cx cy w h in [0, 1].

    >>> fractions(torch.tensor([[0.0, 0.0, 4.0, 8.0]]), torch.zeros(1, 3, 8, 16))
    tensor([[0.1250, 0.5000, 0.2500, 1.0000]])
    """
    high, wide = images.shape[-2:]
    return box_convert(boxes.float(), "xyxy", "cxcywh") / boxes.new_tensor([wide, high, wide, high])


def transformer(config: TransformerConfig, n_classes: int) -> Any:
    """transformers' network of random weights, on our own body. ValueError where it is not installed."""
    settings, network = library()
    body = backbones.with_norm(backbones.make_body(config, None), config.norm)
    net = network(
        settings(
            backbone_config={"model_type": "timm_backbone", "backbone": PLACE, "out_indices": [-1]},
            num_labels=n_classes, num_queries=config.queries, d_model=config.width, dropout=config.dropout,
            encoder_layers=config.encoder_layers, decoder_layers=config.decoder_layers,
            encoder_ffn_dim=FORWARD * config.width, decoder_ffn_dim=FORWARD * config.width,
            encoder_attention_heads=HEADS, decoder_attention_heads=HEADS,
        )
    )  # fmt: skip
    net.model.backbone.model = body
    net.model.input_projection = nn.Conv2d(body.feature_info.channels()[-1], config.width, 1)
    as_the_paper_begins(net)
    return net


def library() -> tuple[Any, Any]:
    """transformers' settings and network. Raises ValueError where it is not installed."""
    try:
        from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection
    except ImportError as error:
        raise ValueError(f"--family: got conditional_detr, which needs pip install 'hylle[distill]' ({error})") from None
    return ConditionalDetrConfig, ConditionalDetrForObjectDetection


def as_the_paper_begins(net: Any) -> None:
    """Draw the random weights as the paper's code does: queries apart, silent classes, boxes where their query is.

    Measured: two photos are learnt as well in 50 steps so as in 250 from transformers' own.
    """
    for part in (net.model.encoder, net.model.decoder):
        for value in part.parameters():
            if value.ndim > 1:
                nn.init.xavier_uniform_(value)
    last = net.bbox_predictor.layers[-1]
    for layer in (net.model.query_position_embeddings, net.class_labels_classifier, *net.bbox_predictor.layers):
        layer.reset_parameters()
    nn.init.constant_(net.class_labels_classifier.bias, math.log(PRIOR / (1 - PRIOR)))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def build(config: TransformerConfig, photos: tuple[Photo, ...], names: list[str], pretrained: Path | None = None) -> Net:
    """The network to train on `photos`. `pretrained` is a local file with weights of the whole network, ours or transformers',
    or of its body as timm saves them; what it has of another shape, as the head of other names, stays random.

    Raises ValueError for a file that fits neither, and for fewer queries than a photo has boxes.
    """
    most = max((len(photo.boxes) for photo in photos), default=0)
    if most > config.queries:
        raise ValueError(f"--queries: got {config.queries}, the fullest photo has {most} boxes; each needs one")
    net = Net(config, names)
    if pretrained is None or fill(net, checkpoint.weights_in(pretrained)):
        return net
    body = backbones.make_body(config, pretrained)
    refuse_unread(body, pretrained)
    net.net.model.backbone.model = backbones.with_norm(body, config.norm)
    return net


def fill(net: Net, state: dict[str, torch.Tensor]) -> bool:
    """Load from `state` what fits by name and shape, if that is MUCH of the network without its head; whether it was."""
    own, state = net.net.state_dict(), {renamed(name): value for name, value in state.items()}
    found = {name: state[name] for name in own if name in state and state[name].shape == own[name].shape}
    wanted = [name for name, value in own.items() if value.is_floating_point() and not name.startswith(HEAD)]
    if sum(name in found for name in wanted) < MUCH * len(wanted):
        return False
    net.net.load_state_dict(found, strict=False)
    return True


def renamed(name: str) -> str:
    """What transformers calls a tensor today.

    >>> renamed("model.decoder.layers.1.ca_qpos_sine_proj.weight"), renamed("model.encoder.layers.0.fc1.bias")
    ('model.decoder.layers.1.encoder_attn.q_pos_sine_proj.weight', 'model.encoder.layers.0.mlp.fc1.bias')
    """
    for old, new in RENAMED:
        name = re.sub(old, new, name)
    return name


def load(weights: Path) -> Net:
    """The network in `weights` on the CPU, in evaluation mode."""
    told = checkpoint.read(weights, "weights")
    net = Net(TransformerConfig(**told["config"]), told["names"])
    net.load_state_dict(told["network"])
    return net.eval()


def of_weights(path: Path) -> Net:
    """The paper's network, of as many queries and classes as the weights file PATH has, transformers' or ours, in evaluation
    mode. Raises ValueError where that is not all of it.
    """
    state = {renamed(name): value for name, value in checkpoint.weights_in(path).items()}
    head, queries = state.get(f"{HEAD}weight"), state.get("model.query_position_embeddings.weight")
    if head is not None and queries is not None:
        net = Net(TransformerConfig(queries=len(queries)), [str(i) for i in range(len(head))])
        if fill(net, state):
            return net.eval()
    raise ValueError(f"--teacher: got {path}, must be a finished run, or weights of a whole Conditional DETR with ResNet-50")


def refuse(config: TransformerConfig, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a backbone, a weights file, a checkpoint or a device that training could not begin with, and where
    transformers is not installed.
    """
    library()
    with torch.random.fork_rng(devices=[]):
        if pretrained is not None:
            build(config, (), ["product"], pretrained)
        backbones.refuse_maps(backbones.make_body(config, None), config.backbone)
    refuse_beginning(config, pretrained, last)
