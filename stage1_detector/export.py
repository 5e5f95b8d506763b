"""A trained network becomes an ONNX file and its sidecar JSON, or an error when the file does not do what the network does."""

import json
import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from fusion.models import Sidecar, normalise
from fusion.views import make_views
from photos.data import Photo, read_image
from runs.atomic_write import replacing
from stage1_detector import best_boxes

OPSET = 17  # taken: the judge's onnxruntime 1.20 reads opsets up to 20 and advises 17
MAX_IR_VERSION = 10  # taken: what onnxruntime 1.20 reads
BOX_TOLERANCE = 0.1  # pixels of the canvas
SCORE_TOLERANCE = 1e-4
MAX_MISSING = 0.02  # chosen: share of a network's best predictions that rounding may rank lower in the other's output


def to_onnx(
    model: torch.nn.Module, example: torch.Tensor, path: Path, dynamic_axes: dict[str, dict[int, str]], mean: Any, std: Any
) -> None:
    """Write `model` to PATH at opset 17, traced on `example` (B, 3, H, W).

    `dynamic_axes` names the axes of free length, of the input first and then of the output. The file takes photos, not the
    normalised input of `model`: see `take_photos`, also for `mean` and `std`.
    """
    input_name, output_name = list(dynamic_axes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter calls itself legacy; the newer one writes opset 18 and IR 13
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            (example,),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes=dynamic_axes,
        )
    exported = onnx.load(str(path))
    exported.ir_version = min(exported.ir_version, MAX_IR_VERSION)
    take_photos(exported, mean, std)
    onnx.checker.check_model(exported)
    onnx.save(exported, str(path))


def take_photos(model: onnx.ModelProto, mean: Any, std: Any) -> None:
    """Change a graph that takes float32 (B, 3, H, W) to take uint8 (B, H, W, 3), RGB, and to normalise as
    `fusion.models.normalise` does: (pixel / 255 - mean) / std. Its input is a quarter of the bytes, normalised on the GPU.
    """
    graph, name = model.graph, model.graph.input[0].name
    for node in graph.node:
        node.input[:] = [f"{name}_normalised" if tensor == name else tensor for tensor in node.input]
    constants = {"scale": 1 / (255 * np.asarray(std, np.float64)), "shift": -np.asarray(mean, np.float64) / np.asarray(std)}
    for step, values in constants.items():
        array = values.astype(np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(onnx.numpy_helper.from_array(array, f"{name}_{step}"))
    steps = [
        onnx.helper.make_node("Transpose", [name], [f"{name}_planes"], perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Cast", [f"{name}_planes"], [f"{name}_floats"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Mul", [f"{name}_floats", f"{name}_scale"], [f"{name}_scaled"]),
        onnx.helper.make_node("Add", [f"{name}_scaled", f"{name}_shift"], [f"{name}_normalised"]),
    ]
    for i, node in enumerate(steps):
        graph.node.insert(i, node)
    batch, channels, height, width = [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    photos = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, [batch, height, width, channels])
    graph.input[0].CopyFrom(photos)


def export_detector(
    model: torch.nn.Module, path: Path, sidecar: dict[str, object], photos: tuple[Photo, ...]
) -> dict[str, float]:
    """Write PATH (.onnx, dynamic batch, and size unless photos are stretched to one) and its sidecar, both once they are whole.

    Where a network hands back every candidate, the file hands back the best of them, `best` in the sidecar. Returns the
    parity measured on `photos`, before that.

    Raises ValueError, and writes no file, when ONNX and torch disagree by more than 0.1 px or 1e-4 in score.
    """
    with replacing(path, path.with_suffix(".json")) as (graph, beside):
        parity, described = write_graph(model, graph, sidecar, photos)
        beside.write_text(as_text(described))
    return parity


def write_graph(
    model: torch.nn.Module, path: Path, sidecar: dict[str, object], photos: tuple[Photo, ...]
) -> tuple[dict[str, float], dict[str, object]]:
    """Write the graph in PATH; the parity, and the sidecar with `best`. Raises ValueError as `export_detector` does."""
    side = int(str(sidecar["size"]))
    example, input_axes = torch.zeros(1, 3, 320, 256), {0: "batch", 2: "height", 3: "width"}
    if sidecar.get("shape") == "stretch":
        example, input_axes = torch.zeros(2, 3, side, side), {0: "batch"}
    axes = {"images": input_axes, "predictions": {0: "batch", 2: "anchors"}}
    to_onnx(model, example, path, axes, sidecar["mean"], sidecar["std"])
    fix_output_rows(path, model, example)
    parity = detector_parity(model, path, sidecar, detector_inputs(photos, sidecar))
    refuse_disagreement(path, parity, {"boxes_px": BOX_TOLERANCE, "scores": SCORE_TOLERANCE, "missing": MAX_MISSING})
    if sidecar["family"] in best_boxes.FAMILIES:
        max_det = int(str(sidecar.get("max_det", Sidecar.max_det)))
        sidecar = sidecar | {"best": hand_back_best(path, max_det, detector_inputs(photos, sidecar))}
    return parity, sidecar


def hand_back_best(path: Path, max_det: int, inputs: Iterable[np.ndarray]) -> int:
    """Let the graph in PATH hand back only its best candidates, how many is returned: enough for canvases like `inputs`.

    Raises ValueError, and leaves no file, where what it hands back is not what the whole output holds.
    """
    canvases, graph = list(inputs), onnx.load(str(path))
    whole = answers(path, canvases)
    count = best_boxes.how_many(max_det, [int(n) for raw in whole for n in (raw[:, 4:].max(1) > best_boxes.CONF).sum(1)])
    best_boxes.keep_best(graph, count)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))
    for raw, handed_back in zip(whole, answers(path, canvases), strict=True):
        pairs = zip(raw, handed_back, strict=True)
        largest = max((best_boxes.disagreement(everything, best) for everything, best in pairs), default=0.0)
        refuse_disagreement(path, {"of the best": largest}, {"of the best": best_boxes.SCORE_TOLERANCE})
    return count


def answers(path: Path, canvases: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first output of the graph in PATH for each batch of canvases, uint8 (B, H, W, 3)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [session.run(None, {name: canvas})[0] for canvas in canvases]


@torch.no_grad()
def fix_output_rows(path: Path, model: torch.nn.Module, example: torch.Tensor) -> None:
    """Write into PATH's graph how many rows, 4 + C, its output has: tracing may leave it open, and a zip's check reads it."""
    exported = onnx.load(str(path))
    exported.graph.output[0].type.tensor_type.shape.dim[1].dim_value = model(example).shape[1]
    onnx.save(exported, str(path))


def detector_inputs(photos: tuple[Photo, ...], sidecar: dict[str, object], n: int = 3) -> Iterable[np.ndarray]:
    """Batches of canvases, uint8 (B, H, W, 3): of each of the first `n` photos one square and one tight rectangle, or one
    stretched, each a batch of its own; then eight shifted copies of the last in one batch.
    """
    shapes = ("stretch",) if sidecar.get("shape") == "stretch" else ("square", "rectangle")
    for photo in photos[:n]:
        image = read_image(photo.path, photo.width, photo.height)
        for shape in shapes:
            spec = {"size": sidecar["size"], "shape": shape, "stride": sidecar["stride"]}
            (view,) = make_views(spec, photo.width, photo.height, str(sidecar.get("shrinking", Sidecar.shrinking)))
            canvas = view.warp(image)
            yield canvas[None]
    if photos[:n]:
        yield np.stack([canvas, *[np.roll(canvas, 8 * k, 1) for k in range(1, 8)]])


def detector_parity(
    model: torch.nn.Module, path: Path, sidecar: dict[str, object], inputs: Iterable[np.ndarray]
) -> dict[str, float]:
    """Largest difference between `model` and the ONNX file over canvases: boxes in pixels of the canvas, scores.

    In families that select queries or proposals by score, and of a file that hands back the best candidates, `missing` is the
    share of the best that the file does not have.
    """
    in_order = sidecar["family"] in best_boxes.FAMILIES and not best_boxes.hands_back_best(onnx.load(str(path)))
    largest = {"boxes_px": 0.0, "scores": 0.0} | ({} if in_order else {"missing": 0.0})
    for of_torch, of_onnx in outputs_of_both(model, path, sidecar, inputs):
        if "missing" in largest:
            of_torch, of_onnx, missing = same_queries(of_torch, of_onnx)
            largest["missing"] = max(largest["missing"], missing)
        largest["boxes_px"] = max(largest["boxes_px"], float(np.abs(of_torch[:, :4] - of_onnx[:, :4]).max(initial=0.0)))
        largest["scores"] = max(largest["scores"], float(np.abs(of_torch[:, 4:] - of_onnx[:, 4:]).max(initial=0.0)))
    return largest


def same_queries(a: np.ndarray, b: np.ndarray, best: int = 100) -> tuple[np.ndarray, np.ndarray, float]:
    """The `best` queries of `a` (B, 4 + C, Q) by score, and the nearest in `b` to each: both (P, 4 + C, 1).

    Those without an equal in `b` are left out if they are no more than MAX_MISSING of all; their share is returned third.
    Which places of the photo become queries or proposals, and in which order, depends on scores that may tie; the prediction
    for such a place does not.
    """
    order = np.argsort(-a[:, 4:].max(1), 1, kind="stable")[:, :best]  # (B, K)
    a = np.take_along_axis(a, order[:, None], 2)  # (B, 4 + C, K)
    distance = np.abs(a[:, :4, :, None] - b[:, :4, None, :]).max(1)  # (B, K, Q)
    distance += 100 * np.abs(a[:, 4:].max(1)[:, :, None] - b[:, 4:].max(1)[:, None])
    b = np.take_along_axis(b, distance.argmin(2)[:, None], 2)  # (B, 4 + C, K)
    difference = np.abs(a - b)  # (B, 4 + C, K)
    equal = (difference[:, :4].max(1) <= BOX_TOLERANCE) & (difference[:, 4:].max(1) <= SCORE_TOLERANCE)  # (B, K)
    missing = 1 - float(equal.mean())
    kept = equal | (missing > MAX_MISSING)
    return a.transpose(0, 2, 1)[kept][..., None], b.transpose(0, 2, 1)[kept][..., None], missing


def outputs_of_both(
    model: torch.nn.Module, path: Path, sidecar: dict[str, object], inputs: Iterable[np.ndarray]
) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """The output of `model` and of the ONNX file at `path` for each canvas, uint8 (B, H, W, 3), of `inputs`."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for canvas in inputs:
        array = normalise(canvas, sidecar["mean"], sidecar["std"])
        with torch.no_grad():
            yield model(torch.from_numpy(array)).numpy(), session.run(None, {session.get_inputs()[0].name: canvas})[0]


def refuse_disagreement(path: Path, parity: dict[str, float], allowed: dict[str, float]) -> None:
    """Delete PATH and raise ValueError when a difference is above what is allowed, or not a number."""
    for name, value in parity.items():
        if not value <= allowed[name]:
            path.unlink()
            shown = path.with_name(path.name.partition(".onnx")[0] + ".onnx")  # the unfinished one has a longer name
            raise ValueError(
                f"{shown}: ONNX and torch disagree: {name} got {value:.3g}, allowed {allowed[name]:.3g}; no file kept"
            )


def write_sidecar(path: Path, sidecar: dict[str, object]) -> None:
    """Write what run.py must know about the model in PATH into the JSON beside it of the same name."""
    with replacing(path.with_suffix(".json")) as (unfinished,):
        unfinished.write_text(as_text(sidecar))


def as_text(sidecar: dict[str, object]) -> str:
    """A sidecar as its file holds it."""
    return json.dumps(sidecar, indent=1) + "\n"
