"""`submission.check` on real zips: the packed one passes, and each way of breaking it is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from submission import build, check, packed_models

Files = dict[str, bytes]


@pytest.fixture
def files(runs: Path) -> Files:
    """What a good zip holds, by name."""
    return build.collect(runs)


def _found(files: Files, path: Path) -> list[str]:
    build.write(files, path)
    return [f"{violation.where}:{violation.line}: {violation.what}" for violation in check.check(path)]


def _json(files: Files, name: str, **values: object) -> None:
    files[name] = json.dumps(json.loads(files[name]) | values).encode()


def _graph(files: Files, name: str, change: Callable[[Any], object]) -> None:
    model = onnx.load_model_from_string(files[name])
    change(model)
    files[name] = model.SerializeToString()


def _outside(model: Any) -> None:
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


def _operator(model: Any, name: str, domain: str) -> None:
    model.graph.node[0].op_type, model.graph.node[0].domain = name, domain


def _opset(model: Any, version: int) -> None:
    model.opset_import[0].version = version


def _canvas(model: Any, side: int) -> None:
    for dim in model.graph.input[-1].type.tensor_type.shape.dim[2:]:  # of (B, 3, H, W)
        dim.dim_value = side


def _ir(model: Any, version: int) -> None:
    model.ir_version = version


def test_empty_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.write({}, tmp_path / "a.zip")
    assert check.main([str(tmp_path / "a.zip")]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "run.py: is missing (put it at the root of the zip)",
        f"1 violations: {tmp_path / 'a.zip'}: 0 files, 0 Python, 0 weights, 0.0 of 420 MB",
    ]


def test_good_zip(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _found(files, tmp_path / "a.zip") == []
    assert check.main([str(tmp_path / "a.zip")]) == 0
    assert capsys.readouterr().out.startswith(f"ok: {tmp_path / 'a.zip'}: {len(files)} files, ")


# id, what is done to a good zip's files, what must be said
SPOILT: dict[str, tuple[Callable[[Files], object], str]] = {
    "a rule of the judge": (lambda files: files.update({"run.py": b"import os\n"}), "run.py:1: imports os"),
    "no model": (lambda files: files.pop("one.onnx"), "one.onnx:0: is missing; ensemble.json names one.onnx"),
    "no sidecar": (lambda files: files.pop("one.json"), "one.json:0: is missing; ensemble.json names one.onnx"),
    "no ensemble.json": (lambda files: files.pop("ensemble.json"), "ensemble.json:0: is missing"),
    "broken JSON": (lambda files: files.update({"x.json": b"{\n,}"}), "x.json:2: not JSON"),
    "JSON list": (lambda files: files.update({"one.json": b"[]"}), "one.json:1: is not one JSON object"),
    "unknown field": (lambda files: _json(files, "ensemble.json", speed=1), "unknown field 'speed'"),
    "idle weights": (lambda files: _json(files, "ensemble.json", classifiers=[]), "shelf.onnx:0: not named in"),
    "narrow class map": (lambda files: _json(files, "all.json", categories=[7, 3]), "all.onnx:0: puts out 3 classes"),
    "class map that is not the first": (lambda files: _json(files, "all.json", categories=[3, 40]), "all.json:0: 2 categories"),
    "unknown shrinking": (
        lambda files: _json(files, "one.json", shrinking="cubic"),
        "one.json:0: shrinking: got 'cubic', allowed: linear, average",
    ),
    "no background": (lambda files: _json(files, "all.json", background=True), "all.onnx:0: puts out 3 classes"),
    "order of the class map": (lambda files: _json(files, "shelf.json", categories=[3, 7, 40]), "shelf.json:0: 3 categories"),
    "a canvas of another size": (
        lambda files: (_graph(files, "shelf.onnx", lambda model: _canvas(model, 96)), _json(files, "shelf.json", size=64)),
        "shelf.json:0: size: got 64, the model takes crops of 96 x 96 pixels",
    ),
    "a number for categories": (lambda files: _json(files, "one.json", categories=5), "one.json:0: categories: got 5, need"),
    "no class map": (lambda files: _json(files, "all.json", categories=None), "all.onnx:0: puts out 3 classes"),
    "another model's graph": (lambda files: files.update({"all.onnx": files["one.onnx"]}), "all.onnx:0: puts out 1 classes"),
    "no graph": (lambda files: files.update({"one.onnx": b"weights"}), "one.onnx:0: not an ONNX graph"),
    "opset too new": (lambda files: _graph(files, "one.onnx", lambda model: _opset(model, 21)), "one.onnx:0: opset 21"),
    "IR version too new": (lambda files: _graph(files, "one.onnx", lambda model: _ir(model, 11)), "one.onnx:0: IR version 11"),
    "external data": (lambda files: _graph(files, "one.onnx", _outside), "one.onnx:0: 1 tensors lie in another file"),
    "unknown operator": (lambda files: _graph(files, "one.onnx", lambda model: _operator(model, "Shelf", "")), "refuses it"),
    "operator of its own": (lambda files: _graph(files, "one.onnx", lambda m: _operator(m, "Shape", "shop")), "refuses it"),
    "mute classifier": (
        lambda files: _json(files, "ensemble.json", classifiers=[{"file": "shelf.onnx", "weight": 0}]),
        "classifiers: got none of weight > 0",
    ),
    "mute detectors": (
        lambda files: _json(files, "ensemble.json", detectors=[{"file": "one.onnx", "views": []}]),
        "detectors: got none of weight > 0",
    ),
    "module not packed": (lambda files: files.pop("fusion/views.py"), "imports fusion.views, which is neither"),
    "its line": (lambda files: files.update({"run.py": b"\n\nimport fusion.gone\n"}), "run.py:3: imports fusion.gone"),
    "package not at the judge": (lambda files: files.update({"run.py": b"import faiss\n"}), "run.py:1: imports faiss"),
    "helper not packed": (lambda files: files.update({"run.py": b"from fusion import help"}), "run.py:1: imports fusion.help"),
}


@pytest.mark.parametrize(("spoil", "expected"), SPOILT.values(), ids=SPOILT)
def test_spoilt_zip_is_refused(files: Files, tmp_path: Path, spoil: Callable[[Files], object], expected: str) -> None:
    spoil(files)
    found = _found(files, tmp_path / "a.zip")
    assert any(expected in violation for violation in found), found


def test_limits_themselves_are_allowed(files: Files, tmp_path: Path) -> None:
    _graph(files, "one.onnx", lambda model: (_opset(model, 20), _ir(model, 10)))
    assert _found(files, tmp_path / "a.zip") == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        pytest.param("from . import b", [], id="sibling"),
        pytest.param("from .b import x", [], id="name in a sibling"),
        pytest.param("from . import c", ["pack.c"], id="sibling not packed"),
        pytest.param("from .c import x", ["pack.c"], id="name in a sibling not packed"),
        pytest.param("from pack import x", [], id="name that the package binds"),
        pytest.param("import pack.b, json, numpy.linalg", [], id="packed, standard, installed"),
        pytest.param("from pack.b import y", ["pack.b.y"], id="name that is not there"),
    ],
)
def test_imports_are_resolved(tmp_path: Path, text: str, missing: list[str]) -> None:
    files = {"run.py": b"", "pack/__init__.py": b"from .b import x", "pack/b.py": b"x = 1", "pack/a.py": text.encode()}
    found = _found(files, tmp_path / "a.zip")
    assert found == [f"pack/a.py:1: imports {module}, which is neither packed nor at the judge" for module in missing]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file; hylle build makes one", id="missing"),
        pytest.param(b"", "not a zip; hylle build makes one", id="empty"),
        pytest.param(b"PK\x03\x04 torn", "not a zip; hylle build makes one", id="torn"),
    ],
)
def test_what_is_no_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str) -> None:
    path = tmp_path / "a.zip"
    if content is not None:
        path.write_bytes(content)
    assert check.main([str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path}: {message}\n"


def test_another_python_than_the_judges_is_told(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "PYTHON", "3.9")
    build.write(files, tmp_path / "a.zip")
    assert check.main([str(tmp_path / "a.zip"), "--no-run"]) == 0
    assert "the judge has 3.9: f-strings and modules that only it knows" in capsys.readouterr().err


def test_graphs_are_passed_over_without_the_package_onnx(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packed_models, "onnx", None)
    build.write(files | {"one.onnx": b"weights"}, tmp_path / "a.zip")
    assert check.main([str(tmp_path / "a.zip"), "--no-run"]) == 0
    assert "not looked into" in capsys.readouterr().err
