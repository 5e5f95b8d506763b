"""`submission.check` on zips of other methods: held to the judge's rules and to what onnxruntime reads, not to ours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from experiments.performance import checker
from submission import build, check

Files = dict[str, bytes]


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    """A graph that onnxruntime reads."""
    return onnx.load(checker.constant_runs(tmp_path / "runs") / "one" / "model.onnx")


def _found(path: Path, files: Files) -> list[str]:
    build.write({"run.py": b"import torch, ultralytics\n"} | files, path / "a.zip")
    return [str(violation) for violation in check.check(path / "a.zip")]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"classes.json": b'["milk", "bread"]'}, id="a list"),
        pytest.param({"classes.json": b'\xef\xbb\xbf{"1": "milk"}'}, id="a BOM"),
        pytest.param({"ensemble.json": b'{"weights": [2, 1], "iou": 0.55}'}, id="an ensemble.json of its own"),
        pytest.param({"ensemble.json": b'{"categories": ["milk", "bread"]}'}, id="categories of its own"),
    ],
)
def test_its_json_is_its_own_affair(tmp_path: Path, files: Files) -> None:
    assert _found(tmp_path, files) == []


def _newest(model: Any) -> None:
    model.opset_import[0].version, model.ir_version = 23, 13


def _opset_21(model: Any) -> None:
    model.opset_import[0].version = 21


def _operator(model: Any) -> None:
    model.graph.node[0].op_type = "Shelf"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(lambda model: None, [], id="good"),
        pytest.param(_newest, ["best.onnx: opset 23", "best.onnx: IR version 13"], id="newer than the judge's"),
        pytest.param(_opset_21, ["warning: best.onnx: opset 21"], id="newer, and read all the same"),
        pytest.param(_operator, ["best.onnx: onnxruntime 1.20.0 refuses it"], id="an unknown operator"),
    ],
)
def test_its_graphs_are_looked_at(tmp_path: Path, graph: Any, change: Callable[[Any], None], told: list[str]) -> None:
    change(graph)
    found = _found(tmp_path, {"best.onnx": graph.SerializeToString()})
    assert [line[: len(start)] for line, start in zip(found, told, strict=True)] == told


@pytest.mark.parametrize("data", [b"", b"\x08", b"weights"])
def test_what_is_no_graph_is_refused(tmp_path: Path, data: bytes) -> None:
    (found,) = _found(tmp_path, {"best.onnx": data})
    assert found.startswith(("best.onnx: not an ONNX graph", "best.onnx: onnxruntime 1.20.0 refuses it"))


def test_large_json_is_not_looked_into(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, {"names.json": json.dumps([0.25] * 800_000).encode()})
    assert found.startswith("warning: names.json: 4800 kB of text: not looked into")
