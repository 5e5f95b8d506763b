"""The models of a zip: ensemble.json, the files that it names, their sidecars and graphs, read as `fusion/` will read them.

- `model_files`: ensemble.json is missing or malformed, or its models and the packed files differ; of a zip that is not built on
  `fusion/` only whether onnxruntime reads its graphs (`_foreign_graphs`);
- `submission.method`: its numbers, or those of a sidecar, are such that `fusion/` fails or finds nothing;
- `_class_map`: a model's categories are not those of ensemble.json;
- `_check_graph`: a graph does not fit its sidecar or its views, or onnxruntime 1.20 does not read it (`_readable`, `_loads`).
"""

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import onnxruntime

from fusion.ensemble import Ensemble, parse
from fusion.models import SELECT, Sidecar, read_object, read_sidecar
from fusion.views import View
from submission.entries import MAX_BYTES, Entry
from submission.method import canvas_problems, canvases_of, ensemble_problems, sidecar_problems, trial_problem
from submission.rules import WEIGHTS, built_on_fusion
from submission.violation import Violation

try:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
except ImportError:  # then graphs are not checked, and `main` says so
    onnx = None

RUNTIME = "1.20."  # the judge's onnxruntime
MAX_OPSET = 20  # of onnxruntime 1.20
MAX_IR = 10  # likewise; newer exporters write a higher one by default
ENSEMBLE = "ensemble.json"

# Where a graph's first output holds the class scores: the axis, and how many columns of it come before them.
CLASS_AXIS = {"yolo": (1, 4), "rtdetr": (1, 4), "rcnn": (1, 4), "retinanet": (1, 4), "timm": (1, 0)}


def can_read_graphs() -> bool:
    """Whether graphs are looked into: the package onnx, an extra, is installed."""
    return onnx is not None


class PackedModel(NamedTuple):
    """One model that ensemble.json names: its own name, the files of its sidecar and graph, and the canvases it is shown."""

    file: str
    task: str
    sidecar: str
    graph: str
    side: Sidecar
    canvases: list[View]


def model_files(archive: zipfile.ZipFile, entries: list[Entry]) -> Iterator[Violation]:
    """ensemble.json, the models it names, their sidecars and graphs; graphs alone where the zip is not built on `fusion/`.

    Source: what `fusion.pipeline` needs to load the ensemble.
    """
    by_name = {entry.name: entry for entry in entries}
    if not built_on_fusion(entries):
        yield from _foreign_graphs(archive, entries)
        return
    if ENSEMBLE not in by_name:
        yield Violation(ENSEMBLE, 0, "is missing", "pack it; hylle build does")
        return
    with tempfile.TemporaryDirectory() as folder:
        texts = {name: entry.text for name, entry in by_name.items() if name.endswith(".json") and entry.text is not None}
        try:
            ensemble = parse(read_object(_file(Path(folder), texts[ENSEMBLE])))
        except (ValueError, KeyError) as error:
            yield Violation(ENSEMBLE, 0, _without(folder, error), "mend the field")
            return
        problems = [*ensemble_problems(ensemble)]
        problems += [problem for problem in (trial_problem(ensemble),) if problem and not problems]
        yield from (Violation(ENSEMBLE, 0, problem, "mend the field") for problem in problems)
        yield from _models(ensemble, by_name, texts, Path(folder), archive)


def _foreign_graphs(archive: zipfile.ZipFile, entries: list[Entry]) -> Iterator[Violation]:
    """Graphs of another method: they must be such that onnxruntime reads them; mere limits are a warning where it does here."""
    for entry in entries:
        if entry.suffix != ".onnx" or entry.damage or entry.is_bomb or entry.size > MAX_BYTES:
            continue
        graph = _graph(entry.name, archive) if onnx else None
        if isinstance(graph, Violation):
            yield graph
        elif graph is not None:
            beyond, refusals = [*_readable(entry.name, graph)], [*_loads(entry.name, archive)]
            is_fine = not refusals and onnxruntime.__version__.startswith(RUNTIME)
            yield from (replace(one, warning=is_fine) for one in beyond or refusals)


def _file(folder: Path, text: bytes) -> Path:
    """`text` as a file, for the judge's readers."""
    path = folder / "read.json"
    path.write_bytes(text)
    return path


def _without(folder: str, error: Exception) -> str:
    """The message of `error` without the temporary path in it."""
    return str(error).replace(f"{folder}/read.json: ", "")


def _models(
    ensemble: Ensemble, entries: Mapping[str, Entry], texts: Mapping[str, bytes], folder: Path, archive: zipfile.ZipFile
) -> Iterator[Violation]:
    """Every model that `ensemble` names, and every weight file that it does not."""
    members = {member.file: "classifier" for member in ensemble.classifiers} | {m.file: "detector" for m in ensemble.detectors}
    graphs = set()
    for file, task in sorted(members.items()):
        if not PurePosixPath(file).name:
            yield Violation("ensemble.json", 0, f"file of a {task}: got {file!r}", "name its .onnx file in the zip")
            continue
        sidecar = str(PurePosixPath(file).with_suffix(".json"))
        try:
            side = read_sidecar(_file(folder, texts[sidecar])) if sidecar in texts else None
        except ValueError as error:
            yield Violation(sidecar, 0, _without(str(folder), error), "export the model again")
            graphs.add(file)
            continue
        graph = _graph_of(file, side)
        graphs.add(graph)
        absent = [name for name in (graph, sidecar) if name not in entries]
        for name in absent:
            yield Violation(name, 0, f"is missing; {ENSEMBLE} names {file}", "pack it")
        if side is not None and not absent:
            yield from _one_model(
                PackedModel(file, task, sidecar, graph, side, _canvases(ensemble, file)), ensemble, entries, archive
            )
    for entry in entries.values():
        if entry.suffix in WEIGHTS and entry.name not in graphs:
            yield Violation(entry.name, 0, f"not named in {ENSEMBLE}", "leave it out; it would only take a weight file's place")


def _canvases(ensemble: Ensemble, file: str) -> list[View]:
    """The canvases that the detector `file` is shown; those that cannot be made are left out, and told elsewhere."""
    canvases: list[View] = []
    for spec in (spec for member in ensemble.detectors if member.file == file for spec in member.views):
        try:
            canvases += canvases_of(spec)
        except Exception:  # told by `ensemble_problems`
            continue
    return canvases


def _one_model(
    model: PackedModel, ensemble: Ensemble, entries: Mapping[str, Entry], archive: zipfile.ZipFile
) -> Iterator[Violation]:
    problems = [*sidecar_problems(model.side, model.task)]
    yield from (Violation(model.sidecar, 0, problem, "export the model again") for problem in problems)
    if not problems:
        yield from _class_map(model.sidecar, model.side, ensemble)
        entry = entries[model.graph]
        if not entry.damage and not entry.is_bomb:
            yield from _check_graph(model, archive)


def _graph_of(file: str, side: Sidecar | None) -> str:
    """The weight file of the model `file`: its own, or the one that it shares."""
    return str(PurePosixPath(file).parent / str(side.graph)) if side and side.graph else file


def _class_map(file: str, side: Sidecar, ensemble: Ensemble) -> Iterator[Violation]:
    """A model's categories must be those of ensemble.json in their order, or the first of them. Source: `fusion.pipeline`."""
    categories = side.categories
    if categories is not None and categories != ensemble.categories[: len(categories)]:
        what = f"{len(categories)} categories, and not the {len(ensemble.categories)} of {ENSEMBLE} in their order"
        yield Violation(file, 0, what, "train the models on one data set")


def _graph(file: str, archive: zipfile.ZipFile) -> Any:
    """The graph in `file`; a violation where it holds none."""
    try:
        return onnx.load_model_from_string(archive.read(file))
    except DecodeError as error:
        return Violation(file, 0, f"not an ONNX graph: {error}", "export it again")


def _check_graph(model: PackedModel, archive: zipfile.ZipFile) -> Iterator[Violation]:
    """A weight file must be a graph that onnxruntime reads, with the branch, size and number of classes of its sidecar."""
    file, side = model.graph, model.side
    if onnx is None or PurePosixPath(file).suffix != ".onnx":
        return
    graph = _graph(file, archive)
    if isinstance(graph, Violation):
        yield graph
        return
    unreadable = [*_readable(file, graph)]
    yield from unreadable or _loads(file, archive)
    branches = _branches(graph.graph)
    if side.branch not in range(len(branches)):
        yield Violation(file, 0, f"has {len(branches)} branches, a sidecar names branch {side.branch}", "build the zip again")
        return
    expected = side.columns or 1
    got = _width(branches[side.branch], side.family)
    if got not in (None, expected):
        yield Violation(file, 0, f"puts out {got} classes, its sidecar lists {expected}", "pack this model's own sidecar")
    dims = _canvas_dims(graph.graph)
    for problem in canvas_problems(side, model.canvases, dims):
        yield Violation(ENSEMBLE, 0, f"{model.file}: {problem}", "mend the size of its views")
    if side.task == "classifier" and any(dim not in (None, side.size) for dim in dims):
        what = f"size: got {side.size}, the model takes crops of {dims[1] or 'any'} x {dims[0] or 'any'} pixels"
        yield Violation(model.sidecar, 0, what, "pack this model's own sidecar")


def _canvas_dims(graph: Any) -> tuple[int | None, int | None]:
    """Height and width of the canvas that a graph takes; None where it takes any."""
    dims = [dim.dim_value or None for dim in graph.input[-1].type.tensor_type.shape.dim] if graph.input else []
    if len(dims) != 4:
        return None, None
    is_uint8 = graph.input[-1].type.tensor_type.elem_type == onnx.TensorProto.UINT8  # then (B, H, W, 3), else (B, 3, H, W)
    return (dims[1], dims[2]) if is_uint8 else (dims[2], dims[3])


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
