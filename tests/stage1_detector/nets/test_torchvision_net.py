"""A torchvision detector as a whole: saved and loaded, exported to ONNX as it is, begun from weights, refused with a reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_photos import photo
from torchvision_nets import SMALL, built, decided, noise, photos_of

from fusion.decode import run_detector
from fusion.models import Model
from runs.checkpoint import write
from stage1_detector import families
from stage1_detector.config import STARTER, TorchvisionConfig
from stage1_detector.export import export_detector
from stage1_detector.nets import anchors, backbones, torchvision_net
from stage1_detector.sidecar import sidecar
from stage1_detector.validation import member

ALL = [
    pytest.param(replace(SMALL, head="v1"), id="rcnn v1"),
    pytest.param(replace(SMALL, head="v2", norm="group"), id="rcnn v2, group norm"),
    pytest.param(replace(SMALL, head="v2", neck="resfpn"), id="rcnn resfpn"),
    pytest.param(replace(SMALL, neck="fpg"), id="rcnn fpg"),
    pytest.param(replace(SMALL, family="retinanet", head="plain"), id="retinanet"),
    pytest.param(replace(SMALL, family="retinanet", head="freeanchor", neck="fpg"), id="retinanet fpg"),
]


@pytest.mark.parametrize(
    ("config", "names"),
    [
        pytest.param(
            case.values[0], names, id=f"{case.id}-{kind}",
            marks=[] if (case.id, kind) in (("rcnn v1", "class-aware"), ("retinanet", "class-agnostic")) else pytest.mark.slow,
        )
        for kind, names in (("class-aware", ["a", "b", "c"]), ("class-agnostic", ["product"]))
        for case in ALL
    ],
)  # fmt: skip
def test_onnx_does_what_torch_does_and_run_py_reads_it(tmp_path: Path, config: TorchvisionConfig, names: list[str]) -> None:
    """Tight rectangle and square, one photo and eight, a photo that is higher than wide."""
    net = decided(built(config, names))
    shown = (noise(photo(tmp_path, 1, [[4, 4, 60, 40]])), noise(photo(tmp_path, 2, [])))
    side = sidecar(config, None if len(names) == 1 else [7, 8, 9], {"train": shown, "valid": shown})
    parity = export_detector(net, tmp_path / "m.onnx", side, shown)
    assert 0 <= parity["boxes_px"] < 0.1 and 0 <= parity["scores"] < 1e-4
    model = Model(tmp_path / "m.onnx")
    image = np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8)
    found, _ = run_detector(model, member(model), image), None
    assert model.sidecar.family == config.family and len(found[0]) > 10
    assert (found[0].evidence is None) == (len(names) == 1)
    torch_found = run_detector(families.Network(net, config, model.sidecar), member(model), image)
    assert np.allclose(found[0].boxes[:5], torch_found[0].boxes[:5], atol=0.1)


def test_a_saved_network_is_loaded_whole(tmp_path: Path) -> None:
    config = replace(SMALL, anchors="fitted", head="v2", norm="group")
    shown = (photo(tmp_path, 1, [[4, 4, 60, 40], [0, 0, 9, 30]]),)
    net = torchvision_net.build(config, shown, ["a", "b"]).eval()
    write(tmp_path / "w.pt", net.description | {"network": net.state_dict()})
    again = torchvision_net.load(tmp_path / "w.pt")
    assert again.description == net.description
    with torch.no_grad():
        assert torch.equal(net(photos_of(2)), again(photos_of(2)))


@pytest.mark.parametrize("kind", ["ours", "state dict", "safetensors", "other names"])
def test_weights_of_the_whole_network_are_taken(tmp_path: Path, kind: str) -> None:
    giver = built(SMALL, ["a", "b"])
    with torch.no_grad():
        for value in giver.parameters():
            value.add_(0.5)
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    state = giver.net.state_dict()
    if kind == "safetensors":
        save_file({k: v.contiguous() for k, v in state.items()}, path)
    else:
        torch.save(giver.description | {"network": giver.state_dict()} if kind == "ours" else state, path)
    names = ["a", "b", "c"] if kind == "other names" else ["a", "b"]
    taker = torchvision_net.build(SMALL, (), names, path)
    mine = taker.net.state_dict()
    same = [name for name in state if mine[name].shape == state[name].shape and torch.equal(mine[name], state[name])]
    differ = set(state) - set(same)
    assert all("box_predictor" in name for name in differ) and bool(differ) == (kind == "other names")


@pytest.mark.parametrize(("family", "head"), [("rcnn", "v1"), ("retinanet", "plain")])
@pytest.mark.parametrize(
    ("sides", "size"), [((20, 40), 128), ((40, 20), 256)], ids=["other sizes", "other ratios, a larger canvas"]
)
def test_heads_of_our_own_keep_the_anchors_they_were_trained_for(
    tmp_path: Path, family: str, head: str, sides: tuple[int, int], size: int
) -> None:
    """Boxes of other photos would fit other anchors, which the heads that are taken have never seen."""
    config = replace(SMALL, family=family, head=head, anchors="fitted", anchor_size=0.0)
    giver = torchvision_net.build(config, (photo(tmp_path, 1, [[4, 4, 44, 84], [0, 0, 40, 60]]),), ["a"])
    write(tmp_path / "w.pt", giver.description | {"network": giver.state_dict()})
    shown = (photo(tmp_path, 2, [[0, 0, *sides], [0, 0, sides[0] + 2, sides[1] + 9]]),)
    taker = torchvision_net.build(replace(config, size=size), shown, ["a"], tmp_path / "w.pt")
    begun, mine = giver.description["anchors"], taker.description["anchors"]
    assert mine["ratios"] == begun["ratios"]
    np.testing.assert_allclose(mine["sizes"], np.array(begun["sizes"]) * size / 128)
    assert not taker.fresh_heads
    assert all(torch.equal(value, taker.state_dict()[name]) for name, value in giver.state_dict().items())


def test_heads_that_stay_random_are_known(tmp_path: Path) -> None:
    giver = built(SMALL, ["a", "b"])
    write(tmp_path / "w.pt", giver.description | {"network": giver.state_dict()})
    taker = torchvision_net.build(SMALL, (), ["a", "b", "c"], tmp_path / "w.pt")
    parts = [f"roi_heads.box_predictor.{part}" for part in ("cls_score", "bbox_pred")]
    assert taker.fresh_heads == tuple(f"{part}.{name}" for part in parts for name in ("weight", "bias"))


def test_anchors_never_lie_further_apart_than_they_are_large(tmp_path: Path) -> None:
    told = {
        "anchors": {"sizes": [[8.0], [16.0]], "ratios": [1.0]},
        "config": {"family": "rcnn", "size": 256, "anchors": "fitted"},
    }
    shrunk = anchors.trained_with(told, replace(SMALL, size=128, anchors="fitted"), (8, 8))
    assert shrunk == anchors.Anchors(((8.0,), (8.0,)), (1.0,))


def test_weights_of_the_body_alone_are_taken(tmp_path: Path) -> None:
    import timm

    body = timm.create_model("test_resnet")
    torch.nn.init.constant_(body.conv1[0].weight, 0.25)
    save_file(body.state_dict(), tmp_path / "body.safetensors")
    net = torchvision_net.build(SMALL, (), ["a"], tmp_path / "body.safetensors")
    assert any(torch.equal(value, body.conv1[0].weight) for value in net.backbone.body.state_dict().values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"backbone": "resnet51"}, "--backbone: got 'resnet51'", id="no such network"),
        pytest.param({"backbone": "vit_tiny_patch16_224"}, "--backbone: got 'vit_tiny_patch16_224'", id="one scale only"),
        pytest.param({"backbone": "swin_tiny_patch4_window7_224"}, "--backbone: got .swin_tiny", id="one size"),
        pytest.param({"backbone": "hf_hub:foo/bar"}, "nothing is downloaded", id="a download"),
        pytest.param({"backbone": "densenet121", "drop_path": 0.1}, "--drop-path: got 0.1, which", id="no drop path"),
        pytest.param({"norm": "frozen"}, "--norm: got frozen, which needs --pretrained", id="nothing to hold still"),
        pytest.param({"device": "warp"}, "--device: got 'warp'", id="no such device"),
        pytest.param({"device": "0,1"}, "--device: got '0,1', must be one; several GPUs", id="two devices"),
    ],
)
def test_what_training_cannot_begin_with_is_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torchvision_net.refuse(replace(SMALL, **changed), None, None)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(ValueError, match="--pretrained: got"):
        torchvision_net.refuse(SMALL, tmp_path / name, None)
    with pytest.raises(ValueError, match="--resume: got"):
        torchvision_net.refuse(SMALL, None, tmp_path / name)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"conv1.0.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="does not fit test_resnet"):
        torchvision_net.refuse(SMALL, tmp_path / "w.safetensors", None)
    other = built(replace(SMALL, backbone="test_resnet", width=24), ["a"]).net.state_dict()
    torch.save({f"elsewhere.{name}": value for name, value in other.items()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"fills \d+ of the backbone's"):
        torchvision_net.refuse(SMALL, tmp_path / "w.pt", None)
    with pytest.raises(ValueError, match=r"fills 0 of the backbone's"):
        torchvision_net.refuse(SMALL, STARTER, None)


@pytest.mark.parametrize(("giver", "taker"), [("fpn", "resfpn"), ("resfpn", "fpn")])
def test_a_residual_pyramid_begins_from_a_plain_one_and_back(tmp_path: Path, giver: str, taker: str) -> None:
    """System C's road: v2, then v2 + ResFPN from its weights."""
    net = built(replace(SMALL, head="v2", neck=giver), ["a"])
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.5)
    write(tmp_path / "w.pt", net.description | {"network": net.state_dict()})
    other = torchvision_net.build(replace(SMALL, head="v2", neck=taker), (), ["a"], tmp_path / "w.pt").net.state_dict()
    own = {torchvision_net.plain_name(name): value for name, value in net.net.state_dict().items()}
    shared = [name for name in other if torchvision_net.plain_name(name) in own]
    assert all(torch.equal(other[name], own[torchvision_net.plain_name(name)]) for name in shared)
    assert sum("fpn" in name for name in shared) > 10 and all("blocks" in name for name in set(other) - set(shared))


def test_frozen_batch_norm_does_not_move_and_group_norm_has_none() -> None:
    frozen, grouped = (built(replace(SMALL, norm=norm), ["a"]).train() for norm in ("frozen", "group"))
    before = {name: value.clone() for name, value in frozen.backbone.body.named_buffers()}
    frozen.losses(photos_of(2), [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}] * 2)
    assert before and all(torch.equal(value, before[name]) for name, value in frozen.backbone.body.named_buffers())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in grouped.modules())
    assert any(isinstance(part, torch.nn.GroupNorm) for part in grouped.backbone.body.modules())


def test_group_norm_keeps_what_follows_a_batch_norm() -> None:
    """timm's batch norms may carry the activation; without it the network would be another."""
    import timm

    net = timm.create_model("regnetx_002", features_only=True)
    activations = [part for part in net.modules() if isinstance(part, torch.nn.ReLU)]
    backbones.replace_batch_norm(net)
    assert len([part for part in net.modules() if isinstance(part, torch.nn.ReLU)]) == len(activations) > 0
    assert net(torch.rand(1, 3, 64, 64))[0].min() >= 0
