"""A trained network becomes an ONNX file and its sidecar JSON, or an error when the file does not do what the network does."""

import json
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from fusion.models import normalise
from fusion.views import make_views
from photos.data import Photo, read_image

OPSET = 17  # taken: the judge's onnxruntime 1.20 reads opsets up to 20 and advises 17
MAX_IR_VERSION = 10  # taken: what onnxruntime 1.20 reads
BOX_TOLERANCE = 0.1  # pixels of the canvas
SCORE_TOLERANCE = 1e-4
TIES = 0.02  # chosen: share of what a network ranks highest that rounding may let another thing take the place of


def to_onnx(
    model: torch.nn.Module, example: torch.Tensor, path: Path, dynamic: dict[str, dict[int, str]], mean: Any, std: Any
) -> None:
    """Write `model` to PATH at opset 17, traced on `example` (B, 3, H, W); `dynamic` names the free axes of both ends.

    The file takes photos, not what `model` takes: see `take_photos`, also for `mean` and `std`.
    """
    inputs, outputs = list(dynamic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter calls itself legacy; the newer one writes opset 18 and IR 13
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            (example,),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=[inputs],
            output_names=[outputs],
            dynamic_axes=dynamic,
        )
    graph = onnx.load(str(path))
    graph.ir_version = min(graph.ir_version, MAX_IR_VERSION)
    take_photos(graph, mean, std)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def take_photos(model: onnx.ModelProto, mean: Any, std: Any) -> None:
    """Let a graph that takes float32 (B, 3, H, W) take uint8 (B, H, W, 3), RGB, and normalise by itself, as
    `fusion.models.normalise` does: (pixel / 255 - mean) / std. A quarter of the bytes go in, and on a GPU it does the rest.
    """
    graph, name = model.graph, model.graph.input[0].name
    for node in graph.node:
        node.input[:] = [f"{name}_normalised" if one == name else one for one in node.input]
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
    """Write PATH (.onnx, dynamic batch, and size unless photos are stretched to one) and its sidecar beside it.

    Returns the parity measured on `photos`.

    Raises ValueError, and leaves no file, when ONNX and torch disagree by more than 0.1 px or 1e-4 in score.
    """
    side = int(str(sidecar["size"]))
    example, free = torch.zeros(1, 3, 320, 256), {0: "batch", 2: "height", 3: "width"}
    if sidecar.get("shape") == "stretch":
        example, free = torch.zeros(2, 3, side, side), {0: "batch"}
    axes = {"images": free, "predictions": {0: "batch", 2: "anchors"}}
    to_onnx(model, example, path, axes, sidecar["mean"], sidecar["std"])
    state_rows(path, model, example)
    parity = detector_parity(model, path, sidecar, detector_inputs(photos, sidecar))
    refuse_disagreement(path, parity, {"boxes_px": BOX_TOLERANCE, "scores": SCORE_TOLERANCE, "missing": TIES})
    write_sidecar(path, sidecar)
    return parity


@torch.no_grad()
def state_rows(path: Path, model: torch.nn.Module, example: torch.Tensor) -> None:
    """Write into PATH's graph how many rows, 4 + C, its output has: tracing may leave it open, and the checker counts them."""
    graph = onnx.load(str(path))
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = model(example).shape[1]
    onnx.save(graph, str(path))


def detector_inputs(photos: tuple[Photo, ...], sidecar: dict[str, object], n: int = 3) -> Iterable[np.ndarray]:
    """For each of the first `n` photos its canvases, uint8 (B, H, W, 3): square and as the tight rectangle, or stretched; one,
    and eight of the last at once.
    """
    shapes = ("stretch",) if sidecar.get("shape") == "stretch" else ("square", "rectangle")
    for photo in photos[:n]:
        image = read_image(photo.path, photo.width, photo.height)
        for shape in shapes:
            spec = {"size": sidecar["size"], "shape": shape, "stride": sidecar["stride"]}
            canvas = make_views(spec, photo.width, photo.height)[0].warp(image)
            yield canvas[None]
    if photos[:n]:
        yield np.stack([canvas, *[np.roll(canvas, 8 * k, 1) for k in range(1, 8)]])


def detector_parity(
    model: torch.nn.Module, path: Path, sidecar: dict[str, object], inputs: Iterable[np.ndarray]
) -> dict[str, float]:
    """Largest difference between `model` and the ONNX file over canvases: boxes in pixels of the canvas, scores.

    Where a network ranks what it looks at, `missing` is the share of its best that the other has not ranked so high.
    """
    worst = {"boxes_px": 0.0, "scores": 0.0} | ({} if sidecar["family"] == "yolo" else {"missing": 0.0})
    for ours, theirs in outputs_of_both(model, path, sidecar, inputs):
        if "missing" in worst:
            ours, theirs, missing = same_queries(ours, theirs)
            worst["missing"] = max(worst["missing"], missing)
        worst["boxes_px"] = max(worst["boxes_px"], float(np.abs(ours[:, :4] - theirs[:, :4]).max(initial=0.0)))
        worst["scores"] = max(worst["scores"], float(np.abs(ours[:, 4:] - theirs[:, 4:]).max(initial=0.0)))
    return worst


def same_queries(ours: np.ndarray, theirs: np.ndarray, best: int = 100) -> tuple[np.ndarray, np.ndarray, float]:
    """The `best` queries of `ours` (B, 4 + C, Q) by score, and of `theirs` the nearest to each: both (P, 4 + C, 1).

    Left out, if they are no more than TIES of all, are those that `theirs` has none for; third comes their share.
    Which places of the photo become queries or proposals, and in which order, hangs on scores that may tie; what is found
    there does not.
    """
    order = np.argsort(-ours[:, 4:].max(1), 1, kind="stable")[:, :best]  # (B, K)
    ours = np.take_along_axis(ours, order[:, None], 2)
    apart = np.abs(ours[:, :4, :, None] - theirs[:, :4, None, :]).max(1)  # (B, K, Q)
    apart += 100 * np.abs(ours[:, 4:].max(1)[:, :, None] - theirs[:, 4:].max(1)[:, None])
    theirs = np.take_along_axis(theirs, apart.argmin(2)[:, None], 2)
    differ = np.abs(ours - theirs)  # (B, 4 + C, K)
    found = (differ[:, :4].max(1) <= BOX_TOLERANCE) & (differ[:, 4:].max(1) <= SCORE_TOLERANCE)  # (B, K)
    missing = 1 - float(found.mean())
    found |= missing > TIES
    return ours.transpose(0, 2, 1)[found][..., None], theirs.transpose(0, 2, 1)[found][..., None], missing


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
            raise ValueError(
                f"{path}: ONNX and torch disagree: {name} got {value:.3g}, allowed {allowed[name]:.3g}; no file kept"
            )


def write_sidecar(path: Path, sidecar: dict[str, object]) -> None:
    """Write what run.py must know about the model in PATH into the JSON of the same name."""
    path.with_suffix(".json").write_text(json.dumps(sidecar, indent=1) + "\n")
