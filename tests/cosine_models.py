"""Classifiers in the form of the export, small enough to check by hand: the embedding is a crop's mean colour less grey."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 16
RED, GREEN, BLUE = (np.array(c, np.float32) for c in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))


def save_classifier(
    path: Path, centres: list[np.ndarray], categories: list[int], linear: bool = False, **sidecar: object
) -> None:
    """PATH (.onnx) and its sidecar; `centres` are K matrices (D, columns), of which a linear head takes the first."""
    matrices = [np.asarray(m, np.float32) for m in centres]
    nodes = [helper.make_node("GlobalAveragePool", ["crops"], ["pooled"]),
             helper.make_node("Flatten", ["pooled"], ["embedding"])]  # fmt: skip
    if linear:
        nodes.append(helper.make_node("Gemm", ["embedding", "weight"], ["logits"]))
        values = [numpy_helper.from_array(matrices[0], "weight")]
    else:
        nodes.append(helper.make_node("LpNormalization", ["embedding"], ["unit"], axis=1))
        nodes += [helper.make_node("MatMul", ["unit", f"prototypes.{k}"], [f"cosine.{k}"]) for k in range(len(matrices))]
        nodes.append(helper.make_node("Max", [f"cosine.{k}" for k in range(len(matrices))], ["logits"]))
        values = [numpy_helper.from_array(m, f"prototypes.{k}") for k, m in enumerate(matrices)]
    save(path, nodes, values, matrices[0].shape[1])
    sides = {
        "task": "classifier",
        "family": "timm",
        "categories": categories,
        "size": SIZE,
        "mean": [0.5] * 3,
        "std": [1.0] * 3,
    }
    path.with_suffix(".json").write_text(json.dumps({**sides, **sidecar}))


def save(path: Path, nodes: list[onnx.NodeProto], values: list[onnx.TensorProto], columns: int) -> None:
    """The graph, opset 17, with the outputs logits (B, columns) and embedding (B, 3)."""
    ends = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", columns]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])]  # fmt: skip
    crops = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    graph = helper.make_graph(nodes, "classifier", [crops], ends, values)
    between = [helper.make_tensor_value_info("cosine.0", TensorProto.FLOAT, ["batch", columns])]  # as the exporter leaves
    graph.value_info.extend(between)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def flat(colour: np.ndarray, n: int = 1, size: int = SIZE) -> np.ndarray:
    """`n` crops of one colour, each channel in [0, 1]: uint8 (n, size, size, 3)."""
    return np.tile(np.rint(np.asarray(colour) * 255).astype(np.uint8), (n, size, size, 1))
