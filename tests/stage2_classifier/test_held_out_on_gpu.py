"""Held-out crops are named where the classifier was trained, in full float32, and it is exported from the CPU afterwards."""

import numpy as np
import pytest
import torch

from stage2_classifier import learning, model
from stage2_classifier.config import ClassifierConfig, Columns

CROPS = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), np.uint8)
GPU = torch.device("cuda")


def test_they_are_moved_to_the_gpu_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    network = model.build(ClassifierConfig(model="test_resnet", size=32), Columns(3)).eval()
    expected = learning.predict(network, CROPS)
    moves, precise, move = list[str](), list[bool](), torch.Tensor.to

    def moved(crops: torch.Tensor, *to: object) -> torch.Tensor:
        if to != (GPU,):
            return move(crops, *to)
        moves.append("crops cuda")
        return crops

    network.trunk.register_forward_hook(lambda *_: precise.append(not torch.backends.cudnn.allow_tf32))
    monkeypatch.setattr(learning, "training_device", lambda: GPU)
    monkeypatch.setattr(network, "to", lambda device: moves.append(f"network {device}"))
    monkeypatch.setattr(network, "cpu", lambda: moves.append("network back"))
    monkeypatch.setattr(torch.Tensor, "to", moved)
    np.testing.assert_array_equal(learning.predict(network, CROPS, batch=2), expected)
    assert moves == ["network cuda", *["crops cuda"] * 3, "network back"]
    assert precise == [True] * 3 and torch.backends.cudnn.allow_tf32
