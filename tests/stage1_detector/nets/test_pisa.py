"""PISA against loops written from the paper, and against torchvision's RetinaNet, whose sums the weights must leave alone."""

import pytest
import torch
from test_freeanchor import CODER, SCALED, Target, decoded, encoded, iou, random_batch, target
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import box_iou

from stage1_detector.nets import freeanchor, pisa


def slow_hlr(ious: list[float], objects: list[int], labels: list[int]) -> list[int]:
    """Rank among the object's own, then in each class by (that rank, IoU)."""
    everyone = range(len(ious))
    local = [sum(objects[j] == objects[i] and (ious[j], -j) > (ious[i], -i) for j in everyone) for i in everyone]
    key = [(-local[i], ious[i], -i) for i in everyone]
    return [sum(labels[j] == labels[i] and key[j] > key[i] for j in everyone) for i in everyone]


def slow_weights(ranks: list[int], labels: list[int], terms: list[float], power: float, bias: float) -> list[float]:
    n = max((labels.count(label) for label in labels), default=0)
    raw = [((1 - bias) * (n - rank) / n + bias) ** power for rank in ranks]
    return [w * sum(terms) / sum(v * term for v, term in zip(raw, terms, strict=True)) for w in raw]


def slow_carl(scores: list[float], terms: list[float], power: float, bias: float) -> float:
    raw = [((1 - bias) * score + bias) ** power for score in scores]
    return sum(v / (sum(raw) / len(raw)) * term for v, term in zip(raw, terms, strict=True))


def matched(boxes: torch.Tensor, anchors: torch.Tensor) -> list[int]:
    """0.5 and above is the nearest object's, below 0.4 background; and each object's own best anchors are objects'."""
    if not len(boxes):
        return [-1] * len(anchors)
    ious = box_iou(boxes, anchors)
    best, which = ious.max(0)
    own = [best[j] >= 0.5 or any(ious[i, j] == ious[i].max() for i in range(len(boxes))) for j in range(len(anchors))]
    return [int(which[j]) if own[j] else (-1 if best[j] < 0.4 else -2) for j in range(len(anchors))]


def slow(
    targets: list[Target], logits: torch.Tensor, deltas: torch.Tensor, anchors: list[torch.Tensor], coder: BoxCoder
) -> tuple[dict[str, float], torch.Tensor]:
    """The losses, and the gradient of classification by the logits, weights being constants to it."""
    logits = logits.detach().double().requires_grad_()
    weights, wanted = torch.zeros_like(logits), torch.zeros_like(logits)
    fits, owners, labels, offs, places = [], [], [], [], []
    for photo, one in enumerate(targets):
        for j, i in enumerate(matched(one["boxes"], anchors[photo])):
            weights[photo, j] = float(i == -1)
            if i >= 0:
                box, anchor, delta = one["boxes"][i].tolist(), anchors[photo][j].tolist(), deltas[photo, j].tolist()
                offs.append(sum(abs(d - w) for d, w in zip(delta, encoded(box, anchor, coder.weights), strict=True)))
                fits.append(iou(decoded(delta, anchor, coder.weights), box))
                labels.append(int(one["labels"][i]))
                owners, places = [*owners, 1000 * photo + i], [*places, (photo, j)]
                wanted[photo, j, labels[-1]] = 1
    p = logits.sigmoid()
    focal = -(0.25 * wanted * (1 - p) ** 2 * p.log() + 0.75 * (1 - wanted) * p**2 * (1 - p).log())
    terms = [focal[place].sum().item() for place in places]
    for place, weight in zip(places, slow_weights(slow_hlr(fits, owners, labels), labels, terms, 2, 0), strict=True):
        weights[place] = weight
    scores = [p[place][label].item() for place, label in zip(places, labels, strict=True)]
    n = max(1, len(places))
    (whole := (focal * weights).sum() / n).backward()
    values = {"classification": whole.item(), "box": sum(offs) / n, "carl": slow_carl(scores, offs, 1, 0.2) / n}
    return values, logits.grad.float()


@pytest.mark.parametrize("counts", [[0], [0, 0], [0, 2]], ids=["one", "all", "one of two"])
def test_a_photo_without_objects(counts: list[int]) -> None:
    targets, logits, deltas, anchors = random_batch(counts, 3, 0)
    logits.requires_grad_(), deltas.requires_grad_()
    out = pisa.losses(targets, logits, deltas, anchors, CODER)
    expected, _ = slow(targets, logits, deltas, anchors, CODER)
    assert {k: v.item() for k, v in out.items()} == pytest.approx(expected, rel=1e-4)
    sum(out.values()).backward()
    assert logits.grad.isfinite().all() and deltas.grad.isfinite().all()
    assert (logits.grad[0] > 0).all() and (deltas.grad[0] == 0).all()  # every score is to fall, no box to move


def test_pure_functions_of_no_positives() -> None:
    none, no = torch.zeros(0, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    assert pisa.iou_hlr(none, no, no).shape == pisa.isr_p_weights(no, none).shape == (0,)
    pisa.carl(none, none).backward()


def test_two_objects_by_hand() -> None:
    """Object 0 has IoU 0.9, 0.8; object 1 has 0.6, 0.7, 0.5. Local ranks 0, 1 and 1, 0, 2.

    Best of their objects: 0.9, 0.7; second: 0.8, 0.6; third: 0.5. So the ranks 0, 2, 3, 1, 4, u = 1, .6, .4, .8, .2,
    squares 1, .36, .16, .64, .04, whose sum is 2.2; losses of 1 sum to 5, so each is multiplied by 5 / 2.2.
    """
    ranks = pisa.iou_hlr(torch.tensor([0.9, 0.8, 0.6, 0.7, 0.5]), torch.tensor([0, 0, 1, 1, 1]), torch.tensor([3] * 5))
    assert ranks.tolist() == [0, 2, 3, 1, 4]
    weights = pisa.isr_p_weights(ranks, torch.ones(5))
    assert weights.tolist() == pytest.approx([5 / 2.2 * u for u in (1, 0.36, 0.16, 0.64, 0.04)])


def test_carl_by_hand_raises_the_score_of_the_box_that_fits() -> None:
    """Scores 1, 0: v = 1, 0.2, mean 0.6. Losses 3, 6: 3 / 0.6 + 6 x 0.2 / 0.6 = 5 + 2."""
    scores, terms = torch.tensor([1.0, 0.0], requires_grad=True), torch.tensor([3.0, 6.0], requires_grad=True)
    value = pisa.carl(scores, terms)
    value.backward()
    assert value.item() == pytest.approx(7)
    assert scores.grad[0] < 0 < scores.grad[1]
    assert terms.grad.tolist() == pytest.approx([1 / 0.6, 0.2 / 0.6])


def test_classes_are_ranked_apart() -> None:
    """The best of a small class is as important as the best of a large one; the second of three in the largest is at 2/3."""
    ranks = pisa.iou_hlr(torch.tensor([0.9, 0.8, 0.7, 0.5]), torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 4]))
    assert ranks.tolist() == [0, 1, 2, 0]
    weights = pisa.isr_p_weights(ranks, torch.ones(4), power=1)
    assert (weights / weights[0]).tolist() == pytest.approx([1, 2 / 3, 1 / 3, 1])


@pytest.mark.parametrize("n", [1, 7, 60])
def test_pure_functions_as_slow_loops(n: int) -> None:
    for seed in range(5):
        draw = torch.Generator().manual_seed(seed)
        objects = torch.randint(max(1, n // 4), (n,), generator=draw)
        labels, ious = objects % 3, (torch.rand(n, generator=draw) * 10).round() / 10  # some are equal
        scores, terms = torch.rand(n, generator=draw), torch.rand(n, generator=draw)
        ranks = pisa.iou_hlr(ious, objects, labels)
        assert ranks.tolist() == slow_hlr(ious.tolist(), objects.tolist(), labels.tolist())
        for power, bias in ((2, 0), (1, 0.2), (0.5, 0.7)):
            weights = slow_weights(ranks.tolist(), labels.tolist(), terms.tolist(), power, bias)
            assert pisa.isr_p_weights(ranks, terms, power, bias).tolist() == pytest.approx(weights, rel=1e-4)
            carl = slow_carl(scores.tolist(), terms.tolist(), power, bias)
            assert pisa.carl(scores, terms, power, bias).item() == pytest.approx(carl, rel=1e-4)


@pytest.mark.parametrize("coder", [CODER, SCALED], ids=["plain coder", "scaled coder"])
@pytest.mark.parametrize(
    ("counts", "classes", "last"), [([1], 1, 90), ([5], 3, 90), ([3, 0, 6], 2, 90), ([4, 3], 2, 4)],
    ids=["one", "classes", "several photos", "few anchors, far off"],
)  # fmt: skip
def test_losses_and_gradient_as_slow_loops(counts: list[int], classes: int, last: int, coder: BoxCoder) -> None:
    for seed in range(3):
        targets, logits, deltas, anchors = random_batch(counts, classes, seed)
        logits, deltas, anchors = logits[:, -last:].requires_grad_(), deltas[:, -last:], [own[-last:] for own in anchors]
        out = pisa.losses(targets, logits, deltas, anchors, coder)
        expected, gradient = slow(targets, logits, deltas, anchors, coder)
        assert {k: v.item() for k, v in out.items()} == pytest.approx(expected, rel=1e-4)
        out["classification"].backward()
        torch.testing.assert_close(logits.grad, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_sums_are_torchvisions(seed: int) -> None:
    targets, logits, deltas, anchors = random_batch([6], 4, seed)
    indices = [Matcher(0.5, 0.4, allow_low_quality_matches=True)(box_iou(targets[0]["boxes"], anchors[0]))]
    theirs = RetinaNetHead(8, 1, 4).compute_loss(targets, {"cls_logits": logits, "bbox_regression": deltas}, anchors, indices)
    ours = pisa.losses(targets, logits, deltas, anchors, CODER)
    for key, value in theirs.items():
        torch.testing.assert_close(ours[{"bbox_regression": "box"}.get(key, key)], value, rtol=1e-5, atol=0)


def test_the_ranks_are_of_predicted_boxes_not_of_anchors() -> None:
    """Two anchors equally near; the one whose box lands on the object has the larger gradient on its score."""
    anchors = torch.tensor([[0.0, 0, 10, 9], [0, 1, 10, 10]])
    deltas = torch.zeros(1, 2, 4)
    deltas[0, 1] = CODER.encode_single(torch.tensor([[0.0, 0, 10, 10]]), anchors[1:])[0]
    logits = torch.zeros(1, 2, 1, requires_grad=True)
    out = pisa.losses([target([[0, 0, 10, 10]], [0])], logits, deltas, [anchors], CODER)
    first, second = torch.autograd.grad(out["classification"], logits, retain_graph=True)[0].flatten().tolist()
    assert second / first == pytest.approx(4)  # u = 1, 1/2, squared
    first, second = torch.autograd.grad(out["carl"], logits)[0].flatten().tolist()
    assert second < 0 < first


def test_a_better_prediction_costs_less() -> None:
    targets, logits, deltas, anchors = random_batch([4], 2, 1)
    ours = pisa.losses(targets, logits, deltas, anchors, CODER)
    nearer, surer = deltas.clone(), logits.clone()
    nearer[0, :4] = CODER.encode_single(targets[0]["boxes"], anchors[0][:4])  # the anchors that are the objects
    surer[0, range(4), targets[0]["labels"]] += 2
    better = pisa.losses(targets, logits, nearer, anchors, CODER)
    assert better["box"] < ours["box"] and better["carl"] < ours["carl"]
    assert pisa.losses(targets, surer, deltas, anchors, CODER)["classification"] < ours["classification"]


@pytest.mark.parametrize("logit", [-80.0, 80.0])
def test_extreme_predictions_have_finite_losses_and_gradients(logit: float) -> None:
    targets, _, _, anchors = random_batch([3, 0], 2, 3)
    logits = torch.full((2, len(anchors[0]), 2), logit, requires_grad=True)
    deltas = torch.full((2, len(anchors[0]), 4), 50.0, requires_grad=True)
    out = pisa.losses(targets, logits, deltas, anchors, CODER)
    sum(out.values()).backward()
    assert all(value.isfinite() for value in out.values())
    assert logits.grad.isfinite().all() and deltas.grad.isfinite().all()


def test_half_precision_is_taken_as_if_single() -> None:
    targets, logits, deltas, anchors = (one.bfloat16() if torch.is_tensor(one) else one for one in random_batch([3, 2], 2, 4))
    for losses in (freeanchor.losses, pisa.losses):
        whole = losses(targets, logits.float(), deltas.float(), anchors, CODER)
        assert losses(targets, logits, deltas, anchors, CODER) == whole
