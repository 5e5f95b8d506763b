"""Sidecars are read strictly, and normalisation is the one that training used."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from fusion.models import Model, mean, normalise, read_sidecar

GOOD = {"task": "detector", "family": "yolo", "categories": None, "size": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}


def test_normalise_equals_torchvision() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    canvases = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    steps = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    expected = steps(torch.from_numpy(canvases).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(normalise(canvases, mean, std), expected, atol=1e-6)


def test_normalise_of_no_canvases_is_empty() -> None:
    assert normalise(np.zeros((0, 4, 6, 3), np.uint8), [0] * 3, [1] * 3).shape == (0, 3, 4, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"sise": 64}, "unknown field 'sise', known: task, family", id="unknown field"),
        pytest.param({"family": None}, "field 'family' is missing", id="missing field"),
        pytest.param({"categories": 5}, "categories: got 5, need a list", id="a number for categories"),
        pytest.param({"categories": True}, "categories: got True, need a list", id="true for categories"),
        pytest.param({"prototype_weights": 5}, "prototype_weights: got 5, need a list", id="a number for weights"),
        pytest.param(
            {"categories": [7], "prototype_weights": [1.0], "prototype_temperature": "0.1"},
            "prototype_temperature: got '0.1', need a number",
            id="a temperature as text",
        ),
    ],
)
def test_a_sidecar_that_is_wrong_says_how(tmp_path: Path, change: dict[str, object], message: str) -> None:
    values = {k: v for k, v in (GOOD | change).items() if v is not None or k == "categories"}
    (tmp_path / "m.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        read_sidecar(tmp_path / "m.json")


def test_a_missing_model_or_sidecar_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"m\.onnx: model file not found"):
        Model(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"m\.json: sidecar not found"):
        Model(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("weights", "first", "second", "expected"),
    [
        pytest.param([1, 3], [0.2], [0.6], 0.5, id="both know it"),
        pytest.param([1, 3], [np.nan], [0.6], 0.6, id="one knows it"),
        pytest.param([1, 3], [np.nan], [np.nan], np.nan, id="none knows it"),
        pytest.param([1, 0], [np.nan], [0.6], np.nan, id="only one of weight 0 knows it"),
    ],
)
def test_the_mean_is_of_those_that_know_the_row(
    weights: list[float], first: list[float], second: list[float], expected: float
) -> None:
    rows = [np.array([row], np.float32) for row in (first, second)]
    np.testing.assert_allclose(mean(rows, weights), [[expected]], rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "temperature"),
    [pytest.param([0.5], 0.1, id="a weight too few"), pytest.param([0.5, 0.5], 0.0, id="no temperature")],
)
def test_prototypes_that_do_not_fit_are_refused(tmp_path: Path, weights: list[float], temperature: float) -> None:
    values = {"task": "classifier", "family": "timm", "categories": [7, 3], "size": 64, "mean": [0.0] * 3, "std": [1.0] * 3}
    path = tmp_path / "model.json"
    path.write_text(json.dumps(values | {"prototype_weights": weights, "prototype_temperature": temperature}))
    with pytest.raises(ValueError, match=r"prototype_weights: got .*, need one for each of 2 categories"):
        read_sidecar(path)
