"""PISA, prime sample attention (Cao et al. 2019, arXiv:1904.04821), for a RetinaNet: losses that weigh the best boxes most.

Of the anchors matched to an object, the one whose box fits it best decides the detection. ISR-P weighs the classification of
these positives by how they rank; CARL weighs their box losses by their scores, and so raises the scores of boxes that fit.
ISR-N, the paper's weights of negatives, is for two-stage detectors and is not implemented here.

Without the weights this is torchvision's RetinaNet with one difference: sums are divided by the positives of the batch, as in
mmdetection's PISA head, not photo by photo.
"""

import torch
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou, sigmoid_focal_loss

from runs.distributed import SINGLE_PROCESS, Distributed

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.4  # taken: RetinaNet's; anchors in between are left out
ALPHA, GAMMA = 0.25, 2.0  # taken: RetinaNet's focal loss
ISR_POWER, ISR_BIAS = 2.0, 0.0  # taken: mmdetection's config for RetinaNet
CARL_POWER, CARL_BIAS = 1.0, 0.2  # taken: mmdetection's config for RetinaNet
EPS = 1e-12  # chosen: against a division by 0


def losses(
    targets: list[dict[str, torch.Tensor]],
    logits: torch.Tensor,
    deltas: torch.Tensor,
    anchors: list[torch.Tensor],
    coder: BoxCoder,
    distributed: Distributed = SINGLE_PROCESS,
) -> dict[str, torch.Tensor]:
    """Focal loss under ISR-P, L1 of deltas, and CARL, of a batch; each is a sum over anchors / positives (or 1).

    Of each photo: `targets` "boxes" (N, 4) and "labels" int64 (N,) below C, `logits` (A, C), `deltas` (A, 4) as `coder`
    writes them, `anchors` (A, 4). The sums are over this process's photos; positives are counted, ranked and weighed among
    those of all `distributed` processes.
    """
    logits, deltas = logits.float(), deltas.float()
    matched = torch.stack([matches(target["boxes"], own) for target, own in zip(targets, anchors, strict=True)])  # (B, A)
    positive = matched >= 0  # (B, A)
    objects = batch_indices(matched, [len(target["boxes"]) for target in targets])[positive]  # (P,)
    boxes = torch.cat([target["boxes"] for target in targets])[objects]  # (P, 4)
    labels = torch.cat([target["labels"] for target in targets])[objects]  # (P,)
    bases = torch.stack(anchors)[positive]  # (P, 4)

    one_hot = torch.zeros_like(logits)  # (B, A, C)
    one_hot[positive] = functional.one_hot(labels, logits.shape[2]).to(logits)
    focal = sigmoid_focal_loss(logits, one_hot, ALPHA, GAMMA).sum(-1)  # (B, A)
    l1 = (deltas[positive] - coder.encode_single(boxes, bases)).abs().sum(-1)  # (P,)
    ious = paired_iou(coder.decode_single(deltas[positive].detach(), bases), boxes)
    ranks = ranks_of_all(ious, objects, labels, distributed)
    weights = isr_p_weights(ranks, focal[positive], distributed=distributed)  # (P,)
    background = focal[matched == Matcher.BELOW_LOW_THRESHOLD].sum()
    scores = logits[positive].gather(1, labels[:, None])[:, 0].sigmoid()  # (P,)
    scale = distributed.share_of_mean(len(objects)) / max(1, len(objects))
    return {
        "classification": scale * (background + (weights * focal[positive]).sum()),
        "box": scale * l1.sum(),
        "carl": scale * carl(scores, l1, distributed=distributed),
    }


def matches(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """As torchvision's RetinaNet: for each anchor the object it is matched to, -1 for background, -2 for neither, (A,)."""
    if not len(boxes):
        return anchors.new_full((len(anchors),), Matcher.BELOW_LOW_THRESHOLD, dtype=torch.int64)
    return Matcher(FOREGROUND_IOU, BACKGROUND_IOU, allow_low_quality_matches=True)(box_iou(boxes, anchors))


def batch_indices(matched: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Indices of objects within their photo, (B, A), as indices within the batch, whose photos have `counts` objects.

    >>> batch_indices(torch.tensor([[0, 1], [1, 0]]), [3, 2])
    tensor([[0, 1],
            [4, 3]])
    """
    offsets = torch.tensor([0, *counts[:-1]], device=matched.device).cumsum(0)  # (B,)
    return matched + offsets[:, None]


def iou_hlr(ious: torch.Tensor, objects: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """IoU hierarchical local rank of positives within their class, 0 is the best; all (P,).

    First the positives of each object are ranked by IoU. Then in each class all that are best of their object are ranked by
    IoU, after them all second ones, and so on. Of equal ones the earlier is the better.

    >>> iou_hlr(torch.tensor([0.9, 0.8, 0.6]), torch.tensor([0, 0, 1]), torch.tensor([7, 7, 7]))  # 0.6 is best of its object
    tensor([0, 2, 1])
    """
    order = ious.argsort(descending=True, stable=True)
    local = ranks_within(objects, order)
    return ranks_within(labels, order[local[order].argsort(stable=True)])


def ranks_within(groups: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """How many of its own group come before each item in `order`, a permutation of the items; all int64 (P,).

    >>> ranks_within(torch.tensor([5, 2, 5]), torch.tensor([2, 1, 0]))
    tensor([1, 0, 0])
    """
    order = order[groups[order].argsort(stable=True)]
    sizes = groups.bincount()
    starts = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device) - starts[groups[order]]
    return ranks


def ranks_of_all(ious: torch.Tensor, objects: torch.Tensor, labels: torch.Tensor, distributed: Distributed) -> torch.Tensor:
    """`iou_hlr` of this process's positives among those of all processes; all (P,)."""
    if distributed.world_size == 1:
        return iou_hlr(ious, objects, labels)
    parts = distributed.all_gather((ious.cpu(), objects.cpu(), labels.cpu()))
    first = 0  # of the indices of a process's objects, so that no two processes' objects have one
    all_objects = []
    for _, own, _ in parts:
        all_objects.append(own + first)
        first += int(own.max()) + 1 if len(own) else 0
    ranks = iou_hlr(torch.cat([part[0] for part in parts]), torch.cat(all_objects), torch.cat([part[2] for part in parts]))
    return ranks.split([len(own) for own in all_objects])[distributed.rank].to(ious.device)


@torch.no_grad()
def isr_p_weights(
    ranks: torch.Tensor,
    terms: torch.Tensor,
    power: float = ISR_POWER,
    bias: float = ISR_BIAS,
    distributed: Distributed = SINGLE_PROCESS,
) -> torch.Tensor:
    """Importance-based sample reweighting of positives: weights by rank that leave the sum of loss `terms` as it is; all (P,).

    u = (n - rank) / n, where n counts the positives of the largest class; w = ((1 - bias) u + bias)^power, then scaled; n and
    the sum are over all processes.
    """
    n = max(1, *distributed.all_gather(int(ranks.max()) + 1 if len(ranks) else 0))
    weights = ((1 - bias) * (n - ranks) / n + bias) ** power
    sums = distributed.sum_with_gradient(torch.stack([terms.sum(), (weights * terms).sum()]))
    return weights * sums[0] / sums[1].clamp(min=EPS)


def carl(
    scores: torch.Tensor,
    terms: torch.Tensor,
    power: float = CARL_POWER,
    bias: float = CARL_BIAS,
    distributed: Distributed = SINGLE_PROCESS,
) -> torch.Tensor:
    """Classification-aware regression loss: the sum of box loss `terms`, weighted by the scores of the right class; both (P,).

    v = ((1 - bias) score + bias)^power, over its mean in all processes. The gradient reaches the scores: of a good box the
    score rises.
    """
    weights = ((1 - bias) * scores + bias) ** power
    totals = distributed.sum_with_gradient(torch.stack([weights.sum(), weights.new_tensor(float(len(weights)))]))
    return (weights * terms).sum() * totals[1] / totals[0].clamp(min=EPS)


def paired_iou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """IoU of each box with the other in its place: (P, 4), (P, 4) -> (P,); 0 where both are empty."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1)
    return common / (areas - common).clamp(min=EPS)
