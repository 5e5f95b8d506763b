"""ultralytics' boxes and losses in float32, where autocast computes the rest of a network in bf16 or fp16.

ultralytics lays anchors in the type of the feature maps. bf16 has 8 bits: from 128 on it does not hold n + 0.5, so that beyond
1024 px every cell of stride 8 is half a cell off, and a box is rounded to 4 px; a trained network is judged with exact anchors.
Only what the heads put out is cast. Nothing of this is in a network's state, its copies or its file.
"""

from typing import Any, cast

import torch
from ultralytics.models.utils.loss import RTDETRDetectionLoss
from ultralytics.nn.modules import RTDETRDecoder
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss

Anchors = tuple[torch.Tensor, torch.Tensor]  # of an RT-DETR, and which of them are valid


class Float32YoloLoss(v8DetectionLoss):
    """A YOLO's losses, computed in float32."""

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> Any:
        with torch.autocast(preds["boxes"].device.type, enabled=False):
            return super().loss(float32_outputs(preds), batch)


class Float32RtdetrLoss(RTDETRDetectionLoss):
    """RT-DETR's losses, computed in float32."""

    def forward(self, preds: Any, batch: Any, dn_bboxes: Any = None, dn_scores: Any = None, dn_meta: Any = None) -> Any:
        boxes, scores, *denoised = (x if x is None else x.float() for x in (*preds, dn_bboxes, dn_scores))
        with torch.autocast(boxes.device.type, enabled=False):
            return super().forward((boxes, scores), batch, *denoised, dn_meta)


def float32_outputs(outputs: dict[str, Any]) -> dict[str, Any]:
    """What a YOLO's head puts out, in float32. Of the maps, which give the anchors their number and type, nothing is copied."""
    maps = [x.new_zeros((), dtype=torch.float32).expand(x.shape) for x in outputs["feats"]]
    return outputs | {"boxes": outputs["boxes"].float(), "scores": outputs["scores"].float(), "feats": maps}


def decoded(head: Any, outputs: dict[str, Any]) -> torch.Tensor:
    """The boxes and scores (B, 4 + C, A) that a YOLO's head makes of its `outputs`, computed in float32."""
    with torch.autocast(outputs["boxes"].device.type, enabled=False):
        return cast(torch.Tensor, type(head)._inference(head, float32_outputs(outputs)))


def rtdetr_anchors(shapes: list[list[int]], maps: torch.Tensor, *sizes: float) -> Anchors:
    """An RT-DETR's anchors for maps of these `shapes`, in float32 on the device of `maps`."""
    like = maps.new_zeros((), dtype=torch.float32)
    return cast(Anchors, RTDETRDecoder._generate_anchors(shapes, like, *sizes))


def keep_losses_exact(network: Any) -> None:
    """Let the next losses of a `network` that ultralytics trains be computed in float32; called before each batch."""
    if getattr(network, "criterion", None) is None:  # ultralytics makes it with the first batch, and anew on resuming
        network.criterion = network.init_criterion()
    if isinstance(network.criterion, RTDETRDetectionLoss):
        network.criterion.__class__ = Float32RtdetrLoss
        _lay_anchors_once(network.model[-1])
        return
    for criterion in yolo_criteria(network.criterion):
        criterion.__class__ = Float32YoloLoss


def yolo_criteria(criterion: Any) -> list[Any]:
    """A YOLO's loss functions: two for a head that needs no NMS."""
    return [criterion.one2many, criterion.one2one] if isinstance(criterion, E2ELoss) else [criterion]


def _lay_anchors_once(head: Any) -> None:
    """Fill in the anchors that an RT-DETR's head keeps, when it sees the next maps.

    By a hook that removes itself, as ultralytics pickles hooks, and a head's class, into its checkpoints.
    """

    def lay(head: Any, inputs: tuple[Any, ...]) -> None:
        hook.remove()
        shapes = [list(x.shape[2:]) for x in inputs[0]]
        if head.shapes != shapes or head.anchors.dtype != torch.float32:
            head.anchors, head.valid_mask = head._generate_anchors(shapes, inputs[0][0].new_zeros((), dtype=torch.float32))
            head.shapes = shapes

    hook = head.register_forward_pre_hook(lay)


def decode_exactly(head: Any) -> None:
    """Let a head that is neither trained nor saved put out boxes computed in float32."""
    if isinstance(head, RTDETRDecoder):
        head._generate_anchors = rtdetr_anchors
    else:
        head._inference = lambda outputs: decoded(head, outputs)
