"""Faster R-CNN: the same losses and the same boxes as torchvision's own, for any batch; the parts that make v1, v2, ResFPN."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn, fasterrcnn_resnet50_fpn_v2
from torchvision_nets import SMALL, built, decided, photos_of

from stage1_detector.config import TorchvisionConfig
from stage1_detector.nets import backbones, torchvision_net
from stage1_detector.nets.rcnn import Net
from stage1_detector.nets.resfpn import Residual, ResidualPyramid


def theirs(net: Net, **options: float) -> FasterRCNN:
    """torchvision's detector of the very same parts, showing photos as they are."""
    shown = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "min_size": 96, "max_size": 128, "_skip_resize": True}
    whole = FasterRCNN(net.backbone, net.n_classes + 1, **shown)
    whole.rpn, whole.roi_heads = net.rpn, net.roi_heads
    for name, value in options.items():
        setattr(whole.roi_heads, name, value)
    return whole


def targets(counts: tuple[int, ...], n_classes: int) -> list[dict[str, torch.Tensor]]:
    rng = np.random.default_rng(1)
    corners = [np.sort(rng.uniform(0, 120, (n, 2, 2)), 1).reshape(n, 4) + np.array([0, 0, 8, 8]) for n in counts]
    return [
        {"boxes": torch.tensor(c, dtype=torch.float32), "labels": torch.from_numpy(rng.integers(0, n_classes, len(c)))}
        for c in corners
    ]


@pytest.mark.parametrize("counts", [(0, 0), (3, 0), (1, 9)], ids=["nothing there", "one empty", "few and many"])
def test_the_losses_are_torchvisions(counts: tuple[int, ...]) -> None:
    net = built(SMALL, ["a", "b"]).net.train()
    images, told, whole = photos_of(2), targets(counts, 2), theirs(net)
    torch.manual_seed(5)
    ours = net.losses(images, told)
    torch.manual_seed(5)
    named = [{"boxes": t["boxes"], "labels": t["labels"] + 1} for t in told]
    other = whole(list(images), named)
    assert set(ours) == {"classification", "box", "anchor"}
    assert ours["classification"].item() == pytest.approx(other["loss_classifier"].item(), rel=1e-5)
    assert ours["box"].item() == pytest.approx(other["loss_box_reg"].item(), rel=1e-5)
    assert ours["anchor"].item() == pytest.approx(other["loss_objectness"].item() + other["loss_rpn_box_reg"].item(), rel=1e-5)
    sum(ours.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@torch.no_grad()
@pytest.mark.parametrize("n_photos", [1, 3])
@pytest.mark.parametrize("head", ["v1", "v2"])
def test_the_boxes_are_torchvisions_before_its_nms(n_photos: int, head: str) -> None:
    """One name, so that a box has one score in both; theirs is asked for every box, unsuppressed."""
    net = decided(built(replace(SMALL, head=head), ["product"])).net
    images = photos_of(n_photos)
    raw = net(images)
    assert raw.shape == (n_photos, 5, SMALL.proposals)
    whole = theirs(net, score_thresh=0.0, nms_thresh=1.0, detections_per_img=10_000).eval()
    for ours, other in zip(raw, whole(list(images)), strict=True):
        ours = ours[:, ours[4] > 0]
        assert ours.shape[1] == len(other["boxes"]) > 50
        order = ours[4].argsort(descending=True, stable=True)
        assert torch.allclose(ours[4][order], other["scores"], atol=1e-5)
        near = torch.cdist(ours[:4].T, other["boxes"], compute_mode="donot_use_mm_for_euclid_dist").min(1).values
        assert float(near.max()) < 0.01


@torch.no_grad()
def test_of_several_names_the_box_is_the_best_ones() -> None:
    net = decided(built(SMALL, ["a", "b", "c"])).net
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([0.0, 1.0, 5.0, 2.0]))
    images = photos_of(1)
    raw = net(images)[0]
    whole = theirs(net, score_thresh=0.0, nms_thresh=1.0, detections_per_img=10_000).eval()
    (other,) = whole(list(images))
    second = other["boxes"][other["labels"] == 2]
    assert (raw[4:].argmax(0) == 1).all()
    assert float(torch.cdist(raw[:4].T, second, compute_mode="donot_use_mm_for_euclid_dist").min(1).values.max()) < 0.01


@torch.no_grad()
def test_a_photo_alone_and_in_a_batch_is_found_the_same() -> None:
    net = built(SMALL, ["a", "b"]).net.eval()
    images = photos_of(3)
    together, alone = net(images), net(images[1:2])
    best = alone[0, 4:].amax(0) > 0
    assert torch.allclose(together[1, :, best], alone[0, :, best], atol=1e-3)


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        pytest.param(TorchvisionConfig(norm="frozen"), fasterrcnn_resnet50_fpn, id="v1"),
        pytest.param(TorchvisionConfig(head="v2"), fasterrcnn_resnet50_fpn_v2, id="v2"),
    ],
)
def test_with_resnet50_every_tensor_is_named_and_shaped_as_torchvisions(config: TorchvisionConfig, reference: object) -> None:
    """So that a local weights file of theirs fits."""
    with torch.device("meta"):
        other = reference(weights=None, weights_backbone=None, num_classes=11)  # type: ignore[operator]
        net = torchvision_net.build(config, (), [str(i) for i in range(10)]).net
    ours = {name: value.shape for name, value in net.state_dict().items() if "num_batches" not in name}
    known = {name: value.shape for name, value in other.state_dict().items() if "num_batches" not in name}
    assert ours == known


def test_the_residual_pyramid_begins_as_the_plain_one_and_learns() -> None:
    plain, residual = (built(replace(SMALL, neck=neck), ["a"]).backbone for neck in ("fpn", "resfpn"))
    assert isinstance(residual.fpn, ResidualPyramid) and len(residual.fpn.blocks) == len(plain.strides) == 5
    images = photos_of(1)
    residual.fpn.neck.load_state_dict(plain.fpn.state_dict())
    residual.body.load_state_dict(plain.body.state_dict())
    before, after = plain.eval()(images), residual.eval()(images)
    assert all(torch.equal(before[name], after[name]) for name in before)
    block = Residual(4, backbones.group_norm)
    block(torch.randn(1, 4, 5, 5)).sum().backward()
    assert block.second[1].weight.grad.abs().sum() > 0


def test_a_residual_block_is_the_sum_of_its_input_and_two_convolutions() -> None:
    block = Residual(2, torch.nn.BatchNorm2d).eval()
    torch.nn.init.ones_(block.second[1].weight)
    x = torch.randn(1, 2, 4, 4)
    hidden = torch.relu(torch.nn.functional.conv2d(x, block.first[0].weight, padding=1) / np.sqrt(1 + 1e-5))
    by_hand = x + torch.nn.functional.conv2d(hidden, block.second[0].weight, padding=1) / np.sqrt(1 + 1e-5)
    assert torch.allclose(block(x), by_hand, atol=1e-5)
