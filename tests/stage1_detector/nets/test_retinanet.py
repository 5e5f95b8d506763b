"""RetinaNet: the same losses and the same boxes as torchvision's own; each head learns by its own losses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_rcnn import targets
from torchvision.models.detection import RetinaNet
from torchvision_nets import SMALL, built, decided, photos_of

from stage1_detector.nets.retinanet import Net

ONE = replace(SMALL, family="retinanet", head="plain")


def theirs(net: Net, **options: float) -> RetinaNet:
    """torchvision's detector of the very same parts, showing photos as they are."""
    return RetinaNet(
        net.backbone, net.n_classes, anchor_generator=net.anchor_generator, head=net.head,
        image_mean=[0.0] * 3, image_std=[1.0] * 3, min_size=96, max_size=128, _skip_resize=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize("counts", [(0, 0), (3, 0), (1, 9)], ids=["nothing there", "one empty", "few and many"])
def test_the_plain_losses_are_torchvisions(counts: tuple[int, ...]) -> None:
    net = built(ONE, ["a", "b"]).net.train()
    images, told = photos_of(2), targets(counts, 2)
    ours = net.losses(images, told)
    other = theirs(net)(list(images), told)
    assert ours["classification"].item() == pytest.approx(other["classification"].item(), rel=1e-5)
    assert ours["box"].item() == pytest.approx(other["bbox_regression"].item(), rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("n_photos", [1, 3])
def test_the_boxes_are_torchvisions_before_its_nms(n_photos: int) -> None:
    net = decided(built(ONE, ["product"])).net
    images = photos_of(n_photos)
    raw = net(images)
    whole = theirs(net, score_thresh=0.0, nms_thresh=1.0, detections_per_img=100_000, topk_candidates=ONE.proposals).eval()
    for ours, other in zip(raw, whole(list(images)), strict=True):
        assert ours.shape[1] == len(other["boxes"]) > 200
        order = ours[4].argsort(descending=True, stable=True)
        assert torch.allclose(ours[4][order], other["scores"], atol=1e-6)
        assert torch.allclose(ours[:4].T[order], other["boxes"], atol=1e-2)


@pytest.mark.parametrize("head", ["plain", "freeanchor", "pisa"])
@pytest.mark.parametrize("neck", ["fpn", "fpg", "resfpn"])
def test_every_head_and_neck_learns_what_it_is_shown(head: str, neck: str) -> None:
    """A few steps on one photo make every loss of the network, as a whole, fall."""
    net = built(replace(ONE, head=head, neck=neck, norm="group"), ["a", "b"]).net.train()
    images, told = photos_of(1), targets((3,), 2)
    step = torch.optim.AdamW(net.parameters(), 2e-3)
    seen = []
    for _ in range(12):
        losses = net.losses(images, told)
        seen.append(float(sum(losses.values()).detach()))
        step.zero_grad()
        sum(losses.values()).backward()
        step.step()
    assert np.isfinite(seen).all() and min(seen[-3:]) < 0.8 * seen[0]


def test_the_heads_differ_in_their_losses_alone() -> None:
    nets = [built(replace(ONE, head=head), ["a", "b"]).net for head in ("plain", "freeanchor", "pisa")]
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in nets]
    assert shapes[0] == shapes[1] == shapes[2]
    told = [set(net.train().losses(photos_of(1), targets((3,), 2))) for net in nets]
    assert told[0] == {"classification", "box"} and "carl" in told[2] and told[1] not in (told[0], told[2])
