"""Distillation losses: a student imitates its teacher's features where products are, and the teacher's classes and boxes.

Each loss is a LossSum: a sum and its divisor, so that processes which share a batch can add up both. Boxes are cx cy w h in
fractions of the canvas.

    feature   sum over cells in boxes of ||A(s) - norm(t)||^2 / C, divided by their number
    class     sum over pairs of w_k sum_c BCE(s_kc, p_kc), divided by sum of w_k
    box       sum over pairs of w_k (5 |s_k - t_k|_1 + 2 (1 - GIoU(s_k, t_k))), divided by sum of w_k

with A an adapter of 1 x 1, p_k the teacher's class probabilities and w_k = max_c p_kc. Feature imitation inside boxes: Wang et
al. 2019, Distilling Object Detectors with Fine-grained Feature Imitation, arXiv:1906.03609. Classes and boxes of a teacher's
queries: Chang et al. 2023, DETRDistill, arXiv:2211.10156.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss, nms

CLASS_WEIGHT, L1_WEIGHT, GIOU_WEIGHT = 2.0, 5.0, 2.0  # taken: Conditional DETR's weights of a match, and of its boxes' losses
DUPLICATE_IOU = 0.6  # chosen: IoU above which two boxes of a teacher count as one
MIN_SIDE = 1e-4  # chosen: sides of a box, in fractions, below which GIoU has no gradient


class LossSum(NamedTuple):
    """A loss before the division, as two scalars."""

    total: torch.Tensor
    count: torch.Tensor


class Pairs(NamedTuple):
    """Which prediction of the student imitates which of the teacher: three index tensors (K,)."""

    photo: torch.Tensor
    student: torch.Tensor
    teacher: torch.Tensor


def foreground_mask(boxes: list[torch.Tensor], height: int, width: int) -> torch.Tensor:
    """(B, 1, H, W), 1 where a cell's centre lies in one of the photo's boxes (N, 4), or a box's centre lies in the cell.

    >>> foreground_mask([torch.tensor([[0.5, 0.5, 0.5, 0.5]])], 4, 4)[0, 0].int().tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = torch.zeros(len(boxes), 1, height, width)
    for photo_mask, photo_boxes in zip(mask[:, 0], boxes, strict=True):
        x0, y0, x1, y1 = box_convert(photo_boxes.detach().cpu(), "cxcywh", "xyxy").T  # (N,) each
        x, y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
        across = (x >= x0[:, None]) & (x <= x1[:, None])  # (N, W)
        down = (y >= y0[:, None]) & (y <= y1[:, None])  # (N, H)
        photo_mask += (down[:, :, None] & across[:, None, :]).any(0)
        cells = (photo_boxes[:, :2].detach().cpu() * torch.tensor([width, height])).long()  # (N, 2)
        photo_mask[cells[:, 1].clamp(0, height - 1), cells[:, 0].clamp(0, width - 1)] = 1
    return mask.clamp(max=1)


def feature_loss(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> LossSum:
    """Squared distance of the adapted map (B, C, H, W) from the teacher's (B, C, h, w) where `mask` (B, 1, H, W) is 1.

    The teacher's map is resized, and each of its cells normalised over the channels, since its scale carries no information.
    """
    target = F.interpolate(teacher, student.shape[2:], mode="bilinear", align_corners=False)  # (B, C, H, W)
    target = F.layer_norm(target.permute(0, 2, 3, 1), target.shape[1:2]).permute(0, 3, 1, 2)
    error = (student - target).square().mean(1, keepdim=True)  # (B, 1, H, W)
    return LossSum((error * mask).sum(), mask.sum())


def match_by_index(probs: torch.Tensor, floor: float) -> Pairs:
    """Match equal indices, where the teacher's highest probability of `probs` (B, Q, C) is above `floor`."""
    photo, k = torch.nonzero(probs.amax(2) > floor, as_tuple=True)
    return Pairs(photo, k, k)


def match_by_cost(
    boxes: torch.Tensor, logits: torch.Tensor, teacher_boxes: torch.Tensor, probs: torch.Tensor, floor: float
) -> Pairs:
    """Hungarian matching of the student's predictions (B, Q, 4), (B, Q, C) and the teacher's (B, K, 4), (B, K, C) that are
    above `floor` and no duplicates (NMS). DETR's cost, weighted: -p + |.| - GIoU. Rounding decides a tie.
    """
    pairs = []
    for i in range(len(boxes)):
        confidence, label = probs[i].max(1)  # (K,)
        kept = torch.nonzero(confidence > floor)[:, 0]
        corners = box_convert(teacher_boxes[i, kept], "cxcywh", "xyxy")
        kept = kept[nms(corners.float(), confidence[kept].float(), DUPLICATE_IOU)]
        scores = logits[i].detach().float().sigmoid()[:, label[kept]]  # (Q, k)
        student, teacher = boxes[i].detach().float(), teacher_boxes[i, kept].float()
        overlap = generalized_box_iou(box_convert(student, "cxcywh", "xyxy"), box_convert(teacher, "cxcywh", "xyxy"))
        cost = L1_WEIGHT * torch.cdist(student, teacher, 1) - CLASS_WEIGHT * scores - GIOU_WEIGHT * overlap
        rows, columns = linear_sum_assignment(torch.nan_to_num(cost, nan=1e6).cpu().numpy())
        k = torch.as_tensor(rows, device=boxes.device)
        pairs.append((torch.full_like(k, i), k, kept[torch.as_tensor(columns, device=kept.device)]))
    if not pairs:
        return Pairs(*(torch.zeros(0, dtype=torch.long),) * 3)
    return Pairs(*(torch.cat(parts) for parts in zip(*pairs, strict=True)))


def class_loss(logits: torch.Tensor, probs: torch.Tensor, pairs: Pairs) -> LossSum:
    """Binary cross entropy of the student's logits (B, Q, C) with the teacher's probabilities (B, K, C) of each pair."""
    target = probs[pairs.photo, pairs.teacher]  # (P, C)
    error = F.binary_cross_entropy_with_logits(logits[pairs.photo, pairs.student], target, reduction="none").sum(1)  # (P,)
    confidence = target.amax(1) if target.numel() else target.sum(1)
    return LossSum((confidence * error).sum(), confidence.sum())


def box_loss(boxes: torch.Tensor, teacher_boxes: torch.Tensor, probs: torch.Tensor, pairs: Pairs) -> LossSum:
    """DETR's box loss, L1 and GIoU, of the student's boxes (B, Q, 4) and the teacher's (B, K, 4) of each pair."""
    student, teacher = boxes[pairs.photo, pairs.student], teacher_boxes[pairs.photo, pairs.teacher]  # (P, 4)
    target = probs[pairs.photo, pairs.teacher]
    confidence = target.amax(1) if target.numel() else target.sum(1)  # (P,)
    sides = torch.cat([student[:, :2], student[:, 2:].clamp(min=MIN_SIDE)], 1)
    overlap = generalized_box_iou_loss(box_convert(sides, "cxcywh", "xyxy"), box_convert(teacher, "cxcywh", "xyxy"))
    error = L1_WEIGHT * (student - teacher).abs().sum(1) + GIOU_WEIGHT * overlap
    return LossSum((confidence * error).sum(), confidence.sum())
