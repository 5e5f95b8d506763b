"""Models as the stages leave them, with graphs that answer the same for every photo."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CATEGORIES = [7, 3, 40]  # ids, in the order of the classifier's columns; neither sorted nor contiguous
# cx cy w h of two candidates on a canvas of 64 x 64, and their objectness: the raw output of a yolo head, one column each
CANDIDATES = np.array([[16.0, 48.0], [32.0, 32.0], [16.0, 8.0], [32.0, 32.0], [0.9, 0.6]], np.float32)  # (4 + 1, 2)


def save_graph(path: Path, output: np.ndarray) -> None:
    """A graph (B, 3, H, W) -> `output` repeated for each of the B, whatever the pixels are."""
    value = np.asarray(output, np.float32)
    nodes = [
        helper.make_node("Shape", ["images"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "ones"], ["repeats"], axis=0),
        helper.make_node("Tile", ["value", "repeats"], ["output"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", *value.shape])
    constants = {"value": value[None], "ones": np.ones(value.ndim, np.int64)}
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "constant", [images], [answer], initializers)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def save_model(folder: Path, output: np.ndarray, **sidecar: object) -> None:
    save_graph(folder / "model.onnx", output)
    defaults = {"family": "yolo", "size": 64, "mean": [0.0] * 3, "std": [1.0] * 3, "categories": None}
    (folder / "model.json").write_text(json.dumps({**defaults, **sidecar}))
