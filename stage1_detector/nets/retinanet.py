"""RetinaNet (Lin et al. 2017, arXiv:1708.02002) of torchvision's parts, on any backbone of timm and any neck.

Three ways to learn from the same network: plain (focal loss and L1 on anchors matched by IoU), FreeAnchor, PISA.
"""

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.ops import clip_boxes_to_image

from runs.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.config import TorchvisionConfig
from stage1_detector.nets import freeanchor, pisa
from stage1_detector.nets.anchors import Anchors
from stage1_detector.nets.backbones import Backbone, norm_of
from stage1_detector.nets.rcnn import Targets, at_most

Losses = dict[str, torch.Tensor]
# Targets, logits (B, A, C), deltas (B, A, 4), anchors (A, 4) of each photo, coder, processes -> this process's named losses.
LossFunction = Callable[[Targets, torch.Tensor, torch.Tensor, list[torch.Tensor], BoxCoder, Distributed], Losses]
FREEANCHOR_CODER = (10.0, 10.0, 5.0, 5.0)  # taken: mmdetection's, so that its losses distinguish a good box from a fair one
LOSS_FUNCTIONS: dict[str, LossFunction] = {"freeanchor": freeanchor.losses, "pisa": pisa.losses}


class Net(nn.Module):
    """A RetinaNet for `n_classes` names: `losses` to train it; called, the output of its export. Named as torchvision's."""

    def __init__(self, config: TorchvisionConfig, backbone: Backbone, anchors: Anchors, n_classes: int) -> None:
        super().__init__()
        generator, norm = anchors.generator(backbone.strides), norm_of(config) if config.norm == "group" else None
        head = RetinaNetHead(config.width, generator.num_anchors_per_location()[0], n_classes, norm_layer=norm)
        parts = RetinaNet(backbone, n_classes, anchor_generator=generator, head=head)
        self.backbone, self.head, self.plain_losses = backbone, parts.head, parts.compute_loss
        self.coder = BoxCoder(FREEANCHOR_CODER) if config.head == "freeanchor" else parts.box_coder
        self.anchor_generator = generator
        self.strides, self.n_classes, self.candidates = backbone.strides, n_classes, config.proposals
        self.loss_name = config.head

    def losses(self, images: torch.Tensor, targets: Targets, distributed: Distributed = SINGLE_PROCESS) -> Losses:
        """Of photos (B, 3, H, W), normalised; `targets` hold boxes (N, 4) in their pixels and labels (N,) in 0..C-1 each.

        Summed over the `distributed` processes they are the losses of one process on the photos of all.
        """
        maps = list(self.backbone(images).values())
        outputs = self.head(maps)
        anchors = [torch.cat(self.anchor_generator.by_level(images, maps))] * len(images)
        if self.loss_name == "plain":
            losses: Losses = self.plain_losses(targets, outputs, anchors)  # means over photos
            share = distributed.share_of_mean(len(images))
            return {"classification": share * losses["classification"], "box": share * losses["bbox_regression"]}
        logits, deltas = outputs["cls_logits"], outputs["bbox_regression"]
        return LOSS_FUNCTIONS[self.loss_name](targets, logits, deltas, anchors, self.coder, distributed)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Photos (B, 3, H, W), normalised -> (B, 4 + C, K): x0 y0 x1 y1 in their pixels, then sigmoid scores.

        No NMS; of each level the best `proposals` anchors by their best name, as torchvision has it.
        """
        maps = list(self.backbone(images).values())
        predictions = []
        for x, anchors in zip(maps, self.anchor_generator.by_level(images, maps), strict=True):
            output = self.head([x])
            scores, deltas = output["cls_logits"].sigmoid(), output["bbox_regression"]  # (B, A, C), (B, A, 4)
            _, best = scores.amax(2).topk(at_most(self.candidates, scores, 1), 1)  # (B, k)
            scores = scores.gather(1, best[..., None].expand(-1, -1, self.n_classes))
            deltas = deltas.gather(1, best[..., None].expand(-1, -1, 4))
            # float32, as torchvision would round boxes to the type of the deltas, a teacher's bf16
            boxes = self.coder.decode_single(deltas.reshape(-1, 4).float(), anchors[best].reshape(-1, 4))
            boxes = clip_boxes_to_image(boxes, images.shape[-2:]).reshape(deltas.shape)
            predictions.append(torch.cat([boxes, scores], 2))
        return torch.cat(predictions, 1).permute(0, 2, 1)
