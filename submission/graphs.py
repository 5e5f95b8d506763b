"""Fewer and smaller weight files: several ONNX graphs joined in one file, and FP16 graphs that are compared with float32."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import compose, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from fusion.models import SELECT

IMAGES = "images"
# Largest difference allowed between FP16 and float32. Chosen: far below what moves a box across IoU 0.5 or changes a ranking.
BOX_PX, SCORE = 1.0, 0.01
MIN_SCORE = 0.05  # chosen: boxes of a lower score are not compared
# Families whose graph ranks and cuts before its last layers, and what FP16 therefore changes.
RANKED = {
    "rcnn": "FP16 ranks proposals otherwise, and their NMS keeps others",
    "retinanet": "FP16 ranks anchors otherwise, and keeps others",
    "rtdetr": "FP16 ranks the cells that become queries otherwise",
}
Floats = npt.NDArray[np.float64]


def joined(models: Sequence[bytes]) -> bytes:
    """One graph that holds several: its input `select`, an int64 scalar, is the number of the one that runs on `images`.

    Each must take uint8 (B, H, W, 3) and give a first output of one and the same rank; the joint graph has that output alone.

    Raises ValueError where they differ in opset, input or the output's rank.
    """
    graphs = [compose.add_prefix(onnx.load_model_from_string(data), f"m{i}_") for i, data in enumerate(models)]
    kinds = {(_opset(g), g.graph.input[0].type.tensor_type.elem_type, len(_dims(g))) for g in graphs}
    if len(kinds) != 1 or next(iter(kinds))[1] != onnx.TensorProto.UINT8:
        raise ValueError(
            f"models to join: got (opset, input type, rank of output) {sorted(kinds)}, must be one, of uint8 photos"
        )
    opset, _, rank = kinds.pop()
    whole = _choice(graphs, 0, rank)
    dims: list[Any] = ["batch", "height", "width", 3]
    inputs = [
        helper.make_tensor_value_info(SELECT, onnx.TensorProto.INT64, []),
        helper.make_tensor_value_info(IMAGES, onnx.TensorProto.UINT8, dims),
    ]
    graph = helper.make_graph(list(whole.node), "joined", inputs, list(whole.output), list(whole.initializer))
    ir = max(g.ir_version for g in graphs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _opset(model: onnx.ModelProto) -> int:
    return max(int(opset.version) for opset in model.opset_import if opset.domain in ("", "ai.onnx"))


def _dims(model: onnx.ModelProto) -> list[Any]:
    return [dim.dim_value or None for dim in model.graph.output[0].type.tensor_type.shape.dim]


def _choice(graphs: Sequence[onnx.ModelProto], first: int, rank: int) -> onnx.GraphProto:
    """A graph without inputs that runs `graphs[select]` for `select` from `first` on; the last for any greater number."""
    output = helper.make_tensor_value_info(f"chosen{first}", onnx.TensorProto.FLOAT, [None] * rank)
    own = graphs[first].graph
    known = helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, _dims(graphs[first]))
    entry = helper.make_node("Identity", [IMAGES], [own.input[0].name])
    leave = helper.make_node("Identity", [own.output[0].name], [output.name])
    branch = helper.make_graph([entry, *own.node, leave], f"branch{first}", [], [known], list(own.initializer))
    if first == len(graphs) - 1:
        return branch
    rest = _choice(graphs, first + 1, rank)
    same = helper.make_node("Equal", [SELECT, f"number{first}"], [f"same{first}"])
    branch.output[0].name = branch.node[-1].output[0] = f"then{first}"
    either = helper.make_node("If", [f"same{first}"], [output.name], then_branch=branch, else_branch=rest)
    number = numpy_helper.from_array(np.array(first, np.int64), f"number{first}")
    return helper.make_graph([same, either], f"choice{first}", [], [output], [number])


def halved(data: bytes) -> bytes:
    """The graph in FP16, except for the nodes after its last convolutions: FP16 has only whole pixels between 1024 and 2048.

    Raises ValueError for a graph that does not take uint8 photos.
    """
    model = onnx.load_model_from_string(data)
    if model.graph.input[0].type.tensor_type.elem_type != onnx.TensorProto.UINT8:
        raise ValueError("a graph that takes float32 photos, need one of uint8: train it again with this version")
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    half = OnnxModel(
        convert_float_to_float16(model, keep_io_types=True, node_block_list=[node.name for node in _tail(model.graph)])
    )
    graph = half.model.graph
    # Later versions than the judge's cast a tensor anew for each node that reads it in float32, all under one name, which is no
    # valid graph.
    for repeated, kept in (
        (graph.node, {tuple(node.output): node for node in graph.node}),
        (graph.value_info, {value.name: value for value in graph.value_info}),
    ):
        del repeated[:]
        repeated.extend(kept.values())
    half.topological_sort()  # the conversion appends the nodes it adds at the end
    half.remove_cascaded_cast_nodes()  # to FP16 and back, between any two nodes that stay in float32
    onnx.checker.check_model(half.model)
    return bytes(half.model.SerializeToString())


def _tail(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes from which no convolution can be reached."""
    feeds: set[str] = set()  # tensors that a convolution depends on
    for node in reversed(graph.node):  # stored in order of execution
        if node.op_type.startswith("Conv") or feeds & set(node.output):
            feeds |= set(node.input)
    return [node for node in graph.node if not feeds & set(node.output) and not node.op_type.startswith("Conv")]


def difference(family: str, graph: bytes, other: bytes, canvases: Iterable[npt.NDArray[np.uint8]]) -> dict[str, float]:
    """Largest differences of two graphs on canvases, uint8 (B, H, W, 3): in a classifier's `probabilities`; in a detector's
    `boxes_px` and `scores`.

    Rounding changes the order in which boxes come out: each above MIN_SCORE is compared with the most similar one of the other
    graph, both ways.
    """
    sessions = [onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]) for data in (graph, other)]
    worst: dict[str, float] = {}
    for canvas in canvases:
        a, b = (session.run(None, {session.get_inputs()[0].name: canvas})[0].astype(np.float64) for session in sessions)
        differences = output_difference(family, a, b)
        worst = {name: max(worst.get(name, 0.0), value) for name, value in differences.items()}
    return worst


def output_difference(family: str, a: Floats, b: Floats) -> dict[str, float]:
    """Largest differences of the outputs of two graphs on one batch of canvases, as `difference` tells them."""
    if family == "timm":
        return {"probabilities": float(np.abs(_softmax(a) - _softmax(b)).max())}
    pairs = [pair for x, y in zip(a, b, strict=True) for pair in ((x, y), (y, x))]
    found = np.concatenate([counterparts(x, y) for x, y in pairs])  # (N, 2)
    return {"boxes_px": float(found[:, 0].max(initial=0.0)), "scores": float(found[:, 1].max(initial=0.0))}


def counterparts(rows: Floats, others: Floats) -> Floats:
    """How far each box above MIN_SCORE of `rows` (4 + C, A) is from its most similar one of `others`, (N, 2): pixels, score."""
    compared = rows[:, rows[4:].max(0) > MIN_SCORE]  # (4 + C, N)
    others = others[:, others[4:].max(0) > MIN_SCORE - 2 * SCORE]  # (4 + C, M), with those that rounding may have moved below
    if others.shape[1] == 0:
        return np.full((compared.shape[1], 2), np.inf)
    apart = []
    for row in compared.T:
        boxes = np.abs(row[:4, None] - others[:4]).max(0)  # (A,)
        scores = np.abs(row[4:, None] - others[4:]).max(0)  # (A,)
        nearest = np.maximum(boxes / BOX_PX, scores / SCORE).argmin()
        apart.append((boxes[nearest], scores[nearest]))
    return np.array(apart, np.float64).reshape(-1, 2)


def refuse_difference(path: Path, worst: dict[str, float], family: str = "") -> None:
    """Raises ValueError where FP16 and float32 differ by more than is allowed, or where nothing was compared."""
    allowed = {"boxes_px": BOX_PX, "scores": SCORE, "probabilities": SCORE}
    if not worst:
        raise ValueError(f"{path}: FP16 was compared on no photo; --photos must name a folder with some")
    why = f" ({RANKED[family]})" if family in RANKED else ""
    for name, value in worst.items():
        if not value <= allowed[name]:
            raise ValueError(
                f"{path}: FP16 and float32 disagree: {name} got {value:.3g}, allowed {allowed[name]}{why}; leave out --half"
            )


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
