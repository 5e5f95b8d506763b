"""Heads against loops written from the papers; what gets a margin; and the exported graph against the trained network."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fusion.models import Model, normalise
from stage2_classifier import heads
from stage2_classifier.config import HEADS, ClassifierConfig, Columns
from stage2_classifier.export import export_classifier
from stage2_classifier.model import Classifier

RNG = np.random.default_rng(0)
B, D, C, K = 5, 8, 4, 3


def tensors(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RNG.normal(size=shape).astype(np.float32))


def slow_logits(
    embedding: np.ndarray, centres: np.ndarray, targets: np.ndarray, scale: float, margins: list[float]
) -> np.ndarray:
    """Equation 3 of ArcFace with the sub-centres' maximum (eq. 2 of the sub-centre paper), one number at a time."""
    logits = np.zeros((len(embedding), centres.shape[1]))
    for b, x in enumerate(embedding):
        for c in range(centres.shape[1]):
            cosine = max(float(x @ w / np.linalg.norm(x) / np.linalg.norm(w)) for w in centres[:, c])
            theta = math.acos(cosine)
            logits[b, c] = scale * math.cos(theta + margins[c] if targets[b, c] > 0 else theta)
    return logits


@pytest.mark.parametrize("head", ["cosine", "arcface", "subcentre"])
@pytest.mark.parametrize("mixed", [False, True], ids=["one true name", "two true names"])
def test_logits_equal_the_papers_loop(head: str, mixed: bool) -> None:
    config = ClassifierConfig(head=head, subcentres=K, arc_margin=0.4, head_scale=20)
    module, embedding = heads.make_head(config, Columns(C), D), tensors(B, D)
    targets = torch.eye(C)[torch.arange(B) % C]
    targets = 0.7 * targets + 0.3 * targets.roll(1, 0) if mixed else targets
    margins = [0.0 if head == "cosine" else 0.4] * C
    wanted = slow_logits(embedding.numpy(), module.centres.detach().numpy(), targets.numpy(), 20, margins)
    assert module.centres.shape == (K if head == "subcentre" else 1, C, D)
    np.testing.assert_allclose(module(embedding, targets).detach().numpy(), wanted, atol=2e-4)


def test_without_targets_there_is_no_margin() -> None:
    module, embedding = heads.make_head(ClassifierConfig(head="subcentre"), Columns(C), D), tensors(B, D)
    wanted = slow_logits(embedding.numpy(), module.centres.detach().numpy(), np.zeros((B, C)), 24, [0.3] * C)
    np.testing.assert_allclose(module(embedding).detach().numpy(), wanted, atol=2e-4)


def test_past_pi_the_logit_goes_on_falling() -> None:
    cosine = torch.linspace(1, -1, 200)[:, None]
    harder = heads.with_margin(cosine, torch.ones_like(cosine), torch.tensor([0.5]))[:, 0]
    assert (harder.diff() < 0).all()
    assert harder[0] == pytest.approx(math.cos(0.5), abs=1e-5)


def test_the_margin_has_a_finite_slope_at_both_poles() -> None:
    cosine = torch.tensor([[1.0, -1.0]], requires_grad=True)
    heads.with_margin(cosine, torch.ones(1, 2), torch.tensor([0.3, 0.3])).sum().backward()
    assert torch.isfinite(cosine.grad).all()


def test_what_is_no_single_product_has_no_margin() -> None:
    module = heads.make_head(ClassifierConfig(head="arcface", arc_margin=0.3), Columns(C, unknown=1, background=True), D)
    assert module.margins.tolist() == pytest.approx([0.3, 0.0, 0.3, 0.3, 0.0])


def network(head: str, columns: Columns) -> Classifier:
    config = ClassifierConfig(head=head, subcentres=K)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trunk = torch.nn.Sequential(torch.nn.Conv2d(3, D, 3, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        return Classifier(trunk, heads.make_head(config, columns, D), columns).eval()


SIDECAR = {"task": "classifier", "family": "timm", "categories": [1, 2, 3, 4], "size": 16, "mean": [0.5] * 3, "std": [0.25] * 3}
CROPS = RNG.integers(0, 256, (6, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("head", HEADS)
def test_the_exported_graph_gives_logits_then_embedding(head: str, tmp_path: Path) -> None:
    model = network(head, Columns(C, background=True))
    parity = export_classifier(model, tmp_path / "model.onnx", SIDECAR | {"background": True}, CROPS)
    assert set(parity) == {"probabilities", "embedding"}
    inputs = normalise(CROPS, SIDECAR["mean"], SIDECAR["std"])
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("logits", ["batch", C + 1]), ("embedding", ["batch", D])]
    logits, embedding = session.run(None, {"crops": CROPS})
    with torch.no_grad():
        np.testing.assert_allclose(logits, model(torch.from_numpy(inputs)).numpy(), atol=1e-4)
        np.testing.assert_allclose(embedding, model.trunk(torch.from_numpy(inputs)).numpy(), atol=1e-5)
    np.testing.assert_array_equal(Model(tmp_path / "model.onnx")(CROPS), logits)


@pytest.mark.parametrize(("head", "count"), [("cosine", 1), ("arcface", 1), ("subcentre", K)])
def test_prototypes_are_matrices_in_the_file(head: str, count: int, tmp_path: Path) -> None:
    export_classifier(network(head, Columns(C)), tmp_path / "model.onnx", SIDECAR, CROPS)
    found = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(tmp_path / "model.onnx").graph.initializer}
    matrices = [found[f"prototypes.{k}"] for k in range(count)]
    assert f"prototypes.{count}" not in found
    for matrix in matrices:
        assert matrix.shape == (D, C)
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=0), 24.0, rtol=1e-5)
    logits, embedding = onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).run(None, {"crops": CROPS})
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    np.testing.assert_allclose(np.max([unit @ matrix for matrix in matrices], axis=0), logits, atol=1e-4)


def test_a_graph_that_does_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("cosine", Columns(C))
    prototypes = model.head.prototypes()
    monkeypatch.setattr(model.head, "prototypes", lambda: [matrix.flip(1) for matrix in prototypes])
    with pytest.raises(ValueError, match="ONNX and torch disagree: probabilities"):
        export_classifier(model, tmp_path / "model.onnx", SIDECAR, CROPS)
    assert not (tmp_path / "model.onnx").exists()


def test_an_unknown_head_lists_the_known() -> None:
    with pytest.raises(ValueError, match="--head: got 'softmax', allowed: linear, cosine, arcface, subcentre"):
        replace(ClassifierConfig(), head="softmax")
