"""FreeAnchor against loops over objects, anchors and classes written from the paper's equations in double precision."""

import math
from typing import Any

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder

from stage1_detector.nets import freeanchor

Target = dict[str, torch.Tensor]
CODER = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
SCALED = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))


def target(boxes: list[list[float]], labels: list[int]) -> Target:
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.tensor(labels, dtype=torch.int64)}


def random_boxes(draw: torch.Generator, n: int) -> torch.Tensor:
    """Boxes (n, 4) that all overlap, so that no two anchors of a bag tie at IoU 0."""
    corner = torch.rand(n, 2, generator=draw) * 20
    return torch.cat([corner, corner + 21 + torch.rand(n, 2, generator=draw) * 40], 1)


def random_batch(counts: list[int], classes: int, seed: int, size: int = 40) -> tuple[Any, ...]:
    """Photos with so many objects, logits, deltas, anchors; some anchors lie near objects, so that decoded boxes hit them."""
    draw = torch.Generator().manual_seed(seed)
    boxes = [random_boxes(draw, n) for n in counts]
    every = torch.cat([*boxes, *(one + 2 for one in boxes), random_boxes(draw, size)])
    targets = [{"boxes": one, "labels": torch.randint(classes, (len(one),), generator=draw)} for one in boxes]
    logits = torch.randn(len(counts), len(every), classes, generator=draw) * 2
    deltas = torch.randn(len(counts), len(every), 4, generator=draw) * 0.1
    return targets, logits, deltas, [every] * len(counts)


def iou(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return common / (areas - common)


def middle(box: list[float]) -> list[float]:
    """cx cy w h."""
    return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]]


def encoded(box: list[float], anchor: list[float], weights: tuple[float, ...]) -> list[float]:
    b, a = middle(box), middle(anchor)
    deltas = [(b[0] - a[0]) / a[2], (b[1] - a[1]) / a[3], math.log(b[2] / a[2]), math.log(b[3] / a[3])]
    return [d * w for d, w in zip(deltas, weights, strict=True)]


def decoded(deltas: list[float], anchor: list[float], weights: tuple[float, ...]) -> list[float]:
    a, d = middle(anchor), [d / w for d, w in zip(deltas, weights, strict=True)]
    cx, cy, w, h = a[0] + d[0] * a[2], a[1] + d[1] * a[3], a[2] * math.exp(d[2]), a[3] * math.exp(d[3])
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def smooth_l1(x: float, bend: float = 0.11) -> float:
    return x * x / (2 * bend) if abs(x) < bend else abs(x) - bend / 2


def slow(targets: list[Target], logits: Any, deltas: Any, anchors: Any, coder: BoxCoder, bag: int) -> dict[str, float]:
    """alpha 0.5, gamma 2, beta 0.75, t1 0.6."""
    positive = negative = 0.0
    objects = sum(len(one["labels"]) for one in targets)
    n = min(bag, logits.shape[1])
    for photo, one in enumerate(targets):
        boxes, labels = one["boxes"].tolist(), one["labels"].tolist()
        rows = range(logits.shape[1])
        own = anchors[photo].tolist()
        score = [[1 / (1 + math.exp(-z)) for z in row] for row in logits[photo].tolist()]
        found = [decoded(deltas[photo][j].tolist(), own[j], coder.weights) for j in rows]
        for box, label in zip(boxes, labels, strict=True):
            members = sorted(rows, key=lambda j: -iou(box, own[j]))[:n]
            chances = []
            for j in members:
                wanted = encoded(box, own[j], coder.weights)
                off = sum(smooth_l1(d - w) for d, w in zip(deltas[photo][j].tolist(), wanted, strict=True))
                chances.append(score[j][label] * math.exp(-0.75 * off))
            mean_max = sum(x / (1 - x) for x in chances) / sum(1 / (1 - x) for x in chances)
            positive -= math.log(mean_max)
        for j in rows:
            for label in range(logits.shape[2]):
                chance = 0.0
                for box, other in zip(boxes, labels, strict=True):
                    best = max(iou(box, f) for f in found)
                    here = iou(box, found[j])
                    if other == label and here > 0.6:
                        chance = max(chance, min(1.0, (here - 0.6) / (best - 0.6)))
                p = score[j][label] * (1 - chance)
                negative += p**2 * -math.log(1 - p)
    return {
        "positive": 0.5 * positive / max(1, objects),
        "negative": 0.5 * negative / (n * max(1, objects)),
    }


@pytest.mark.parametrize("counts", [[0], [0, 0], [0, 2]], ids=["one", "all", "one of two"])
def test_a_photo_without_objects(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeanchor, "BAG", 5)
    targets, logits, deltas, anchors = random_batch(counts, 3, 0)
    logits.requires_grad_(), deltas.requires_grad_()
    out = freeanchor.losses(targets, logits, deltas, anchors, CODER)
    assert {k: v.item() for k, v in out.items()} == pytest.approx(slow(targets, logits, deltas, anchors, CODER, 5), rel=1e-4)
    sum(out.values()).backward()
    assert logits.grad.isfinite().all() and deltas.grad.isfinite().all()
    assert (logits.grad[0] > 0).all() and (deltas.grad[0] == 0).all()  # every score is to fall, no box to move


def test_two_anchors_by_hand() -> None:
    """An object 10 x 10, an anchor on it and one twice as high, no deltas, all scores 0.5.

    The second box is off by (0, -0.25, 0, log 0.5): SmoothL1 0.195 + 0.6381 = 0.8331, chance exp(-0.75 x 0.8331) = 0.5353.
    x = 0.5, 0.2677; Mean-max = (1 + 0.3655) / (2 + 1.3655) = 0.4057; half of -log is 0.4510.
    IoU 1 and 0.5: the first is no background, the second is. FL(0.5) = 0.25 x 0.6931 = 0.1733; x 0.5 / (n = 2) is 0.0433.
    """
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 20]])
    out = freeanchor.losses([target([[0, 0, 10, 10]], [0])], torch.zeros(1, 2, 1), torch.zeros(1, 2, 4), [anchors], CODER)
    assert out["positive"].item() == pytest.approx(0.4510, abs=1e-4)
    assert out["negative"].item() == pytest.approx(0.0433, abs=1e-4)


@pytest.mark.parametrize("coder", [CODER, SCALED], ids=["plain coder", "scaled coder"])
@pytest.mark.parametrize(
    ("counts", "classes", "bag"), [([1], 1, 50), ([4], 1, 6), ([3, 0, 5], 4, 7), ([6, 2], 2, 500)],
    ids=["one object", "one class", "several photos", "bag of all"],
)  # fmt: skip
def test_as_the_papers_equations(
    counts: list[int], classes: int, bag: int, coder: BoxCoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeanchor, "BAG", bag)
    for seed in range(3):
        batch = random_batch(counts, classes, seed)
        out = freeanchor.losses(*batch, coder)
        assert {k: v.item() for k, v in out.items()} == pytest.approx(slow(*batch, coder, bag), rel=2e-4)


def test_a_bag_has_50_anchors() -> None:
    batch = random_batch([8, 8], 1, 0)  # 72 anchors
    out = freeanchor.losses(*batch, CODER)
    assert {k: v.item() for k, v in out.items()} == pytest.approx(slow(*batch, CODER, 50), rel=2e-4)


def test_mean_max_is_a_mean_of_small_chances_and_a_maximum_of_sure_ones() -> None:
    small = torch.tensor([[1e-9, 3e-9]], dtype=torch.float64).log()
    assert freeanchor.log_mean_max(small).exp().item() == pytest.approx(2e-9)
    assert freeanchor.log_mean_max(torch.tensor([[-800.0, 0.0]])).item() == pytest.approx(0, abs=1e-4)


def test_the_chance_of_an_object_is_of_its_class_only_and_the_most_over_objects() -> None:
    """IoU with the first object 1, 0.8, 0.6, 0.5, so the chance is 1, 0.5, 0, 0. With one of height 4, 0.4, 0.5, 2/3, 0.8:
    its best box counts as sure all the same, and the third has (2/3 - 0.6) / (0.8 - 0.6) = 1/3.
    """
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6], [0, 0, 10, 5]])
    whole, low = [0.0, 0, 10, 10], [0.0, 0, 10, 4]
    apart = freeanchor.object_probability(target([whole, low], [2, 0]), boxes, 3)
    assert apart.T.flatten().tolist() == pytest.approx([0, 0, 1 / 3, 1, 0, 0, 0, 0, 1, 0.5, 0, 0], abs=1e-5)
    together = freeanchor.object_probability(target([whole, low], [1, 1]), boxes, 3)
    assert together[:, 1].tolist() == pytest.approx([1, 0.5, 1 / 3, 1], abs=1e-5)


def test_a_better_prediction_costs_less() -> None:
    targets, logits, deltas, anchors = random_batch([3], 2, 1)
    box, label = targets[0]["boxes"][0], targets[0]["labels"][0]
    ours = freeanchor.losses(targets, logits, deltas, anchors, CODER)
    surer, nearer = logits.clone(), deltas.clone()
    surer[0, 0, label] = logits.max() + 1  # the anchor that is the object
    nearer[0, 0] = CODER.encode_single(box[None], anchors[0][:1])[0]
    sure = freeanchor.losses(targets, surer, deltas, anchors, CODER)
    assert sure["positive"] < ours["positive"]
    assert freeanchor.losses(targets, surer, nearer, anchors, CODER)["positive"] < sure["positive"]
    assert freeanchor.losses(targets, logits - 1, deltas, anchors, CODER)["negative"] < ours["negative"]


def test_a_step_down_the_gradient_costs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeanchor, "BAG", 5)
    targets, logits, deltas, anchors = random_batch([3, 2], 2, 2)
    before = []
    for _ in range(5):
        logits, deltas = logits.detach().requires_grad_(), deltas.detach().requires_grad_()
        total = sum(freeanchor.losses(targets, logits, deltas, anchors, CODER).values())
        total.backward()
        before.append(total.item())
        logits, deltas = logits - 0.1 * logits.grad, deltas - 0.01 * deltas.grad
    assert before == sorted(before, reverse=True)


@pytest.mark.parametrize("logit", [-200.0, -30.0, 30.0, 200.0])
def test_extreme_predictions_have_finite_losses_and_gradients_that_help(logit: float) -> None:
    targets, _, _, anchors = random_batch([3, 0], 2, 3)
    logits = torch.full((2, len(anchors[0]), 2), logit, requires_grad=True)
    deltas = torch.full((2, len(anchors[0]), 4), 5.0, requires_grad=True)
    out = freeanchor.losses(targets, logits, deltas, anchors, SCALED)
    sum(out.values()).backward()
    assert all(value.isfinite() for value in out.values())
    assert logits.grad.isfinite().all() and deltas.grad.isfinite().all()
    assert deltas.grad[0].abs().max() > 0  # boxes far off are still drawn near
    assert (logits.grad[0].min() < 0) if logit < 0 else (logits.grad[1].min() > 0)
