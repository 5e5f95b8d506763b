"""ultralytics' own losses on the annotations, as sums that processes which share a batch can add up."""

from collections.abc import Callable
from typing import Any

import torch
from ultralytics.nn.modules import RTDETRDecoder

from runs.distributed import Distributed
from stage1_detector.distillation.losses import LossSum
from stage1_detector.ultralytics_engine import float32_boxes
from stage1_detector.ultralytics_engine.float32_boxes import Float32RtdetrLoss, Float32YoloLoss

Predictions = tuple[torch.Tensor, torch.Tensor]


def yolo_loss(
    student: Any, images: torch.Tensor, boxes: list[torch.Tensor], labels: list[torch.Tensor]
) -> tuple[dict[str, LossSum], Predictions]:
    """ultralytics' loss, a mean over the boxes assigned in all processes, and predictions: boxes (B, A, 4), logits
    (B, A, C).
    """
    network, distributed = student.network, student.batch_sharers
    if getattr(network, "criterion", None) is None:  # it stays on the device where it is made
        network.criterion = network.init_criterion()
    for criterion in float32_boxes.yolo_criteria(network.criterion):
        criterion.__class__, criterion.distributed = SharedYoloLoss, distributed
    outputs = network(images)
    batch = {
        "img": images,
        "cls": torch.cat(labels)[:, None].float(),
        "bboxes": torch.cat(boxes),
        "batch_idx": photo_indices(boxes),
    }
    losses, _ = network.loss(batch, outputs)
    raw = outputs if student.training else outputs[1]
    raw = raw.get("one2many", raw)
    head, (height, width) = network.model[-1], images.shape[2:]
    predicted = float32_boxes.decoded(head, raw)[:, :4].permute(0, 2, 1) / images.new_tensor([width, height] * 2)  # (B, A, 4)
    detection = LossSum(losses.sum() / len(images), images.new_tensor(1 / distributed.world_size))
    return {"detection": detection}, (predicted, raw["scores"].permute(0, 2, 1))


def rtdetr_loss(
    student: Any, images: torch.Tensor, boxes: list[torch.Tensor], labels: list[torch.Tensor]
) -> tuple[dict[str, LossSum], Predictions]:
    """ultralytics' loss, a mean over all processes' products, and the last layer's boxes (B, Q, 4) and logits (B, Q, C).

    Denoising queries are drawn for the batch of all processes: every process draws the same, and takes its own photos'.
    """
    network, distributed = student.network, student.batch_sharers
    gathered = distributed.all_gather([(b.cpu(), n.cpu()) for b, n in zip(boxes, labels, strict=True)])
    before, photos = sum(map(len, gathered[: distributed.rank])), [photo for part in gathered for photo in part]
    own_photos = slice(before, before + len(boxes))
    targets = {
        "cls": torch.cat([n for _, n in photos]).to(images.device),
        "bboxes": torch.cat([b for b, _ in photos]).to(images.device),
        "batch_idx": photo_indices([b for b, _ in photos]).to(images.device).long(),
        "gt_groups": [len(b) for b, _ in photos],
    }
    network.model[-1].own_photos = own_photos
    outputs = network.predict(images, batch=targets)
    *predicted, denoising = outputs if student.training else outputs[1]
    dec_boxes, dec_logits = predicted[:2]
    denoised = 0 if denoising is None else denoising["dn_num_group"] * sum(map(len, denoising["dn_gt_idx"]))
    if denoising is not None:
        denoising = denoising_of(denoising, own_photos, sum(targets["gt_groups"][:before]))
        dec_boxes, dec_logits = (tensor[:, :, denoising["dn_num_split"][0] :] for tensor in predicted[:2])
    batch = {"img": images, "cls": torch.cat(labels), "bboxes": torch.cat(boxes), "batch_idx": photo_indices(boxes)}
    matched = sum(min(n, dec_logits.shape[2]) for n in targets["gt_groups"])
    network.criterion.divisors = {"": matched, "_dn": denoised}
    outputs = (*predicted, denoising)
    loss, _ = network.loss(batch, outputs if student.training else (None, outputs))
    return {"detection": LossSum(loss, images.new_tensor(1 / distributed.world_size))}, (dec_boxes[-1], dec_logits[-1])


DETECTION_LOSSES: dict[str, Callable[..., tuple[dict[str, LossSum], Predictions]]] = {"yolo": yolo_loss, "rtdetr": rtdetr_loss}


class SharedYoloLoss(Float32YoloLoss):
    """A YOLO's losses of one process's photos, divided by the weight of the boxes assigned in all processes."""

    distributed: Distributed

    def loss(self, preds: Any, batch: Any) -> Any:
        weights: list[torch.Tensor] = []
        hook = self.assigner.register_forward_hook(lambda module, inputs, outputs: weights.append(outputs[2].sum()))
        try:
            losses, items = super().loss(preds, batch)
        finally:
            hook.remove()
        weight = float(weights[0])
        total = self.distributed.all_reduce_sums({"weight": weight})["weight"]
        return losses * (max(weight, 1.0) / max(total, 1.0)), items


class SharedDecoder(RTDETRDecoder):
    """An RT-DETR's head that draws denoising queries for the photos of all processes and takes those of `own_photos`.

    Its anchors are float32, also under autocast.
    """

    own_photos = slice(None)
    _generate_anchors = staticmethod(float32_boxes.rtdetr_anchors)

    def _get_decoder_input(self, feats: Any, shapes: Any, dn_embed: Any = None, dn_bbox: Any = None) -> Any:
        if dn_embed is not None:
            dn_embed, dn_bbox = dn_embed[self.own_photos], dn_bbox[self.own_photos]
        return super()._get_decoder_input(feats, shapes, dn_embed, dn_bbox)


class SharedRtdetrLoss(Float32RtdetrLoss):
    """RT-DETR's losses of one process's photos, divided by the products of all processes: matched, and denoised (`_dn`)."""

    divisors: dict[str, int]

    def _get_loss_class(self, pred_scores: Any, targets: Any, gt_scores: Any, num_gts: int, postfix: str = "") -> Any:
        return super()._get_loss_class(pred_scores, targets, gt_scores, self.divisors[postfix], postfix)

    def _get_loss_bbox(self, pred_bboxes: Any, gt_bboxes: Any, postfix: str = "") -> Any:
        share = len(gt_bboxes) / max(1, self.divisors[postfix])
        return {name: share * mean for name, mean in super()._get_loss_bbox(pred_bboxes, gt_bboxes, postfix).items()}


def denoising_of(denoising: dict[str, Any], own_photos: slice, before: int) -> dict[str, Any]:
    """ultralytics' record of the denoising queries of `own_photos`; `before`: how many products the photos before them hold."""
    return denoising | {
        "dn_pos_idx": denoising["dn_pos_idx"][own_photos],
        "dn_gt_idx": [i - before for i in denoising["dn_gt_idx"][own_photos]],
    }


def photo_indices(boxes: list[torch.Tensor]) -> torch.Tensor:
    """For each box the index of its photo in the batch: (N,).

    >>> photo_indices([torch.zeros(2, 4), torch.zeros(0, 4), torch.zeros(1, 4)]).tolist()
    [0.0, 0.0, 2.0]
    """
    return torch.cat(
        [torch.full((len(photo_boxes),), float(i), device=photo_boxes.device) for i, photo_boxes in enumerate(boxes)]
    )
