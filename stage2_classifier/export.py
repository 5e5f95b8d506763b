"""The trained classifier becomes an ONNX file and its sidecar, or an error when the file does not do what the network does."""

from pathlib import Path

import numpy as np
import torch

from fusion.models import normalise
from stage1_detector.export import SCORE_TOLERANCE, outputs_of_both, refuse_disagreement, to_onnx, write_sidecar


def export_classifier(model: torch.nn.Module, path: Path, sidecar: dict[str, object], crops: np.ndarray) -> dict[str, float]:
    """Write PATH (.onnx, dynamic batch) and its sidecar; return the parity measured on `crops`, uint8 (N, H, W, 3).

    Raises ValueError, and leaves no file, when ONNX and torch give probabilities that differ by more than 1e-4.
    """
    size = int(str(sidecar["size"]))
    to_onnx(model, torch.zeros(2, 3, size, size), path, {"crops": {0: "batch"}, "logits": {0: "batch"}})
    inputs = [normalise(crops, sidecar["mean"], sidecar["std"])]
    worst = max(float(np.abs(_softmax(ours) - _softmax(theirs)).max()) for ours, theirs in outputs_of_both(model, path, inputs))
    refuse_disagreement(path, {"probabilities": worst}, {"probabilities": SCORE_TOLERANCE})
    write_sidecar(path, sidecar)
    return {"probabilities": worst}


def _softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(1).numpy()
