"""The starter embedding: drawn packs alone, a file within its limit, resumable, and of use on shops it never saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from runs.pretrained import pretrained_file
from stage2_classifier import config, model, starter
from stage2_classifier.config import ClassifierConfig, Columns


@pytest.mark.slow
def test_packs_are_products_on_white_with_their_outline() -> None:
    regions = starter.packs(0, 0, first=100)
    assert {region.label for region in regions} == set(range(100, 100 + starter.PRODUCTS))
    for region in regions[:40]:
        x0, y0, x1, y1 = region.box.astype(int)
        assert max(x1 - x0, y1 - y0) == round(starter.DETAIL * starter.CONFIG.size)
        assert region.mask.shape == region.image.shape[:2]
        assert (region.image[region.mask == 0] == 255).all()
        assert region.mask[y0:y1, x0:x1].mean() > 100


def test_no_world_is_like_another() -> None:
    first, second = ({(p.name, p.family) for p in starter.products(number, 0)} for number in (0, starter.UNSEEN))
    assert not first & second
    assert starter.products(0, 0) == starter.products(0, 0) != starter.products(0, 1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param("--out a.pt", "must be a .safetensors file in a folder that is there", id="suffix"),
        pytest.param("--out none/a.safetensors", "must be a .safetensors file in a folder that is there", id="folder"),
        pytest.param("--out a.safetensors --worlds 0", "--worlds: got 0, allowed 1 to", id="no worlds"),
        pytest.param("--out a.safetensors --minutes nan", "--minutes: got nan, need a finite number", id="minutes"),
    ],
)
def test_a_wrong_flag(
    flags: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert starter.main(flags.split()) == 2
    assert message in capsys.readouterr().err


def test_a_trunk_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "MOST", 1000)
    with pytest.raises(ValueError, match="bytes, allowed 1000; choose a smaller model"):
        starter.write(torch.nn.Linear(100, 100), tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.slow
def test_it_trains_is_reused_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starter, "PRODUCTS", 24)
    monkeypatch.setattr(starter, "FAMILIES", 6)
    monkeypatch.setattr(starter, "CONFIG", replace(starter.CONFIG, size=32, batch=16))
    words = ["--out", str(tmp_path / "s.safetensors"), "--minutes", "0.01", "--worlds", "1"]
    assert starter.main(words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "s.safetensors"]
    assert (tmp_path / "s.safetensors").stat().st_size <= starter.MOST
    loaded = model.build(ClassifierConfig(size=32), Columns(3), tmp_path / "s.safetensors").trunk.state_dict()
    for name, value in load_file(tmp_path / "s.safetensors").items():
        assert torch.equal(loaded[name].half(), value)
    assert starter.main(words) == 0
    assert "reuses" in capsys.readouterr().out
    assert starter.main([*words, "--seed", "3"]) == 2
    assert "was made with other settings; pass --force" in capsys.readouterr().err


shipped = pytest.mark.skipif(not config.STARTER.is_file(), reason="starter.safetensors has not been made in this checkout")


@shipped
def test_the_shipped_file_is_small_and_of_the_small_recipes_backbone() -> None:
    assert config.STARTER.stat().st_size <= 10_000_000
    assert pretrained_file(Path("starter"), config.STARTER) == config.STARTER
    trunk = model.build(ClassifierConfig(), Columns(2)).trunk.state_dict()
    shapes = {name: value.shape for name, value in trunk.items() if value.is_floating_point()}
    assert {name: value.shape for name, value in load_file(config.STARTER).items()} == shapes


@shipped
@pytest.mark.slow
def test_the_shipped_file_knows_products_of_shops_it_never_saw() -> None:
    trained, blank = (starter.unseen_recall(weights, 7, worlds=1) for weights in (config.STARTER, None))
    assert trained > blank + 0.1
    assert np.isfinite(trained)
