"""`python -m submission.check ZIP`: would the judge accept this zip, and would it run there?

First the rules of the contest (`submission.rules.RULES`, one function each), then what would fail only when the zip runs:

- `unpacked_imports`: a module is imported, but neither packed nor installed at the judge;
- `malformed_json`: a .json file does not hold one JSON object;
- `_model_files`: ensemble.json is missing or malformed, or its models and the packed files differ;
- `_class_map`: a model's categories are not those of ensemble.json;
- `_check_graph`: a graph does not fit its sidecar, or onnxruntime 1.20 does not read it (`_readable`, `_loads`).
"""

import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import onnxruntime

from fusion.ensemble import Ensemble, parse
from fusion.models import SELECT
from runs.command import Parser, run
from submission.rules import MAX_BYTES, MB, WEIGHTS, Entry, Violation, imported, read_entries
from submission.rules import violations as rule_violations

try:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
except ImportError:  # then graphs are not checked, and `main` says so
    onnx = None

RUNTIME = "1.20."  # the judge's onnxruntime
MAX_OPSET = 20  # of onnxruntime 1.20
MAX_IR = 10  # likewise; newer exporters write a higher one by default
ENSEMBLE = "ensemble.json"

# What the judge has installed, by import name; nothing can be installed there. Taken: the contest's page.
INSTALLED = frozenset({
    "torch", "torchvision", "ultralytics", "onnxruntime", "cv2", "albumentations", "PIL", "numpy", "scipy", "sklearn",
    "pycocotools", "ensemble_boxes", "timm", "supervision", "safetensors",
})  # fmt: skip
# Where a graph's first output holds the class scores: the axis, and how many columns of it come before them.
CLASS_AXIS = {"yolo": (1, 4), "rtdetr": (1, 4), "rcnn": (1, 4), "retinanet": (1, 4), "timm": (1, 0)}


def check(path: Path) -> list[Violation]:
    """Every violation of the zip at `path`. Raises ValueError where there is no zip, or one that cannot be unpacked."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: {'not a zip' if path.is_file() else 'no such file; hylle build makes one'}")
    with zipfile.ZipFile(path) as archive:
        entries = read_entries(archive)
        malformed = [*malformed_json(entries)]
        models = [] if malformed else [*_model_files(archive, entries)]
        return [*rule_violations(entries), *unpacked_imports(entries), *malformed, *models]


def unpacked_imports(entries: list[Entry]) -> Iterator[Violation]:
    """Modules that a packed file imports and that are not in the standard library, installed at the judge, or packed.

    Source: INSTALLED, from the contest's page.
    """
    packed = {_module(entry.name): entry for entry in entries if entry.suffix == ".py"}
    for entry in packed.values():
        for node in ast.walk(_tree(entry)):
            absent = [module for module in imported(_absolute(node, entry.name)) if not _is_available(module, packed)]
            if absent:
                what = f"imports {absent[0]}, which is neither packed nor at the judge"
                yield Violation(entry.name, getattr(node, "lineno", 0), what, "pack it, or do without")


def _module(name: str) -> str:
    """
    >>> _module("fusion/merge.py"), _module("fusion/__init__.py"), _module("run.py")
    ('fusion.merge', 'fusion', 'run')
    """
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _tree(entry: Entry) -> ast.Module:
    """The syntax tree; an empty one where the file does not parse, which `rules.safe_source` reports."""
    try:
        return ast.parse(entry.text or b"")
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _absolute(node: ast.AST, name: str) -> ast.AST:
    """`node` with a relative import made absolute, as seen from the file `name`."""
    if not (isinstance(node, ast.ImportFrom) and node.level):
        return node
    package = ".".join(PurePosixPath(name).parts[: -node.level])
    return ast.ImportFrom(".".join(part for part in (package, node.module) if part) or None, node.names, 0)


def _is_available(module: str, packed: dict[str, Entry]) -> bool:
    """Whether `module` is Python's own, installed at the judge, a packed file or folder, or a name in a packed file."""
    if module.split(".")[0] in INSTALLED | sys.stdlib_module_names:
        return True
    parent, _, name = module.rpartition(".")
    is_folder = any(other.startswith(module + ".") for other in packed)
    return module in packed or is_folder or (parent in packed and (name == "*" or name in _defined(packed[parent])))


def _defined(entry: Entry) -> set[str]:
    """The names that a module binds, at its top level or below (a superset is enough here)."""
    names: set[str] = set()
    for node in ast.walk(_tree(entry)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name)
    return names


def malformed_json(entries: list[Entry]) -> Iterator[Violation]:
    """JSON files that do not parse, or do not hold one object. Source: `fusion` reads objects only."""
    for entry in entries:
        if entry.suffix == ".json":
            try:
                if not isinstance(json.loads(entry.text or b""), dict):
                    yield Violation(entry.name, 1, "is not one JSON object", "begin it with {")
            except ValueError as error:
                yield Violation(entry.name, getattr(error, "lineno", 0), f"not JSON: {error}", "write it by json.dump")


def _model_files(archive: zipfile.ZipFile, entries: list[Entry]) -> Iterator[Violation]:
    """ensemble.json, the models it names, their sidecars and graphs; not checked where the zip is not built on `fusion/`.

    Source: what `fusion.pipeline` needs to load the ensemble.
    """
    texts = {entry.name: entry.text or b"" for entry in entries}
    if ENSEMBLE not in texts:
        if "fusion/pipeline.py" in texts:
            yield Violation(ENSEMBLE, 0, "is missing", "pack it; hylle build does")
        return
    try:
        ensemble = parse(json.loads(texts[ENSEMBLE]))
    except ValueError as error:
        yield Violation(ENSEMBLE, 0, str(error), "mend the field")
        return
    files = {member.file for member in ensemble.detectors} | {member.file for member in ensemble.classifiers}
    sidecars = {file: str(PurePosixPath(file).with_suffix(".json")) for file in files}
    weights = {file: _graph_of(file, json.loads(texts.get(sidecar, b"{}"))) for file, sidecar in sidecars.items()}
    for entry in entries:
        if entry.suffix in WEIGHTS and entry.name not in weights.values():
            yield Violation(entry.name, 0, f"not named in {ENSEMBLE}", "leave it out; it would only take a weight file's place")
    for file, sidecar in sorted(sidecars.items()):
        absent = [name for name in (weights[file], sidecar) if name not in texts]
        for name in absent:
            yield Violation(name, 0, f"is missing; {ENSEMBLE} names {file}", "pack it")
        if not absent:
            yield from _class_map(sidecar, json.loads(texts[sidecar]), ensemble)
            yield from _check_graph(weights[file], json.loads(texts[sidecar]), archive)


def _graph_of(file: str, sidecar: dict[str, Any]) -> str:
    """The weight file of the model `file`: its own, or the one that it shares."""
    return str(PurePosixPath(file).with_name(str(sidecar["graph"]))) if sidecar.get("graph") else file


def _class_map(file: str, sidecar: dict[str, Any], ensemble: Ensemble) -> Iterator[Violation]:
    """A model's categories must be those of ensemble.json in their order, or the first of them. Source: `fusion.pipeline`."""
    categories = sidecar.get("categories")
    if categories is not None and categories != ensemble.categories[: len(categories)]:
        what = f"{len(categories)} categories, and not the {len(ensemble.categories)} of {ENSEMBLE} in their order"
        yield Violation(file, 0, what, "train the models on one data set")


def _check_graph(file: str, sidecar: dict[str, Any], archive: zipfile.ZipFile) -> Iterator[Violation]:
    """A weight file must be a graph that onnxruntime reads, with the branch and the number of classes of its sidecar."""
    if onnx is None or PurePosixPath(file).suffix != ".onnx":
        return
    try:
        graph = onnx.load_model_from_string(archive.read(file))
    except DecodeError as error:
        yield Violation(file, 0, f"not an ONNX graph: {error}", "export it again")
        return
    unreadable = [*_readable(file, graph)]
    yield from unreadable or _loads(file, archive)
    categories = sidecar.get("categories")
    expected = len(categories) + bool(sidecar.get("background")) if categories else 1
    branches = _branches(graph.graph)
    branch = sidecar.get("branch", 0)
    if branch not in range(len(branches)):
        yield Violation(file, 0, f"has {len(branches)} branches, a sidecar names branch {branch}", "build the zip again")
        return
    got = _width(branches[branch], sidecar.get("family", ""))
    if got not in (None, expected):
        yield Violation(file, 0, f"puts out {got} classes, its sidecar lists {expected}", "pack this model's own sidecar")


def _readable(file: str, graph: Any) -> Iterator[Violation]:
    """At most opset MAX_OPSET and IR version MAX_IR, and no tensors in other files. Source: onnxruntime 1.20, the judge's."""
    opsets = [opset.version for opset in graph.opset_import if opset.domain in ("", "ai.onnx")]
    if max(opsets, default=0) > MAX_OPSET:
        yield Violation(file, 0, f"opset {max(opsets)}", f"at most {MAX_OPSET}; export with opset 17")
    if graph.ir_version > MAX_IR:
        yield Violation(file, 0, f"IR version {graph.ir_version}", f"at most {MAX_IR}; set model.ir_version before saving")
    outside = [tensor.name for tensor in graph.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        yield Violation(file, 0, f"{len(outside)} tensors lie in another file", "save it with save_as_external_data=False")


def _loads(file: str, archive: zipfile.ZipFile) -> Iterator[Violation]:
    """The judge's onnxruntime must load the graph with all its operators; not checked where another version is installed."""
    if not onnxruntime.__version__.startswith(RUNTIME):
        return
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(archive.read(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base class
        why = " ".join(str(error).split())
        yield Violation(file, 0, f"onnxruntime {onnxruntime.__version__} refuses it: {why}", "export it with plain operators")


def _branches(graph: Any) -> list[Any]:
    """The graphs that `submission.graphs.joined` has put together in `graph`, or just `graph` itself."""
    joined = SELECT in [graph_input.name for graph_input in graph.input]
    choices = [node for node in graph.node if node.op_type == "If"] if joined else []
    branches = []
    while choices:
        parts = {attribute.name: attribute.g for attribute in choices[0].attribute}
        branches.append(parts["then_branch"])
        graph = parts["else_branch"]
        choices = [node for node in graph.node if node.op_type == "If" and node.input[0].startswith("same")]
    return [*branches, graph]


def _width(graph: Any, family: str) -> int | None:
    """How many classes the graph's first output has; None where that is left open, or the family is not in CLASS_AXIS."""
    if family not in CLASS_AXIS or not graph.output:
        return None
    axis, before = CLASS_AXIS[family]
    dims = graph.output[0].type.tensor_type.shape.dim
    return dims[axis].dim_value - before if len(dims) > axis and dims[axis].dim_value else None


def summary(path: Path) -> str:
    """One line on what the zip holds: files, Python files, weight files and megabytes."""
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
    kinds = [PurePosixPath(info.filename).suffix for info in files]
    counts = f"{len(files)} files, {kinds.count('.py')} Python, {sum(kind in WEIGHTS for kind in kinds)} weights"
    return f"{path}: {counts}, {sum(info.file_size for info in files) / MB:.1f} of {MAX_BYTES // MB} MB"


def main(argv: list[str] | None = None, prog: str = "python -m submission.check") -> int:
    """The command; returns its exit code: 0 accepted, 1 violations, 2 nothing to check."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments and check. Raises ValueError where there is no zip."""
    parser = Parser(prog=prog, description="Check a zip against the judge's limits.")
    parser.add_argument("zip", type=Path, help="the zip to check")
    archive = parser.parse_args(argv).zip
    violations = check(archive)
    if onnx is None:
        print("note: the package onnx is not installed: graphs were not looked into", file=sys.stderr)
    for violation in violations:
        print(violation)
    print(f"{len(violations)} violations: {summary(archive)}" if violations else f"ok: {summary(archive)}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
