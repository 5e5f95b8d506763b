"""Models as the stages leave them, with graphs that answer the same for every photo."""

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto

from experiments.performance.endurance import constant_graph

CATEGORIES = [7, 3, 40]  # ids, in the order of the classifier's columns; neither sorted nor contiguous
# cx cy w h of two candidates on a canvas of 64 x 64, and their objectness: the raw output of a yolo head, one column each
CANDIDATES = np.array([[16.0, 48.0], [32.0, 32.0], [16.0, 8.0], [32.0, 32.0], [0.9, 0.6]], np.float32)  # (4 + 1, 2)


def save_graph(path: Path, output: np.ndarray) -> None:
    """A graph (B, 3, H, W) -> `output` repeated for each of the B, whatever the pixels are."""
    constant_graph(path, np.asarray(output), TensorProto.FLOAT, ["batch", 3, "height", "width"])


def save_model(folder: Path, output: np.ndarray, **sidecar: object) -> None:
    save_graph(folder / "model.onnx", output)
    defaults = {"family": "yolo", "size": 64, "mean": [0.0] * 3, "std": [1.0] * 3, "categories": None}
    (folder / "model.json").write_text(json.dumps({**defaults, **sidecar}))
