"""The export refuses a file that does not do what the network does, and keeps none of it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from fusion.models import read_sidecar
from stage1_detector import export

SIDE = {"task": "detector", "family": "yolo", "categories": None, "size": 64, "mean": [0.0] * 3, "std": [1.0] * 3}


class Dense(torch.nn.Module):
    """A net of a yolo head's output shape, (B, 5, anchors)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Conv2d(3, 5, 8, stride=8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images).flatten(2).sigmoid()


def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, np.uint8) for shape in ((1, 64, 64, 3), (8, 64, 64, 3), (2, 32, 64, 3), (1, 96, 32, 3))]


def test_export_is_opset_17_small_ir_and_dynamic(tmp_path: Path) -> None:
    parity = export.export_detector(Dense().eval(), tmp_path / "m.onnx", SIDE, ())
    graph = onnx.load(str(tmp_path / "m.onnx"))
    assert graph.opset_import[0].version == 17
    assert graph.ir_version <= 10
    assert parity == {"boxes_px": 0.0, "scores": 0.0}  # no photos, nothing compared
    assert export.detector_parity(Dense().eval(), tmp_path / "m.onnx", SIDE, [])["scores"] == 0.0
    assert read_sidecar(tmp_path / "m.json").size == 64


def test_parity_of_a_faithful_file_is_small_on_every_shape(tmp_path: Path) -> None:
    net = Dense().eval()
    export.export_detector(net, tmp_path / "m.onnx", SIDE, ())
    parity = export.detector_parity(net, tmp_path / "m.onnx", SIDE, inputs())
    assert 0 <= max(parity.values()) < 1e-5


def test_the_file_takes_photos_and_normalises_by_itself(tmp_path: Path) -> None:
    net, side = Dense().eval(), SIDE | {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    export.export_detector(net, tmp_path / "m.onnx", side, ())
    (entry,) = onnx.load(str(tmp_path / "m.onnx")).graph.input
    assert entry.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim] == ["batch", "height", "width", 3]
    assert 0 < max(export.detector_parity(net, tmp_path / "m.onnx", side, inputs()).values()) < 1e-5
    assert max(export.detector_parity(net, tmp_path / "m.onnx", SIDE, inputs()).values()) > 0.01  # of another mean and std


def test_the_file_says_how_many_classes_it_has(tmp_path: Path) -> None:
    export.export_detector(Dense().eval(), tmp_path / "m.onnx", SIDE, ())
    (out,) = onnx.load(str(tmp_path / "m.onnx")).graph.output
    assert [dim.dim_param or dim.dim_value for dim in out.type.tensor_type.shape.dim] == ["batch", 5, "best"]


def test_a_file_that_disagrees_is_refused_and_removed(tmp_path: Path) -> None:
    net = Dense().eval()
    export.export_detector(net, tmp_path / "m.onnx", SIDE, ())
    with torch.no_grad():
        net.head.bias += 1
    parity = export.detector_parity(net, tmp_path / "m.onnx", SIDE, inputs())
    with pytest.raises(ValueError, match="ONNX and torch disagree: boxes_px got 0"):
        export.refuse_disagreement(tmp_path / "m.onnx", parity, {"boxes_px": 0.1, "scores": 1e-4})
    assert not (tmp_path / "m.onnx").exists()


def test_a_difference_that_is_no_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="got nan"):
        export.refuse_disagreement(tmp_path / "m.onnx", {"scores": float("nan")}, {"scores": 1e-4})


def test_the_sidecar_is_json_beside_the_model(tmp_path: Path) -> None:
    export.write_sidecar(tmp_path / "m.onnx", SIDE)
    assert json.loads((tmp_path / "m.json").read_text()) == SIDE
