"""What a student is told beside the truth: to have the teacher's features where products are, and its classes and boxes.

Each loss is a Part, a sum and what it is divided by, so that processes which share a batch can add both up. Boxes are cx cy w h
in fractions of the canvas.

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

CLASS, L1, GIOU = 2.0, 5.0, 2.0  # taken: Conditional DETR's weights of a match, and of its boxes' losses
DOUBLE = 0.6  # chosen: IoU above which two of a teacher's boxes are one; as valid is scored
TINY = 1e-4  # chosen: sides of a box in fractions below which its GIoU is not followed


class Part(NamedTuple):
    """A loss before it is divided: both scalars."""

    total: torch.Tensor
    count: torch.Tensor


class Pairs(NamedTuple):
    """Which of the student's boxes is to be like which of the teacher's: three of (K,)."""

    photo: torch.Tensor
    student: torch.Tensor
    teacher: torch.Tensor


def inside(boxes: list[torch.Tensor], height: int, width: int) -> torch.Tensor:
    """(B, 1, H, W), 1 where a cell's centre lies in one of the photo's boxes (N, 4), or the cell holds a box's centre.

    >>> inside([torch.tensor([[0.5, 0.5, 0.5, 0.5]])], 4, 4)[0, 0].int().tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = torch.zeros(len(boxes), 1, height, width)
    for one, of in zip(mask[:, 0], boxes, strict=True):
        x0, y0, x1, y1 = box_convert(of.detach().cpu(), "cxcywh", "xyxy").T  # (N,) each
        x, y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
        across = (x >= x0[:, None]) & (x <= x1[:, None])  # (N, W)
        down = (y >= y0[:, None]) & (y <= y1[:, None])  # (N, H)
        one += (down[:, :, None] & across[:, None, :]).any(0)
        cells = (of[:, :2].detach().cpu() * torch.tensor([width, height])).long()  # (N, 2)
        one[cells[:, 1].clamp(0, height - 1), cells[:, 0].clamp(0, width - 1)] = 1
    return mask.clamp(max=1)


def feature_loss(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> Part:
    """How far the adapted map (B, C, H, W) is from the teacher's (B, C, h, w) where `mask` (B, 1, H, W) is 1.

    The teacher's is resized, and every cell of it normalised over its channels: its scale is no one's to learn.
    """
    wanted = F.interpolate(teacher, student.shape[2:], mode="bilinear", align_corners=False)  # (B, C, H, W)
    wanted = F.layer_norm(wanted.permute(0, 2, 3, 1), wanted.shape[1:2]).permute(0, 3, 1, 2)
    apart = (student - wanted).square().mean(1, keepdim=True)  # (B, 1, H, W)
    return Part((apart * mask).sum(), mask.sum())


def by_index(probs: torch.Tensor, floor: float) -> Pairs:
    """The k-th of the student's with the k-th of the teacher's, where its best of `probs` (B, Q, C) is above `floor`."""
    photo, k = torch.nonzero(probs.amax(2) > floor, as_tuple=True)
    return Pairs(photo, k, k)


def by_cost(boxes: torch.Tensor, logits: torch.Tensor, taught: torch.Tensor, probs: torch.Tensor, floor: float) -> Pairs:
    """The one-to-one matching of least cost (Hungarian) of the student's (B, Q, 4), (B, Q, C) and the teacher's (B, K, 4),
    (B, K, C): of the teacher's, those above `floor` and, of doubles, the surer. DETR's cost: -CLASS p + L1 |.| - GIOU GIoU.
    """
    found = []
    for i in range(len(boxes)):
        sure, label = probs[i].max(1)  # (K,)
        kept = torch.nonzero(sure > floor)[:, 0]
        corners = box_convert(taught[i, kept], "cxcywh", "xyxy")
        kept = kept[nms(corners.float(), sure[kept].float(), DOUBLE)]
        seen = logits[i].detach().float().sigmoid()[:, label[kept]]  # (Q, k)
        mine, theirs = boxes[i].detach().float(), taught[i, kept].float()
        overlap = generalized_box_iou(box_convert(mine, "cxcywh", "xyxy"), box_convert(theirs, "cxcywh", "xyxy"))
        cost = L1 * torch.cdist(mine, theirs, 1) - CLASS * seen - GIOU * overlap
        rows, columns = linear_sum_assignment(torch.nan_to_num(cost, nan=1e6).cpu().numpy())
        k = torch.as_tensor(rows, device=boxes.device)
        found.append((torch.full_like(k, i), k, kept[torch.as_tensor(columns, device=kept.device)]))
    if not found:
        return Pairs(*(torch.zeros(0, dtype=torch.long),) * 3)
    return Pairs(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def class_loss(logits: torch.Tensor, probs: torch.Tensor, pairs: Pairs) -> Part:
    """Cross entropy of the student's logits (B, Q, C) with the teacher's probabilities (B, K, C), by `pairs`."""
    wanted = probs[pairs.photo, pairs.teacher]  # (P, C)
    apart = F.binary_cross_entropy_with_logits(logits[pairs.photo, pairs.student], wanted, reduction="none").sum(1)  # (P,)
    sure = wanted.amax(1) if wanted.numel() else wanted.sum(1)
    return Part((sure * apart).sum(), sure.sum())


def box_loss(boxes: torch.Tensor, taught: torch.Tensor, probs: torch.Tensor, pairs: Pairs) -> Part:
    """DETR's loss of the student's boxes (B, Q, 4) on the teacher's (B, K, 4), by `pairs`."""
    mine, theirs = boxes[pairs.photo, pairs.student], taught[pairs.photo, pairs.teacher]  # (P, 4)
    known = probs[pairs.photo, pairs.teacher]
    sure = known.amax(1) if known.numel() else known.sum(1)  # (P,)
    sides = torch.cat([mine[:, :2], mine[:, 2:].clamp(min=TINY)], 1)
    overlap = generalized_box_iou_loss(box_convert(sides, "cxcywh", "xyxy"), box_convert(theirs, "cxcywh", "xyxy"))
    apart = L1 * (mine - theirs).abs().sum(1) + GIOU * overlap
    return Part((sure * apart).sum(), sure.sum())
