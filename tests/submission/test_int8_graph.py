"""Convolutions in 8 bits: which ones, that they answer as float32 does, and that no processor's sums overflow."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from stage1_detector.export import export_detector
from submission.int8_graph import body_convolutions, quantised
from submission.packed_models import MAX_IR, MAX_OPSET

SIDE = {"task": "detector", "family": "yolo", "categories": None, "size": 64, "mean": [0.0] * 3, "std": [1.0] * 3}
RNG = np.random.default_rng(0)
FEEDS = [{"images": RNG.integers(0, 256, (1, 64, 64, 3), np.uint8)} for _ in range(3)]


class Net(torch.nn.Module):
    """Two convolutions, then a head of one for boxes and one for scores: (B, 5, anchors)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.neck = torch.nn.Conv2d(3, 8, 8, stride=8), torch.nn.Conv2d(8, 8, 3, padding=1)
        self.boxes, self.scores = torch.nn.Conv2d(8, 4, 1), torch.nn.Conv2d(8, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        neck = self.neck(self.trunk(images).relu()).relu()
        return torch.cat([self.boxes(neck).sigmoid() * 64, self.scores(neck).sigmoid()], 1).flatten(2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("net") / "model.onnx"
    export_detector(Net().eval(), path, SIDE, ())
    return path.read_bytes()


def test_nothing_to_calibrate_on_is_refused(exported: bytes) -> None:
    with pytest.raises(ValueError, match="no photo to calibrate on"):
        quantised(exported, "detector", [])


def graph_of(*nodes: tuple[str, str, str]) -> onnx.GraphProto:
    """A graph of nodes (type and name, inputs, output)."""
    made = [helper.make_node(name.split("_")[0], reads.split(), [out], name=name) for name, reads, out in nodes]
    return helper.make_graph(made, "graph", [], [])


@pytest.mark.parametrize(
    ("graph", "body"),
    [
        pytest.param(graph_of(("Relu", "a", "b")), [], id="no convolution"),
        pytest.param(graph_of(("Conv_1", "a", "b"), ("Conv_2", "b", "c"), ("Conv_3", "b", "d")), ["Conv_1"], id="two ends"),
        pytest.param(
            graph_of(("Conv_1", "a", "b"), ("Conv_2", "b", "c"), ("Softmax", "c", "d"), ("Conv_3", "d", "e")),
            ["Conv_1"],
            id="a sum over a distribution (DFL)",
        ),
        pytest.param(
            graph_of(("Conv_1", "a", "b"), ("Softmax", "b", "c"), ("MatMul", "b c", "d"), ("Conv_2", "d", "e")),
            ["Conv_1"],
            id="attention is of the body",
        ),
        pytest.param(
            graph_of(
                *(("Conv_1", "a", "b"), ("Conv_2", "b", "c"), ("TopK", "c", "d"), ("Gather", "c d", "e")),
                *(("RoiAlign", "b e", "f"), ("Conv_3", "f", "g"), ("Conv_4", "g", "h")),
            ),
            ["Conv_1", "Conv_3"],
            id="region proposals",
        ),
    ],
)
def test_the_last_convolutions_of_a_detector_stay(graph: onnx.GraphProto, body: list[str]) -> None:
    assert body_convolutions(graph, keep_last=True) == body
    assert body_convolutions(graph, keep_last=False) == [n.name for n in graph.node if n.op_type == "Conv"]


def test_the_head_of_an_if_counts_as_reading(exported: bytes) -> None:
    inner = graph_of(("Relu", "b", "c"))
    branches = [helper.make_attribute(name, inner) for name in ("then_branch", "else_branch")]
    choice = helper.make_node("If", ["q"], ["d"], name="If")
    choice.attribute.extend(branches)
    convolutions = graph_of(("Conv_1", "a", "b"), ("Conv_2", "d", "e")).node
    graph = helper.make_graph([convolutions[0], choice, convolutions[1]], "graph", [], [])
    assert body_convolutions(graph, keep_last=True) == ["Conv_1"]


def test_the_body_is_in_8_bits_the_head_in_float_and_answers_are_alike(exported: bytes) -> None:
    smaller = quantised(exported, "detector", FEEDS)
    model = onnx.load_model_from_string(smaller)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert arrays["trunk.weight_quantized"].dtype == arrays["neck.weight_quantized"].dtype == np.int8
    assert arrays["trunk.weight_scale"].shape == (8,)  # by output channel
    assert arrays["boxes.weight"].dtype == arrays["scores.weight"].dtype == np.float32
    largest = max(np.abs(array.astype(int)).max() for array in arrays.values() if array.dtype == np.int8 and array.ndim == 4)
    assert largest > 60 and 255 * 2 * largest < 2**15  # two products fit 16 bits
    assert model.ir_version <= MAX_IR and {(o.domain, o.version <= MAX_OPSET) for o in model.opset_import} == {("", True)}
    sessions = [onnxruntime.InferenceSession(data) for data in (exported, smaller)]
    plain, other = (session.run(None, dict(FEEDS[0]))[0] for session in sessions)
    assert 0 < np.abs(plain[:, :4] - other[:, :4]).max() < 2.0 and np.abs(plain[:, 4] - other[:, 4]).max() < 0.03


def test_the_same_graph_and_photos_give_the_same_bytes(exported: bytes) -> None:
    assert quantised(exported, "detector", FEEDS) == quantised(exported, "detector", FEEDS)


def test_a_softmax_that_is_not_quantised_does_not_stop_the_rest() -> None:
    weight = numpy_helper.from_array(RNG.normal(size=(4, 3, 1, 1)).astype(np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("Softmax", ["y"], ["z"], axis=1)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, 8, 8]) for name, n in (("x", 3), ("z", 4))]
    graph = helper.make_graph(nodes, "attention", ends[:1], ends[1:], [weight])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    smaller = quantised(data, "classifier", [{"x": RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)}])
    assert "Softmax" in [node.op_type for node in onnx.load_model_from_string(smaller).graph.node]
    assert "QuantizeLinear" in [node.op_type for node in onnx.load_model_from_string(smaller).graph.node]


def test_a_graph_without_convolutions_is_refused(runs: Path) -> None:
    with pytest.raises(ValueError, match="no convolution before the head"):
        quantised((runs / "one" / "model.onnx").read_bytes(), "detector", FEEDS)
