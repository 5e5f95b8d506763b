"""An ONNX file and the JSON beside it that says what goes in and what comes out; a callable.

Knows nothing about boxes or names: uint8 canvases in, the graph's raw output out.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime


@dataclass(frozen=True)
class Sidecar:
    """What run.py must know about a model file.

    `task` is detector or classifier and `family` names the decoder. `categories` are the category ids of its class
    columns, in order; None for a class-agnostic detector. `size` is the canvas's long side in pixels, `shape` square or
    rectangle, `stride` what a rectangle's sides are multiples of. `mean` and `std` are those of the training, per RGB
    channel, for pixels in 0..1. Classifier only: `margin` is the context around a box as a fraction of its sides, `fit` is how
    a crop fills its square (`fusion.crops.FITS`), `background` says that one more output, the last, is for what is no product.
    `temperature` divides the logits; then `scale` multiplies and `bias` shifts each column, if given (temperature and vector
    scaling, Guo et al. 2017, arXiv:1706.04599).
    """

    task: str
    family: str
    categories: list[int] | None
    size: int
    mean: list[float]
    std: list[float]
    shape: str = "square"
    stride: int = 32
    max_det: int = 300
    margin: float = 0.0
    fit: str = "letterbox"
    background: bool = False
    temperature: float = 1.0
    scale: list[float] | None = None
    bias: list[float] | None = None


def read_object(path: Path) -> dict[str, Any]:
    """The object in the JSON file at `path`. Raises ValueError, naming it, where it is broken or holds something else."""
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: broken JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: got a {type(values).__name__}, need an object")
    return values


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar JSON at `path`. Raises ValueError for a missing or broken file, an unknown or a missing field."""
    if not path.is_file():
        raise ValueError(f"{path}: sidecar not found; it is written beside the model by the export")
    values = read_object(path)
    known = [field.name for field in fields(Sidecar)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{path}: unknown field {unknown[0]!r}, known: {', '.join(known)}")
    missing = [name for name in known[:6] if name not in values]
    if missing:
        raise ValueError(f"{path}: field {missing[0]!r} is missing")
    return Sidecar(**values)


def normalise(canvases: npt.NDArray[np.uint8], mean: Any, std: Any) -> npt.NDArray[np.float32]:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, (pixel / 255 - mean) / std. One place, for training and judging alike.

    >>> normalise(np.full((1, 1, 1, 3), 255, np.uint8), [0.5] * 3, [0.5] * 3).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    scaled = canvases.astype(np.float32) / np.float32(255)  # (B, H, W, 3)
    scaled = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))  # (B, 3, H, W)


class Model:
    """A loaded model: `model(canvases)` takes uint8 (B, H, W, 3) RGB and returns the graph's first output as float32."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Load PATH and the sidecar beside it; `threads` 0: as onnxruntime chooses. ValueError if missing or broken."""
        if not path.is_file():
            raise ValueError(f"{path}: model file not found")
        self.path = path
        self.sidecar = read_sidecar(path.with_suffix(".json"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime's have no base class of their own
            raise ValueError(f"{path}: not a model that onnxruntime reads: {' '.join(str(error).split())}") from error
        self.provider: str = self.session.get_providers()[0]
        self.input: str = self.session.get_inputs()[0].name
        self.output: str = self.session.get_outputs()[0].name

    def __call__(self, canvases: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The graph's first output for (B, H, W, 3) uint8 RGB canvases."""
        output: npt.NDArray[np.float32] = self.session.run(
            [self.output], {self.input: normalise(canvases, self.sidecar.mean, self.sidecar.std)}
        )[0]
        return output
