"""The loop learns, resumes where it stopped, and stops at a loss that is not a number; training normalises as judgment does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion.models import normalise
from stage2_classifier import fit as fitting
from stage2_classifier import model as modelling
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.data import Region

CONFIG = ClassifierConfig(size=24, epochs=4, min_steps=0, batch=8, colour=0.05, blur=0.0, erase=0.0, ema=0.5)
ERROR = np.full(4, 0.02)


def regions(n: int = 32) -> list[Region]:
    """Red things are 0, blue things are 1."""
    box = np.array([4, 4, 28, 28], np.float32)
    pictures = [np.full((32, 32, 3), (200, 20, 20) if i % 2 == 0 else (20, 20, 200), np.uint8) for i in range(n)]
    return [Region(picture, box, i % 2) for i, picture in enumerate(pictures)]


def small() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, 2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(8, 2),
        )


def test_training_and_judgment_normalise_alike() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    ours = modelling.normalised(modelling.to_input(crops)).numpy()
    np.testing.assert_allclose(ours, normalise(crops, modelling.MEAN, modelling.STD), atol=1e-6)


def test_it_learns_two_colours_and_reports(tmp_path: Path) -> None:
    lines: list[str] = []
    config = replace(CONFIG, epochs=10, lr=0.02)
    net = fitting.fit(small(), regions(), ERROR, config, tmp_path / "last.pt", lines.append)
    crops = np.stack([r.image[4:28, 4:28] for r in regions()])
    with torch.no_grad():
        named = net(modelling.normalised(modelling.to_input(crops))).argmax(1)
    assert named.tolist() == [r.label for r in regions()]
    assert "epoch 10/10" in lines[-1]


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = fitting.fit(small(), regions(), ERROR, CONFIG, tmp_path / "a.pt", lambda _: None)

    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise Stop

    with pytest.raises(Stop):
        fitting.fit(small(), regions(), ERROR, CONFIG, tmp_path / "b.pt", stop)
    resumed = fitting.fit(small(), regions(), ERROR, CONFIG, tmp_path / "b.pt", lambda _: None, resume=True)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(a, b, atol=0.02)  # augmentation draws differ after the stop, steps and rates do not


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    fitting.fit(small(), regions(), ERROR, CONFIG, tmp_path / "a.pt", lambda _: None)
    with pytest.raises(ValueError, match="of another model or recipe"):
        fitting.fit(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2)),
            regions(),
            ERROR,
            CONFIG,
            tmp_path / "a.pt",
            lambda _: None,
            resume=True,
        )


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    net = small()
    with torch.no_grad():
        net[-1].weight[:] = float("nan")
    with pytest.raises(FloatingPointError, match="got nan, must be finite"):
        fitting.fit(net, regions(), ERROR, CONFIG, tmp_path / "last.pt", lambda _: None)


@pytest.mark.parametrize(
    ("name", "message"),
    [pytest.param("resnet10x", "must be one that timm knows", id="unknown model")],
)
def test_an_unknown_backbone_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modelling.build(replace(CONFIG, model=name), 3)


def test_weights_of_another_width_keep_the_backbone(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    config = replace(CONFIG, model="resnet10t")
    source = modelling.build(config, 5)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    loaded = modelling.build(config, 3, tmp_path / "w.safetensors")
    assert torch.equal(loaded.conv1[0].weight, source.conv1[0].weight)
    with pytest.raises(ValueError, match="must be a local weights file"):
        modelling.build(config, 3, tmp_path / "none.safetensors")
