"""A detector's graph that hands back only its best boxes: the rest never leave the device.

A class-aware detector of 356 names at 1280 px has 33,600 candidates of 360 numbers, 48 MB for each look at a photo, nearly
all of which score below what anybody reads. The graph ranks them by their best class score and hands back the first of them.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

FAMILIES = ("yolo",)  # those that hand back every candidate; the others choose theirs inside the network
# Measured: up to 14 candidates above 0.001 for each product at 640 px; max_det is 1.5 times the products of the fullest photo
PER_DETECTION = 10
SPARE = 2  # chosen: times the most candidates above `CONF` that a canvas of the export had
BEST = "best"  # the name of the output's last axis
CONF = 0.001  # taken: fusion.ensemble.Member.conf
SCORE_TOLERANCE = 1e-5  # taken: the parity that is asked for; a sigmoid of the best alone rounds otherwise by 1e-7


def how_many(max_det: int, counted: Sequence[int]) -> int:
    """How many candidates to hand back, where canvases had `counted` ones that score above CONF.

    >>> how_many(300, [900, 1700]), how_many(300, []), how_many(50, [900])
    (3400, 3000, 1800)
    """
    return max(PER_DETECTION * max_det, SPARE * max(counted, default=0))


def keep_best(model: onnx.ModelProto, count: int) -> None:
    """Change a graph whose output is (B, 4 + C, A), scores from row 4 on, to hand back the `count` best of A, (B, 4 + C, K).

    The best come first; of equal scores the one listed first. A candidate with a score that is NaN or infinite counts as the
    best, so that it is seen and counted. K is A where that is less. Where the output is put together of boxes and a sigmoid,
    candidates are ranked before both, so that the sigmoid too is computed of the best alone.
    """
    graph, name = model.graph, model.graph.output[0].name
    rows = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    apart = _boxes_and_logits(graph)
    if apart:
        boxes, logits, joined, sigmoid = apart
        graph.node.remove(joined)
        graph.node.remove(sigmoid)
        _ranked(graph, logits, rows - 4, count)
        _gathered(graph, boxes, 4, "best_boxes")
        _gathered(graph, logits, rows - 4, "best_logits")
        graph.node.append(helper.make_node("Sigmoid", ["best_logits"], ["best_scores"]))
        graph.node.append(helper.make_node("Concat", ["best_boxes", "best_scores"], [name], axis=1))
    else:
        everything = _renamed_output(graph)
        classes = {"first": [4], "end": [np.iinfo(np.int64).max], "axis": [1]}
        inputs = [_constant(graph, f"best_classes_{key}", np.array(value, np.int64)) for key, value in classes.items()]
        graph.node.append(helper.make_node("Slice", [everything, *inputs], ["best_classes"]))
        _ranked(graph, "best_classes", rows - 4, count)
        _gathered(graph, everything, rows, name)
    graph.output[0].type.tensor_type.shape.dim[2].dim_param = BEST


def _boxes_and_logits(graph: onnx.GraphProto) -> tuple[str, str, onnx.NodeProto, onnx.NodeProto] | None:
    """The boxes (B, 4, A), the scores before their sigmoid (B, C, A), and the nodes that put both together, if any do."""
    makers = {output: node for node in graph.node for output in node.output}
    joined = makers[graph.output[0].name]
    if joined.op_type != "Concat" or len(joined.input) != 2:
        return None
    sigmoid = makers.get(joined.input[1])
    readers = [node for node in graph.node if joined.input[1] in node.input]
    if sigmoid is None or sigmoid.op_type != "Sigmoid" or len(readers) != 1:
        return None
    return joined.input[0], sigmoid.input[0], joined, sigmoid


def _renamed_output(graph: onnx.GraphProto) -> str:
    """The name that the graph's output has now inside it; its own is free for another tensor."""
    name = graph.output[0].name
    for node in graph.node:
        node.output[:] = [f"{name}_of_all" if output == name else output for output in node.output]
        node.input[:] = [f"{name}_of_all" if tensor == name else tensor for tensor in node.input]
    return f"{name}_of_all"


def _constant(graph: onnx.GraphProto, name: str, value: np.ndarray) -> str:
    """The name of a new constant."""
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _ranked(graph: onnx.GraphProto, classes: str, n_classes: int, count: int) -> None:
    """Add the tensor best_places (B, 1, K): where the best of the candidates that score `classes` (B, C, A) stand."""
    ones = _constant(graph, "best_ones", np.ones((1, n_classes), np.float32))
    nothing, above_all = (_constant(graph, f"best_{x:.0f}", np.array(x, np.float32)) for x in (0.0, 3e38))
    most = _constant(graph, "best_count", np.array([count], np.int64))
    graph.node.extend(
        [
            helper.make_node("MatMul", [ones, classes], ["best_sums"]),  # (B, 1, A): a reduction, only faster
            helper.make_node("Mul", ["best_sums", nothing], ["best_zeros"]),  # NaN where a number is not finite
            helper.make_node("IsNaN", ["best_zeros"], ["best_broken"]),
            helper.make_node("ReduceMax", [classes], ["best_score"], axes=[1], keepdims=1),  # (B, 1, A)
            helper.make_node("Where", ["best_broken", above_all, "best_score"], ["best_rank"]),
            helper.make_node("Shape", [classes], ["best_all"], start=2),  # (1,)
            helper.make_node("Min", [most, "best_all"], ["best_k"]),
            helper.make_node("TopK", ["best_rank", "best_k"], ["best_values", "best_places"], axis=2),
        ]
    )


def _gathered(graph: onnx.GraphProto, tensor: str, rows: int, name: str) -> None:
    """Add the tensor `name` (B, rows, K): `tensor` (B, rows, A) at best_places."""
    shape = _constant(graph, f"{name}_shape", np.array([1, rows, 1], np.int64))
    graph.node.append(helper.make_node("Expand", ["best_places", shape], [f"{name}_places"]))
    graph.node.append(helper.make_node("GatherElements", [tensor, f"{name}_places"], [name], axis=2))


def disagreement(everything: np.ndarray, best: np.ndarray) -> float:
    """By how much the scores of `best` (4 + C, K) differ from those of the K best candidates of `everything` (4 + C, A).

    Each candidate of `best` is compared with the one of the same box, and the list of their best scores with that of the K
    best, whatever their order: before and after the sigmoid, candidates that nearly tie may rank otherwise. Infinite where
    `everything` has no such box, or where the number of candidates is not K.
    """
    expected = -np.sort(-everything[4:].max(0))[: best.shape[1]]  # (K,)
    if len(expected) < best.shape[1]:
        return float("inf")
    largest = float(np.abs(expected + np.sort(-best[4:].max(0))).max(initial=0.0))
    places: dict[bytes, list[int]] = {}
    for i, box in enumerate(everything[:4].T):
        places.setdefault(box.tobytes(), []).append(i)
    for candidate in best.T:
        same = places.get(candidate[:4].tobytes())
        if same is None:
            return float("inf")
        largest = max(largest, float(np.abs(everything[4:, same].T - candidate[4:]).max(1).min()))
    return largest


def hands_back_best(model: onnx.ModelProto) -> bool:
    """Whether `keep_best` changed this graph."""
    return bool(model.graph.output[0].type.tensor_type.shape.dim[-1].dim_param == BEST)
