"""FreeAnchor (Zhang et al. 2019, arXiv:1909.02466): losses by which a RetinaNet learns which anchors are an object's.

No IoU threshold assigns anchors to objects. Each object has a bag of near anchors; the losses raise the probability that the
bag finds it (recall) and that an anchor whose box lies on no object is background (precision). Taken from mmdetection's
FreeAnchorRetinaHead: where SmoothL1 bends, BETA, and that an anchor is background for each class on its own, as class scores
are sigmoids.

That head has deltas in units of 0.1 and 0.2 (a coder of weights 10, 10, 5, 5); with torchvision's RetinaNet coder, weights 1,
a box counts as good from further away.
"""

import torch
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from runs.distributed import SINGLE_PROCESS, Distributed

BAG = 50  # taken: the paper's n, anchors in an object's bag
ALPHA = 0.5  # taken: the paper's, weight of the positive bags
GAMMA = 2.0  # taken: the paper's, power of the focal form
BETA = 0.75  # taken: mmdetection's config, weight of the box in an anchor's probability
THRESHOLD = 0.6  # taken: the paper's t1, IoU up to which a box lies on no object
BEND = 0.11  # taken: mmdetection's config, where SmoothL1 turns from square to straight
EPS = 1e-6  # chosen: float32 distinguishes 1 + EPS from 1


def losses(
    targets: list[dict[str, torch.Tensor]],
    logits: torch.Tensor,
    deltas: torch.Tensor,
    anchors: list[torch.Tensor],
    coder: BoxCoder,
    distributed: Distributed = SINGLE_PROCESS,
) -> dict[str, torch.Tensor]:
    """The two terms of the paper's loss of a batch, weighted: a / |B| sum -log Mean-max, (1 - a) / (n |B|) sum FL.

    Of each photo: `targets` "boxes" (N, 4) and "labels" int64 (N,) below C, `logits` (A, C), `deltas` (A, 4) as `coder`
    writes them, `anchors` (A, 4). |B| counts the objects of the batch (1 if there are none), n the anchors in a bag. The sums
    are over this process's photos, |B| counts those of all `distributed` processes.
    """
    logits, deltas = logits.float(), deltas.float()
    bag, own = min(BAG, logits.shape[1]), sum(len(target["boxes"]) for target in targets)
    objects = max(1, own) / distributed.share_of_mean(own)
    photos = list(zip(targets, logits, deltas, anchors, strict=True))
    positive = torch.stack([positive_bag_losses(*photo, coder, bag).sum() for photo in photos]).sum()
    negative = torch.stack([negative_bag_losses(*photo, coder).sum() for photo in photos]).sum()
    return {
        "positive": ALPHA / objects * positive,
        "negative": (1 - ALPHA) / (bag * objects) * negative,
    }


def positive_bag_losses(
    target: dict[str, torch.Tensor],
    logits: torch.Tensor,
    deltas: torch.Tensor,
    anchors: torch.Tensor,
    coder: BoxCoder,
    bag: int,
) -> torch.Tensor:
    """-log Mean-max over its bag for each object of a photo, (N,); the bag is the `bag` anchors of the highest IoU."""
    near = box_iou(target["boxes"], anchors).topk(bag, dim=1).indices  # (N, n)
    score = logits[near, target["labels"][:, None]]  # (N, n)
    boxes = target["boxes"][:, None].expand(-1, bag, 4).reshape(-1, 4)  # (N n, 4)
    wanted = coder.encode_single(boxes, anchors[near].reshape(-1, 4)).reshape(-1, bag, 4)  # (N, n, 4)
    off = functional.smooth_l1_loss(deltas[near], wanted, beta=BEND, reduction="none").sum(-1)  # (N, n)
    return -log_mean_max(functional.logsigmoid(score) - BETA * off)


def log_mean_max(logs: torch.Tensor) -> torch.Tensor:
    """log of the paper's Mean-max, sum x / (1 - x) over sum 1 / (1 - x), along the last axis of log x, (..., n) -> (...).

    Close to the mean while all x are small, as early in training, and to the maximum once one is near 1.

    >>> log_mean_max(torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.1, 1.0]]).log()).exp().round(decimals=3)
    tensor([0.1000, 1.0000])
    """
    weights = -torch.log(-torch.expm1(logs.clamp(max=-EPS)))  # (..., n): log of 1 / (1 - x)
    return torch.logsumexp(logs + weights, -1) - torch.logsumexp(weights, -1)


def negative_bag_losses(
    target: dict[str, torch.Tensor],
    logits: torch.Tensor,
    deltas: torch.Tensor,
    anchors: torch.Tensor,
    coder: BoxCoder,
) -> torch.Tensor:
    """FL(p) = -p^gamma log(1 - p) of a photo, (A, C), with p = score x (1 - the probability that the anchor has an object)."""
    has_object = object_probability(target, coder.decode_single(deltas.detach(), anchors), logits.shape[1])  # (A, C)
    p = logits.sigmoid() * (1 - has_object)
    cross_entropy = functional.softplus(logits) - functional.softplus(logits + has_object.log())  # -log(1 - p), no overflow
    return p**GAMMA * cross_entropy


@torch.no_grad()
def object_probability(target: dict[str, torch.Tensor], boxes: torch.Tensor, classes: int) -> torch.Tensor:
    """The probability that each of `boxes` (A, 4) lies on an object of each class, (A, C): the largest over the objects.

    The paper's saturated linear function of IoU: 0 up to THRESHOLD, 1 for the best box of the object, straight in between.
    """
    iou = box_iou(target["boxes"], boxes)  # (N, A)
    best = iou.amax(1, keepdim=True).clamp(min=THRESHOLD + EPS)  # (N, 1): the paper's t2
    probability = ((iou - THRESHOLD) / (best - THRESHOLD)).clamp(0, 1)  # (N, A)
    rows = target["labels"][:, None].expand_as(probability)
    return probability.new_zeros(classes, len(boxes)).scatter_reduce(0, rows, probability, "amax").T
