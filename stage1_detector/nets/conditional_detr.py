"""Conditional DETR (Meng et al. 2021, arXiv:2108.06152) of transformers, on any backbone of timm: nothing is downloaded.

Four things in transformers differ from the paper and are corrected here. Its random weights are meant to be replaced by loaded
ones: all queries begin at one place (`initialise_as_in_paper`). It freezes every batch norm, and loses the activation that some
of timm's carry: the feature extractor is made here. With its auxiliary losses on, each layer of the decoder gets its input
normalised once more: they are computed here (`Net._layers`). It weighs classification by 1, though its own settings say 2.
Unlike in the paper, no layer of the backbone is frozen. Photos are stretched to a square.
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
from runs import checkpoint, normalisation, weights_file
from runs.distributed import SINGLE_PROCESS, Distributed
from runs.extras import install
from stage1_detector.config import HEADS, STRIDE, TransformerConfig
from stage1_detector.nets import backbones
from stage1_detector.nets.rcnn import Targets
from stage1_detector.nets.torchvision_net import refuse_ignored_weights, refuse_start

PRIOR = 0.01  # taken: the paper's code; the score of every query for every class before any training
FEED_FORWARD = 8  # taken: the paper's 2048 for 256; a layer's feed-forward width as a multiple of its own
HEAD = "class_labels_classifier."
PLACEHOLDER = "test_resnet"  # chosen: the smallest network of timm, which our feature extractor replaces
LOSSES = {"classification": "loss_ce", "box": "loss_bbox", "giou": "loss_giou"}
# What transformers called its tensors before version 5, as the public weights still do; taken: its conversion_mapping.
RENAMINGS = (
    (r"backbone\.conv_encoder\.", "backbone."), (r"\.out_proj\.", ".o_proj."), (r"(layers\.\d+)\.(fc[12])\.", r"\1.mlp.\2."),
    (r"\.sa_", ".self_attn."), (r"\.ca_", ".encoder_attn."), (r"\.([qk])(content|pos)_", r".\1_\2_"),
)  # fmt: skip


class Net(nn.Module):
    """A Conditional DETR and its `description`, all that is needed to build it again.

    `losses` to train it; `predictions`, which another network may learn from; called, the output of its export. A Learner.
    """

    distributed: Distributed = SINGLE_PROCESS

    def __init__(self, config: TransformerConfig, names: list[str]) -> None:
        super().__init__()
        self.net: Any = transformer(config, len(names))
        self.loss_config: Any = deepcopy(self.net.config)  # which transformers' loss reads; its decoder reads the network's
        self.loss_config.auxiliary_loss = True
        self.description: dict[str, Any] = {
            "config": asdict(config), "names": names, "normalisation": tuple(normalisation.of_backbone(config.backbone))
        }  # fmt: skip

    @property
    def feature_extractor(self) -> nn.Module:
        """timm's network."""
        return cast(nn.Module, self.net.model.backbone.model)

    @property
    def inference_network(self) -> "Net":
        """What is scored on valid and kept: all of it."""
        return self

    def enable_eval_losses(self, on: bool) -> None:
        """Does nothing: its losses in evaluation mode are those of training, without dropout."""

    def losses(self, images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """Of photos (B, 3, H, W), normalised; `targets` hold boxes (N, 4) in their pixels and labels (N,) in 0..C-1 each.

        Each, summed over the decoder's layers: focal loss, L1 of cx cy w h as fractions of the photo, GIoU; as in the paper
        per box of the batch of all processes, 2, 5 and 2 times. Not a number where a predicted box is not.
        """
        sharers = self.distributed if self.training else SINGLE_PROCESS
        share = sharers.share_of_mean(sum(len(target["labels"]) for target in targets))
        return {name: share * value for name, value in self._own_losses(images, targets).items()}

    def _own_losses(self, images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """The losses per box of this process's photos."""
        logits, boxes = self._layers(images)
        with torch.autocast(images.device.type, enabled=False):  # the matching is numpy's, which has no bf16
            if not torch.isfinite(boxes).all():
                return dict.fromkeys(LOSSES, boxes.sum())  # for the loop to refuse; transformers would blame the box
            if not sum(len(target["labels"]) for target in targets):
                return self._losses_without_boxes(logits, boxes)
            labels = [{"class_labels": t["labels"], "boxes": fractions(t["boxes"], images)} for t in targets]
            config = self.loss_config
            _, by_layer, _ = self.net.loss_function(logits[-1], labels, images.device, boxes[-1], config, logits, boxes)
        return {
            name: weight * torch.stack([by_layer[key] for key in by_layer if key.startswith(LOSSES[name])]).sum()
            for name, weight in self._weights().items()
        }

    def _weights(self) -> dict[str, float]:
        """How much each loss counts."""
        config = self.loss_config
        return {
            "classification": config.cls_loss_coefficient,
            "box": config.bbox_loss_coefficient,
            "giou": config.giou_loss_coefficient,
        }

    def _losses_without_boxes(self, logits: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
        """The losses where no photo of the batch has a box, which transformers cannot match: every query is background."""
        background = sigmoid_focal_loss(logits, torch.zeros_like(logits), self.loss_config.focal_alpha, 2, "sum")
        zero = 0 * boxes.sum()
        return {"classification": self._weights()["classification"] * background, "box": zero, "giou": zero}

    def _layers(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The output of each of L decoder layers: logits (L, B, Q, C), boxes (L, B, Q, 4) cx cy w h in [0, 1]."""
        output = self.net.model(images, output_hidden_states=True)
        norm = self.net.model.decoder.layernorm
        between = [norm(hidden) for hidden in output.decoder_hidden_states[1:-1]]  # the first is the input of layer one
        return self._outputs(torch.stack([*between, output.last_hidden_state]))  # of (L, B, Q, width)

    def _outputs(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (..., Q, C) and boxes (..., Q, 4) of the decoder's outputs (..., Q, width); queries have reference points."""
        model = self.net.model
        with torch.autocast(hidden.device.type, enabled=False):  # in bf16 a box is pixels off
            reference = model.decoder.ref_point_head(model.query_position_embeddings.weight)  # (Q, 2), before the sigmoid
            moved = self.net.bbox_predictor(hidden.float())
            boxes = torch.cat([moved[..., :2] + reference, moved[..., 2:]], -1).sigmoid()
            return self.net.class_labels_classifier(hidden.float()), boxes

    def predictions(self, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """Of photos (B, 3, H, W), normalised: the encoder's output, one map (B, width, H / 32, W / 32); of each query its box
        (B, Q, 4), cx cy w h in [0, 1], and its logits (B, Q, C).
        """
        output, (high, wide) = self.net.model(images), images.shape[-2:]
        encoded = output.encoder_last_hidden_state.transpose(1, 2)  # (B, width, H / 32 * W / 32)
        shape = (len(images), self.loss_config.d_model, high // STRIDE, wide // STRIDE)
        logits, boxes = self._outputs(output.last_hidden_state)
        return [encoded.reshape(shape)], boxes, logits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Photos (B, 3, H, W), normalised -> (B, 4 + C, Q): cx cy w h in their pixels, then sigmoid scores."""
        _, boxes, logits = self.predictions(images)
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
    """transformers' network of random weights, on our own feature extractor. ValueError where it is not installed."""
    settings, network = transformers_classes()
    extractor = backbones.with_norm(backbones.make_feature_extractor(config, None), config.norm)
    net = network(
        settings(
            backbone_config={"model_type": "timm_backbone", "backbone": PLACEHOLDER, "out_indices": [-1]},
            num_labels=n_classes, num_queries=config.queries, d_model=config.width, dropout=config.dropout,
            encoder_layers=config.encoder_layers, decoder_layers=config.decoder_layers,
            encoder_ffn_dim=FEED_FORWARD * config.width, decoder_ffn_dim=FEED_FORWARD * config.width,
            encoder_attention_heads=HEADS, decoder_attention_heads=HEADS,
        )
    )  # fmt: skip
    net.model.backbone.model = extractor
    net.model.input_projection = nn.Conv2d(extractor.feature_info.channels()[-1], config.width, 1)
    initialise_as_in_paper(net)
    return net


def transformers_classes() -> tuple[Any, Any]:
    """transformers' classes of settings and network. Raises ValueError where it is not installed."""
    try:
        from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection
    except ImportError as error:
        raise ValueError(f"--family: got conditional_detr, which needs transformers ({error}); {install('distill')}") from None
    return ConditionalDetrConfig, ConditionalDetrForObjectDetection


def initialise_as_in_paper(net: Any) -> None:
    """Draw the random weights as the paper's code does: queries apart, low class scores, boxes where their query is.

    Measured: 50 steps from these weights learn two photos as well as 250 from transformers' own.
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
    or of its feature extractor as timm saves them; what has another shape there, as the head of other names, stays random.

    Raises ValueError for a file that fits neither, and for fewer queries than a photo has boxes.
    """
    most_boxes = max((len(photo.boxes) for photo in photos), default=0)
    if most_boxes > config.queries:
        raise ValueError(f"--queries: got {config.queries}, the fullest photo has {most_boxes} boxes; each needs one")
    net = Net(config, names)
    if pretrained is None or load_whole(net, weights_file.read_weights(pretrained)):
        return net
    extractor = backbones.make_feature_extractor(config, pretrained)
    refuse_ignored_weights(extractor, pretrained)
    net.net.model.backbone.model = backbones.with_norm(extractor, config.norm)
    return net


def load_whole(net: Net, state: dict[str, torch.Tensor]) -> bool:
    """Load from `state` what fits by name and shape, if that is enough of the network without its head; whether it was."""
    state = {current_name(name): value for name, value in state.items()}
    return weights_file.load_matching(net.net, state, counts=lambda name: not name.startswith(HEAD)).loaded


def current_name(name: str) -> str:
    """What transformers calls a tensor today.

    >>> current_name("model.decoder.layers.1.ca_qpos_sine_proj.weight"), current_name("model.encoder.layers.0.fc1.bias")
    ('model.decoder.layers.1.encoder_attn.q_pos_sine_proj.weight', 'model.encoder.layers.0.mlp.fc1.bias')
    """
    for old, new in RENAMINGS:
        name = re.sub(old, new, name)
    return name


def load(weights: Path) -> Net:
    """The network in `weights` on the CPU, in evaluation mode."""
    content = checkpoint.read(weights, "weights")
    net = Net(TransformerConfig(**content["config"]), content["names"])
    normalisation.refuse_other("weights", weights, content, net.description["normalisation"])
    net.load_state_dict(content["network"])
    return net.eval()


def from_weights(path: Path) -> Net:
    """The paper's network, of as many queries and classes as the weights file PATH has, transformers' or ours, in evaluation
    mode. Raises ValueError where that is not all of it.
    """
    state = {current_name(name): value for name, value in weights_file.read_weights(path).items()}
    head, queries = state.get(f"{HEAD}weight"), state.get("model.query_position_embeddings.weight")
    if head is not None and queries is not None:
        net = Net(TransformerConfig(queries=len(queries)), [str(i) for i in range(len(head))])
        if load_whole(net, state):
            return net.eval()
    raise ValueError(f"--teacher: got {path}, must be a finished run, or weights of a whole Conditional DETR with ResNet-50")


def refuse(config: TransformerConfig, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a backbone, a weights file, a checkpoint or a device that training could not begin with, and where
    transformers is not installed.
    """
    transformers_classes()
    with torch.random.fork_rng(devices=[]):
        if pretrained is not None:
            build(config, (), ["product"], pretrained)
        backbones.refuse_maps(backbones.make_feature_extractor(config, None), config.backbone)
    refuse_start(config, pretrained, last)
