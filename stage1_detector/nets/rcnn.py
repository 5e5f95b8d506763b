"""Faster R-CNN (Ren et al. 2015, arXiv:1506.01497) of torchvision's parts, on any backbone of timm.

Head v1 is `fasterrcnn_resnet50_fpn`'s, v2 `fasterrcnn_resnet50_fpn_v2`'s (Li et al. 2021, arXiv:2111.11429): a deeper proposal
head, four convolutions before the box head's layer, all normalised. Losses come as three: classification, box, and anchor
(objectness and box of the proposals).
"""

import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, nms, roi_align
from torchvision.ops.poolers import initLevelMapper

from runs.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.config import TorchvisionConfig
from stage1_detector.nets.anchors import Anchors
from stage1_detector.nets.backbones import Backbone, norm_of
from stage1_detector.nets.sampling import PhotoSampler

POOLED = 7  # taken: torchvision's, side of the maps that RoIAlign gives
LEVELS = 4  # taken: likewise, levels that boxes are pooled from; proposals also come from the fifth
Targets = list[dict[str, torch.Tensor]]


class Net(nn.Module):
    """A Faster R-CNN for `n_classes` names: `losses` to train it; called, the output of its export. Named as torchvision's."""

    def __init__(self, config: TorchvisionConfig, backbone: Backbone, anchors: Anchors, n_classes: int) -> None:
        super().__init__()
        generator = anchors.generator(backbone.strides)
        hidden = 4 * config.width  # taken: torchvision's 1024 for 256
        head = RPNHead(config.width, generator.num_anchors_per_location()[0], conv_depth={"v1": 1, "v2": 2}[config.head])
        parts = FasterRCNN(
            backbone,
            rpn_anchor_generator=generator,
            rpn_head=head,
            box_roi_pool=MultiScaleRoIAlign([str(level) for level in range(LEVELS)], POOLED, sampling_ratio=2),
            box_head=box_head(config, hidden),
            box_predictor=FastRCNNPredictor(hidden, n_classes + 1),
            rpn_pre_nms_top_n_train=2 * config.proposals,  # taken: torchvision's 2000 for 1000
            rpn_post_nms_top_n_train=2 * config.proposals,
            rpn_pre_nms_top_n_test=config.proposals,
            rpn_post_nms_top_n_test=config.proposals,
            box_batch_size_per_image=config.rois,
        )
        self.backbone, self.rpn, self.roi_heads = backbone, parts.rpn, parts.roi_heads
        for part in (self.rpn, self.roi_heads):
            part.fg_bg_sampler = PhotoSampler(part.fg_bg_sampler.batch_size_per_image, part.fg_bg_sampler.positive_fraction)
        self.strides, self.n_classes, self.proposals = backbone.strides, n_classes, config.proposals
        self.level_of = initLevelMapper(2, 2 + LEVELS - 1)

    def losses(
        self, images: torch.Tensor, targets: Targets, distributed: Distributed = SINGLE_PROCESS
    ) -> dict[str, torch.Tensor]:
        """Of photos (B, 3, H, W), normalised; `targets` hold boxes (N, 4) in their pixels and labels (N,) in 0..C-1 each.

        Summed over the `distributed` processes they are the losses of one process on the photos of all.
        """
        samplers = self.rpn.fg_bg_sampler, self.roi_heads.fg_bg_sampler
        for sampler in samplers:
            sampler.distributed = distributed
        features, sizes = self.backbone(images), [(images.shape[2], images.shape[3])] * len(images)
        targets = [{"boxes": t["boxes"], "labels": t["labels"] + 1} for t in targets]  # 0 is background
        with torch.autocast(images.device.type, enabled=False):  # torchvision would round boxes to bf16: 2 pixels from 256 on
            features = {name: x.float() for name, x in features.items()}
            proposals, anchor = self.rpn(ImageList(images, sizes), features, targets)
            _, box = self.roi_heads(features, proposals, sizes, targets)
        of_anchors, of_proposals = (distributed.share_of_mean(sampler.sampled) for sampler in samplers)
        return {
            "classification": of_proposals * box["loss_classifier"],
            "box": of_proposals * box["loss_box_reg"],
            "anchor": of_anchors * (anchor["loss_objectness"] + anchor["loss_rpn_box_reg"]),
        }

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Photos (B, 3, H, W), normalised -> (B, 4 + C, K): x0 y0 x1 y1 in their pixels, then softmax scores less background.

        A proposal's box is that of its best name, so that it stays one box with a score for each name, where torchvision gives
        a box for each name. No NMS of boxes. K is the number of proposals; where there are fewer, scores are 0.
        """
        features = self.backbone(images)
        proposals, valid = self._proposals(images, features)  # (B, K, 4), (B, K)
        boxes, scores = self._classified(features, proposals, images)  # (B * K, 4), (B * K, C)
        scores = scores * valid.reshape(-1, 1)
        return torch.cat([boxes, scores], 1).reshape(len(images), -1, 4 + self.n_classes).permute(0, 2, 1)

    def _proposals(self, images: torch.Tensor, features: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The best boxes (B, K, 4) of the proposal network, by torchvision's rules, and which are valid (B, K).

        torchvision goes photo by photo, which a traced graph of any batch size cannot; here boxes of different photos and
        levels are moved apart, so that one NMS does for all.
        """
        batch, maps = images.shape[0], list(features.values())
        objectness, deltas = self.rpn.head(maps)
        boxes, scores, levels = [], [], []
        for level, anchors in enumerate(self.rpn.anchor_generator.by_level(images, maps)):
            score = objectness[level].permute(0, 2, 3, 1).reshape(batch, -1)  # (B, A)
            high, wide = maps[level].shape[-2:]
            delta = deltas[level].reshape(batch, -1, 4, high, wide).permute(0, 3, 4, 1, 2).reshape(batch, -1, 4)  # (B, A, 4)
            score, best = score.topk(at_most(self.proposals, score, 1), 1)  # (B, k)
            delta = delta.gather(1, best[..., None].expand(-1, -1, 4))
            boxes.append(self._decoded(self.rpn.box_coder, delta, anchors[best], images))
            scores.append(score.sigmoid())
            levels.append(torch.full_like(score, level))
        return self._best(torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(levels, 1), images)

    def _best(
        self, boxes: torch.Tensor, scores: torch.Tensor, levels: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """NMS within each photo and level of boxes (B, N, 4), then the best (B, K, 4), and which are valid (B, K)."""
        batch = torch.arange(images.shape[0], device=images.device, dtype=boxes.dtype)[:, None]  # (B, 1)
        apart = (batch * len(self.strides) + levels) * (boxes.max() + 1)  # (B, N)
        kept = nms((boxes + apart[..., None]).reshape(-1, 4), scores.reshape(-1), self.rpn.nms_thresh)
        alive = torch.zeros_like(scores).reshape(-1).scatter(0, kept, torch.ones_like(kept, dtype=scores.dtype))
        wide = ((boxes[..., 2:] - boxes[..., :2]) >= self.rpn.min_size).all(2)  # (B, N)
        ranked = torch.where((alive.reshape(scores.shape) > 0) & wide, scores, -torch.ones_like(scores))
        best, order = ranked.topk(at_most(self.proposals, ranked, 1), 1)  # (B, K)
        valid = (best >= 0).to(boxes.dtype)
        return boxes.gather(1, order[..., None].expand(-1, -1, 4)) * valid[..., None], valid

    def _classified(
        self, features: dict[str, torch.Tensor], boxes: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The output of the box head for proposals (B, K, 4): boxes (B * K, 4) and scores (B * K, C)."""
        batch = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)[:, None, None]
        rois = torch.cat([batch.expand(-1, boxes.shape[1], -1), boxes], 2).reshape(-1, 5)
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(self._pooled(features, rois)))
        scores = logits.softmax(1)[:, 1:]  # (B * K, C)
        best = scores.argmax(1) + 1  # (B * K,)
        deltas = deltas.reshape(-1, self.n_classes + 1, 4)
        delta = deltas.gather(1, best[:, None, None].expand(-1, 1, 4))  # (B * K, 1, 4)
        return self._decoded(self.roi_heads.box_coder, delta, rois[:, None, 1:], images)[:, 0], scores

    def _pooled(self, features: dict[str, torch.Tensor], rois: torch.Tensor) -> torch.Tensor:
        """RoIAlign of `rois` (R, 5), each from the level of its size: (R, width, POOLED, POOLED)."""
        levels = self.level_of([rois[:, 1:]])  # (R,)
        pooled = rois.new_zeros((rois.shape[0], self.backbone.out_channels, POOLED, POOLED))
        for level in range(LEVELS):
            here = torch.where(levels == level)[0]
            part = roi_align(features[str(level)], rois[here], POOLED, 1 / self.strides[level], sampling_ratio=2)
            pooled = pooled.index_copy(0, here, part.to(pooled.dtype))
        return pooled

    def _decoded(self, coder: object, deltas: torch.Tensor, boxes: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """`boxes` (X, Y, 4) moved by `deltas` (X, Y, 4) and cut to the photo; float32, though deltas be bf16."""
        moved = coder.decode_single(deltas.reshape(-1, 4).float(), boxes.reshape(-1, 4))  # type: ignore[attr-defined]
        return clip_boxes_to_image(moved, images.shape[-2:]).reshape(deltas.shape)


def box_head(config: TorchvisionConfig, hidden: int) -> nn.Module:
    """Pooled maps (R, width, POOLED, POOLED) -> (R, hidden), as torchvision's v1 or v2."""
    if config.head == "v1":
        return TwoMLPHead(config.width * POOLED**2, hidden)
    return FastRCNNConvFCHead((config.width, POOLED, POOLED), [config.width] * 4, [hidden], norm_layer=norm_of(config))


def at_most(count: int, tensor: torch.Tensor, axis: int) -> torch.Tensor | int:
    """`count`, or the length of `tensor` along `axis` if that is less; in a traced graph by the length when it runs."""
    if not torch.jit.is_tracing():
        return min(count, tensor.shape[axis])
    return torch.minimum(torch.tensor(count), torch._shape_as_tensor(tensor)[axis])
