"""Conditional DETR's weights: saved and loaded whole, taken from files of several kinds, and wrong ones refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from conditional_nets import SMALL, built
from safetensors.torch import save_file
from tiny_nets import shaken
from torchvision_nets import photos_of

from runs.checkpoint import write
from stage1_detector.config import STARTER
from stage1_detector.nets import conditional_detr

pytestmark = pytest.mark.usefixtures("offline")


def test_a_saved_network_is_loaded_whole(tmp_path: Path) -> None:
    net = shaken(built(replace(SMALL, norm="group")))
    write(tmp_path / "w.pt", net.description | {"network": net.inference_network.state_dict()})
    again = conditional_detr.load(tmp_path / "w.pt")
    assert again.description == net.description
    with torch.no_grad():
        assert torch.equal(net(photos_of(2)), again(photos_of(2)))


@pytest.mark.parametrize("kind", ["ours", "other names", "transformers', old names of tensors"])
def test_weights_of_the_whole_network_are_taken(tmp_path: Path, kind: str) -> None:
    """transformers writes files with the names that its public weights have; 91 classes there stay behind."""
    giver = shaken(built())
    if kind.startswith("transformers"):
        giver.net.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
        assert "ca_qpos_sine_proj" in str(path.read_bytes()[:20_000])
    else:
        path = tmp_path / "w.pt"
        write(path, giver.description | {"network": giver.state_dict()})
    names = ["a", "b"] if kind == "ours" else ["product"]
    taker = conditional_detr.build(SMALL, (), names, path)
    mine, given = taker.net.state_dict(), giver.net.state_dict()
    differ = {name for name in given if mine[name].shape != given[name].shape or not torch.equal(mine[name], given[name])}
    assert differ == (set() if kind == "ours" else {f"{conditional_detr.HEAD}weight", f"{conditional_detr.HEAD}bias"})


@pytest.mark.parametrize("norm", ["batch", "frozen", "group"])
def test_weights_of_the_body_alone_are_taken(tmp_path: Path, norm: str) -> None:
    body = timm.create_model("test_resnet")
    torch.nn.init.constant_(body.conv1[0].weight, 0.25)
    save_file(body.state_dict(), tmp_path / "body.safetensors")
    net = conditional_detr.build(replace(SMALL, norm=norm), (), ["a"], tmp_path / "body.safetensors")
    assert any(torch.equal(value, body.conv1[0].weight) for value in net.feature_extractor.state_dict().values())
    assert torch.isfinite(net(photos_of(1))).all()


def wrong_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files that hold no weights of the network, and what is said of each."""
    (folder / "none.pt").write_bytes(b"no weights")
    yield folder / "none.pt", "must be a file of tensors"
    save_file({"conv1.0.weight": torch.zeros(3)}, folder / "shape.safetensors")
    yield folder / "shape.safetensors", "which does not fit test_resnet"
    other = built(replace(SMALL, width=32))
    write(folder / "wider.pt", other.description | {"network": other.state_dict()})
    yield folder / "wider.pt", "fills "
    yield STARTER, "fills 0 of the backbone's"


def test_wrong_weights_are_refused_with_one_line(tmp_path: Path) -> None:
    for path, message in wrong_files(tmp_path):
        with pytest.raises(ValueError, match=message) as caught:
            conditional_detr.refuse(SMALL, path, None)
        assert str(caught.value).startswith("--pretrained: got") and "\n" not in str(caught.value)


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="--resume: got"):
        conditional_detr.refuse(SMALL, None, tmp_path / "last.pt")
