"""What an ultralytics network learns from the truth, in parts that processes which share a batch can add up."""

from collections.abc import Callable
from typing import Any

import torch
from ultralytics.models.utils.loss import RTDETRDetectionLoss
from ultralytics.nn.modules import RTDETRDecoder
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss

from stage1_detector.distillation.losses import Part
from stage1_detector.torch_engine.distributed import Distributed

Predicted = tuple[torch.Tensor, torch.Tensor]


def own_of_yolo(
    student: Any, images: torch.Tensor, boxes: list[torch.Tensor], labels: list[torch.Tensor]
) -> tuple[dict[str, Part], Predicted]:
    """ultralytics' loss, a mean over the boxes assigned in all processes, and predictions: boxes (B, A, 4), logits
    (B, A, C).
    """
    network, distributed = student.network, student.sharers
    if getattr(network, "criterion", None) is None:  # it stays on the device where it is made
        network.criterion = network.init_criterion()
    for part in parts_of(network.criterion):
        part.__class__, part.distributed = Assigned, distributed
    made = network(images)
    batch = {"img": images, "cls": torch.cat(labels)[:, None].float(), "bboxes": torch.cat(boxes), "batch_idx": owner(boxes)}
    losses, _ = network.loss(batch, made)
    raw = made if student.training else made[1]
    raw = raw.get("one2many", raw)
    head, (height, width) = network.model[-1], images.shape[2:]
    decoded = head._inference(raw)[:, :4].permute(0, 2, 1) / images.new_tensor([width, height] * 2)  # (B, A, 4)
    own = Part(losses.sum() / len(images), images.new_tensor(1 / distributed.world_size))
    return {"detection": own}, (decoded, raw["scores"].permute(0, 2, 1))


def own_of_rtdetr(
    student: Any, images: torch.Tensor, boxes: list[torch.Tensor], labels: list[torch.Tensor]
) -> tuple[dict[str, Part], Predicted]:
    """ultralytics' loss, a mean over all processes' products, and the last layer's boxes (B, Q, 4) and logits (B, Q, C).

    Denoising queries are drawn for the batch of all processes: every process draws the same, and takes its own photos'.
    """
    network, distributed = student.network, student.sharers
    whole = distributed.all_gather([(b.cpu(), n.cpu()) for b, n in zip(boxes, labels, strict=True)])
    before, photos = sum(map(len, whole[: distributed.rank])), [pair for part in whole for pair in part]
    mine = slice(before, before + len(boxes))
    targets = {
        "cls": torch.cat([n for _, n in photos]).to(images.device),
        "bboxes": torch.cat([b for b, _ in photos]).to(images.device),
        "batch_idx": owner([b for b, _ in photos]).to(images.device).long(),
        "gt_groups": [len(b) for b, _ in photos],
    }
    network.model[-1].mine = mine
    made = network.predict(images, batch=targets)
    *found, noisy = made if student.training else made[1]
    dec_boxes, dec_logits = found[0], found[1]
    denoised = 0 if noisy is None else noisy["dn_num_group"] * sum(map(len, noisy["dn_gt_idx"]))
    if noisy is not None:
        noisy = own_noise(noisy, mine, sum(targets["gt_groups"][:before]))
        dec_boxes, dec_logits = (one[:, :, noisy["dn_num_split"][0] :] for one in found[:2])
    batch = {"img": images, "cls": torch.cat(labels), "bboxes": torch.cat(boxes), "batch_idx": owner(boxes)}
    matched = sum(min(n, dec_logits.shape[2]) for n in targets["gt_groups"])
    network.criterion.whole = {"": matched, "_dn": denoised}
    told = (*found, noisy)
    loss, _ = network.loss(batch, told if student.training else (None, told))
    return {"detection": Part(loss, images.new_tensor(1 / distributed.world_size))}, (dec_boxes[-1], dec_logits[-1])


OWN: dict[str, Callable[..., tuple[dict[str, Part], Predicted]]] = {"yolo": own_of_yolo, "rtdetr": own_of_rtdetr}


def parts_of(criterion: Any) -> list[Any]:
    """A YOLO's losses: of a head without NMS there are two."""
    return [criterion.one2many, criterion.one2one] if isinstance(criterion, E2ELoss) else [criterion]


class Assigned(v8DetectionLoss):
    """A YOLO's losses of one process's photos, divided by the weight of the boxes assigned in all processes."""

    distributed: Distributed

    def loss(self, preds: Any, batch: Any) -> Any:
        weights: list[torch.Tensor] = []
        hook = self.assigner.register_forward_hook(lambda module, given, made: weights.append(made[2].sum()))
        try:
            losses, told = super().loss(preds, batch)
        finally:
            hook.remove()
        mine = float(weights[0])
        return losses * (max(mine, 1.0) / max(self.distributed.all_reduce_sums({"weight": mine})["weight"], 1.0)), told


class Decoder(RTDETRDecoder):
    """An RT-DETR's head that is told of all processes' products and takes those of `mine`, its photos."""

    mine = slice(None)

    def _get_decoder_input(self, feats: Any, shapes: Any, dn_embed: Any = None, dn_bbox: Any = None) -> Any:
        if dn_embed is not None:
            dn_embed, dn_bbox = dn_embed[self.mine], dn_bbox[self.mine]
        return super()._get_decoder_input(feats, shapes, dn_embed, dn_bbox)


class Share(RTDETRDetectionLoss):
    """RT-DETR's losses of one process's photos, a mean over `whole`, all processes' products: matched, and denoised (`_dn`)."""

    whole: dict[str, int]

    def _get_loss_class(self, pred_scores: Any, targets: Any, gt_scores: Any, num_gts: int, postfix: str = "") -> Any:
        return super()._get_loss_class(pred_scores, targets, gt_scores, self.whole[postfix], postfix)

    def _get_loss_bbox(self, pred_bboxes: Any, gt_bboxes: Any, postfix: str = "") -> Any:
        part = len(gt_bboxes) / max(1, self.whole[postfix])
        return {name: part * mean for name, mean in super()._get_loss_bbox(pred_bboxes, gt_bboxes, postfix).items()}


def own_noise(noisy: dict[str, Any], mine: slice, before: int) -> dict[str, Any]:
    """What ultralytics notes of denoising queries, for the photos of `mine`, `before` products of others before them."""
    return noisy | {"dn_pos_idx": noisy["dn_pos_idx"][mine], "dn_gt_idx": [i - before for i in noisy["dn_gt_idx"][mine]]}


def owner(boxes: list[torch.Tensor]) -> torch.Tensor:
    """The position of the photo that each of all boxes is in: (N,).

    >>> owner([torch.zeros(2, 4), torch.zeros(0, 4), torch.zeros(1, 4)]).tolist()
    [0.0, 0.0, 2.0]
    """
    return torch.cat([torch.full((len(one),), float(i), device=one.device) for i, one in enumerate(boxes)])
