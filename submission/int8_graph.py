"""A graph whose convolutions compute with 8-bit integers (QDQ), except those of its head: for processors, not for GPUs.

Activations are uint8, weights int8 by output channel (Krishnamoorthi 2018, arXiv:1806.08342). Weights take 7 of their 8 bits: a
processor without VNNI adds two products of 8 bits in 16, which 8-bit weights overflow without a word.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

Feed = Mapping[str, NDArray[np.generic]]  # a session's inputs by name
# Behind these a graph works on boxes, no longer on a feature map: what feeds them alone belongs to the head.
LEAVES_MAP = {"Softmax", "TopK", "NonMaxSuppression", "NonZero", "RoiAlign"}
# Softmax is not quantised, but onnxruntime 1.20 sets the range of each one's output, and fails where it was not calibrated.
CALIBRATED_TYPES = ["Conv", "Softmax"]


class Inputs(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """The inputs that a session was given, one after the other, as onnxruntime's calibration asks for them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next input; None after the last."""
        return next(self.feeds, None)


def quantised(data: bytes, task: str, feeds: Sequence[Feed]) -> bytes:
    """The graph with 8-bit convolutions, whose ranges are the smallest and largest values on `feeds`.

    A detector's head stays in float with its last convolutions, as coordinates and faint scores need more than 8 bits; of a
    classifier what follows the last convolution.

    Raises ValueError where nothing would be quantised, there are no feeds, or onnxruntime cannot quantise it.
    """
    model = onnx.load_model_from_string(data)
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    body = body_convolutions(model.graph, keep_last=task == "detector")
    if not body or not feeds:
        raise ValueError("no convolution before the head" if feeds else "no photo to calibrate on")
    with tempfile.TemporaryDirectory() as folder, _no_advice():
        named, smaller = Path(folder) / "named.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(named))
        try:
            quantize_static(
                named,
                smaller,
                Inputs(feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=CALIBRATED_TYPES,
                nodes_to_quantize=body,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        except Exception as error:  # those of onnxruntime and onnx have no common base class
            raise ValueError(f"onnxruntime cannot quantise it: {' '.join(str(error).split())}") from error
        return smaller.read_bytes()


@contextmanager
def _no_advice() -> Iterator[None]:
    """onnxruntime's quantiser logs to the root logger that a graph should be optimised before; the exports here are."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def body_convolutions(graph: onnx.GraphProto, keep_last: bool) -> list[str]:
    """The names of the convolutions to quantise; with `keep_last` without those behind which no other sees a feature map.

    Last are the ones that tell class and box in each scale of a YOLO or RetinaNet, its sum over a distribution of distances
    (DFL), the region proposals of a Faster R-CNN, the projections before an RT-DETR's transformer. A convolution that is
    reached only through a node of LEAVES_MAP does not count as behind.
    """
    seen_by_convolution: set[str] = set()  # tensors from which a convolution can be reached on feature maps
    names = []
    for node in reversed(graph.node):  # stored in order of execution
        reaches = not seen_by_convolution.isdisjoint(node.output)
        if node.op_type == "Conv":
            names += [node.name] if reaches or not keep_last else []
            seen_by_convolution |= set(node.input)
        elif reaches and node.op_type not in LEAVES_MAP:
            seen_by_convolution |= _inputs(node)
    return names[::-1]


def _inputs(node: onnx.NodeProto) -> set[str]:
    """What a node reads, with what the graphs inside it (of If and Loop) read."""
    inner = [each for attribute in node.attribute if attribute.HasField("g") for each in attribute.g.node]
    return set(node.input).union(*(_inputs(each) for each in inner))
