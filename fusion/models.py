"""A model as a callable: an ONNX file, and its sidecar, the JSON beside it that describes input and output.

A model knows nothing about boxes or categories: uint8 canvases in, the graph's raw output out. What is made of a classifier's
answers before the gate sees them is here too: calibrated, blended with prototypes, and judged by the sizes of the boxes.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from fusion.boxes import Detections, log_sizes, nearness, scale_around, uncut

Floats = npt.NDArray[np.float32]

MOST_DEVIATION = 9.0  # chosen: squared deviations of a size beyond 3 spreads count as 3, as a box may be drawn wrongly
LIKELY = 1e-3  # chosen: a name that is less probable than this is not judged by size, which takes a tenth of the time then
SELECT = "select"  # the first input of a graph with several branches: the number of the branch that runs


@dataclass(frozen=True)
class Sidecar:
    """What run.py must know about a model file.

    `task` is detector or classifier and `family` names the decoder. `categories` are the category ids of its class
    columns, in order; None for a class-agnostic detector. `size` is the canvas's long side in pixels, `shape` square or
    rectangle, `stride` what a rectangle's sides are multiples of. `mean` and `std` are those of the training, per RGB
    channel, for pixels in 0..1.

    Detector only: `shrinking` is how photos were shrunk to canvases in its training (`fusion.views.SHRINKINGS`), and are at
    judgment; older sidecars do not have it. `best`, if given, is how many candidates, the best by class, the graph gives.

    Classifier only: `margin` is the context around a box as a fraction of its sides, `fit` is how a crop fills its square
    (`fusion.views.FITS`), `background` says that the last output, after those of `categories`, is for "no product".
    `temperature` divides the logits; then `scale` multiplies and `bias` shifts each column, if given (temperature and vector
    scaling, Guo et al. 2017, arXiv:1706.04599).

    Classifier only: with `prototype_weights`, one for each of `categories`, and `prototype_temperature` > 0 the output has,
    after the logits, the cosine of the crop's embedding and each name's prototype; probabilities are `blended` with them.

    `graph` and `branch`: where the model has no file of its own, the file beside the sidecar that holds it as one of several
    branches, and which (`submission.graphs.joined`).
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
    graph: str | None = None
    branch: int = 0
    best: int | None = None
    prototype_temperature: float = 0.0
    prototype_weights: list[float] | None = None
    shrinking: str = "linear"

    @property
    def columns(self) -> int:
        """How many columns a classifier's output has: names, background and cosines to prototypes.

        >>> Sidecar("classifier", "timm", [1, 2], 64, [], [], background=True, prototype_weights=[0.5, 0.0]).columns
        5
        """
        return len(self.categories or []) + self.background + len(self.prototype_weights or [])


def read_object(path: Path) -> dict[str, Any]:
    """The object in the JSON file at `path`. Raises ValueError, with the path, where it is not JSON or not an object."""
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
    known = [known_field.name for known_field in fields(Sidecar)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{path}: unknown field {unknown[0]!r}, known: {', '.join(known)}")
    if missing := [name for name in known[:6] if name not in values]:
        raise ValueError(f"{path}: field {missing[0]!r} is missing")
    for name, kind in (("categories", list), ("prototype_weights", list), ("prototype_temperature", int | float)):
        if not isinstance(values.get(name), kind | None):
            raise ValueError(f"{path}: {name}: got {values[name]!r}, need a {'list' if kind is list else 'number'}")
    side = Sidecar(**values)
    weights, names = side.prototype_weights, len(side.categories or [])
    if weights is not None and (len(weights) != names or not (side.prototype_temperature or 0) > 0):
        got = f"{len(weights)} and prototype_temperature {side.prototype_temperature}"
        raise ValueError(f"{path}: prototype_weights: got {got}, need one for each of {names} categories, and one above 0")
    return side


def normalise(canvases: npt.NDArray[np.uint8], mean: Any, std: Any) -> npt.NDArray[np.float32]:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, (pixel / 255 - mean) / std. One place, for training and judging alike.

    >>> normalise(np.full((1, 1, 1, 3), 255, np.uint8), [0.5] * 3, [0.5] * 3).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    scaled = canvases.astype(np.float32) / np.float32(255)  # (B, H, W, 3)
    scaled = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))  # (B, 3, H, W)


def calibrated(logits: npt.NDArray[np.floating[Any]], side: Sidecar) -> npt.NDArray[np.float32]:
    """Logits (N, C) -> probabilities (N, C), float32, rows summing to 1: softmax(logits / temperature x scale + bias).

    Where the sidecar has `prototype_weights`, the last columns are cosines, which are `blended` in; the result is without them.
    A row with a logit that is NaN or inf, or with none that is finite, is NaN: the model has no answer.
    """
    if side.prototype_weights is not None:
        width = logits.shape[1] - len(side.prototype_weights)
        plain = calibrated(logits[:, :width], replace(side, prototype_weights=None))  # (N, C)
        return blended(plain, logits[:, width:], side.prototype_weights, side.prototype_temperature)
    scaled = logits.astype(np.float64) / side.temperature
    scaled = scaled * np.asarray(side.scale or 1.0) + np.asarray(side.bias or 0.0)
    with np.errstate(invalid="ignore"):  # inf - inf
        powers = np.exp(scaled - scaled.max(1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def blended(
    probabilities: npt.NDArray[np.float32], cosines: npt.NDArray[np.floating[Any]], weights: Sequence[float], temperature: float
) -> npt.NDArray[np.float32]:
    """Probabilities (N, C) or, with background, (N, C + 1) mixed with votes, softmax(cosines / temperature) (N, C), by name.

    A name of weight w in [0, 1] gets w x its vote; the share of the votes that counts so is taken from the probabilities, in
    proportion. All names together stay as probable as they are, and background too. A crop whose votes are for names of weight
    0 keeps its probabilities.

    >>> blended(np.array([[0.5, 0.0, 0.5]], np.float32), np.array([[0.0, 9.0]]), [0.0, 0.5], 0.1).round(2).tolist()
    [[0.25, 0.25, 0.5]]
    """
    names = cosines.shape[1]
    plain, scaled = probabilities[:, :names].astype(np.float64), cosines.astype(np.float64) / temperature  # (N, C)
    with np.errstate(invalid="ignore"):  # inf - inf
        powers = np.exp(scaled - scaled.max(1, keepdims=True, initial=-np.inf))
    counted = np.asarray(weights, np.float64) * powers / powers.sum(1, keepdims=True)  # (N, C)
    mixed = (1 - counted.sum(1, keepdims=True)) * plain + counted * plain.sum(1, keepdims=True)
    return np.concatenate([mixed.astype(np.float32), probabilities[:, names:]], 1)


def start_session(path: Path, threads: int = 0, cpu: bool = False) -> onnxruntime.InferenceSession:
    """A session of the graph in PATH, on the GPU where there is one, unless `cpu`; `threads` 0 stands for one per processor.

    Raises ValueError where the file is missing or onnxruntime does not read it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: model file not found")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cv2.getNumberOfCPUs()
    options.log_severity_level = 3
    # measured: threads that spin while they wait take 12 to 18 % of two cores from the next model
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # the default search for cuDNN's best algorithm takes 0.6 s at each new shape
    preferred = [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}), ("CPUExecutionProvider", {})]
    providers = [pair for pair in preferred[int(cpu) :] if pair[0] in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise ValueError(f"{path}: not a model that onnxruntime reads: {' '.join(str(error).split())}") from error


class Model:
    """A loaded model: `model(canvases)` takes uint8 (B, H, W, 3) RGB and returns the graph's first output as float32.

    A graph that takes uint8 normalises by itself; for one that takes float32 (B, 3, H, W) it is done here. `not_finite` counts
    the numbers in its outputs so far that are NaN or infinite, `full_answers` the outputs of a detector whose last candidate
    still counts, so that others may have been kept back (`Sidecar.best`). `start` starts sessions (`runs.gpu_sessions`).
    """

    start: ClassVar[Callable[[Path, int], onnxruntime.InferenceSession]] = staticmethod(start_session)

    def __init__(self, path: Path, threads: int = 0, sessions: dict[Path, onnxruntime.InferenceSession] | None = None) -> None:
        """Load PATH and the sidecar beside it; ValueError if missing, broken, or a classifier's of different columns.

        `threads` as in `start_session`. `sessions` holds the sessions started so far, by file, so that models which share a
        file share its session; a session that is started here is added.
        """
        self.path = path
        if not path.is_file() and not path.with_suffix(".json").is_file():
            raise ValueError(f"{path}: model file not found")
        self.sidecar = read_sidecar(path.with_suffix(".json"))
        file = path.with_name(self.sidecar.graph or path.name)
        shared = {} if sessions is None else sessions
        self.session = shared.get(file) or Model.start(file, threads)
        shared[file] = self.session
        images, output = self.session.get_inputs()[-1], self.session.get_outputs()[0]
        columns, width = self.sidecar.columns, output.shape[-1] if self.sidecar.task == "classifier" else None
        if isinstance(width, int) and width != columns:
            remedy = "take back an enrolling that was stopped (hylle enroll ... --undo), or train it again"
            raise ValueError(f"{path}: got {width} columns, its sidecar tells of {columns}: not of one model; {remedy}")
        self.input, self.output = str(images.name), str(output.name)
        self.provider: str = self.session.get_providers()[0]
        self.fixed = self.provider != "CPUExecutionProvider"  # batches keep one size, since a new size costs time on a GPU
        self.normalises = images.type == "tensor(uint8)"
        self.not_finite, self.full_answers = 0, 0
        self._branch = {} if self.sidecar.graph is None else {SELECT: np.array(self.sidecar.branch, np.int64)}

    def __call__(self, canvases: npt.NDArray[np.uint8], output: str = "") -> npt.NDArray[np.float32]:
        """The graph's first output, or the one called `output`, for (B, H, W, 3) uint8 RGB canvases.

        Raises ValueError where it is not one for each canvas.
        """
        images = canvases if self.normalises else normalise(canvases, self.sidecar.mean, self.sidecar.std)
        result: npt.NDArray[np.float32] = self.session.run([output or self.output], {self.input: images, **self._branch})[0]
        if result.shape[:1] != canvases.shape[:1]:
            raise ValueError(f"{self.path}: got an output of shape {result.shape}, must be ({len(canvases)}, ...)")
        self.not_finite += int(result.size - np.count_nonzero(np.isfinite(result)))
        return result


def mean(probabilities: list[Floats], weights: list[float]) -> Floats:
    """The weighted mean of several probabilities, each (N, C).

    A row that is missing in some (NaN) is the mean of the others, and missing (NaN) where none has it.
    """
    shares = np.asarray(weights, np.float64) / sum(weights)
    total = np.asarray(sum(p * share for p, share in zip(probabilities, shares, strict=True)), np.float32)
    for row in np.flatnonzero(np.isnan(total).any(1)):
        known = [(p[row], w) for p, w in zip(probabilities, weights, strict=True) if w > 0 and not np.isnan(p[row]).any()]
        total[row] = sum(p * w for p, w in known) / sum(w for _, w in known) if known else np.nan
    return total


@dataclass(frozen=True)
class Sizes:
    """How large the packs of each name are beside their neighbours: evidence between look-alikes that differ in size.

    A pack's size is the log of its box's `measure` in pixels: "height", or "side", the root of the area, for packs that lie in
    any direction. `means` and `spreads` (C,) are those of each name's sizes less the scale around them (`scale_around`); a name
    after the last is of any size. `reach` as in `nearness`. The likelihood counts to the power `weight`; 0: not at all.
    """

    weight: float = 0.0
    measure: str = "height"
    reach: float = 3.0
    means: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)

    def of_names(self, count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Means and variances of `count` names, (count,) and (count,)."""
        means, variances = np.array(self.means[:count]), np.array(self.spreads[:count]) ** 2
        unknown = (0, count - len(means))
        any_size = float(variances.mean() + means.var())
        return np.pad(means, unknown, constant_values=means.mean()), np.pad(variances, unknown, constant_values=any_size)


def sized(probabilities: Floats, merged: Detections, sizes: Sizes, width: float, height: float) -> Floats:
    """Probabilities (N, C) times the likelihood of each box's size under each name, on a photo of `width` and `height` pixels.

    The scale around a box is what its neighbours are larger than expected of their names; the surer those are, the more it
    counts. The names of a box above LIKELY keep their sum, and others stay as they are, as do rows of NaN and boxes that the
    photo's edge may have cut, which do not count as neighbours either.
    """
    if not sizes.weight or not sizes.means:
        return probabilities
    with np.errstate(invalid="ignore"):  # NaN
        likely = (probabilities > LIKELY) & uncut(merged.boxes, width, height)[:, None]  # (N, C)
    named = np.flatnonzero(likely.any(1))  # (K,), the boxes that have a say
    rows, names = np.divmod(np.flatnonzero(likely[named]), probabilities.shape[1])  # (P,), (P,); np.nonzero is slower
    p, boxes = probabilities[named[rows], names].astype(np.float64), merged.boxes[named]  # (P,), (K, 4)
    means, variances = (values[names] for values in sizes.of_names(probabilities.shape[1]))  # (P,)

    def per_box(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.bincount(rows, values, len(named)), np.float64)  # (K,)

    mass, log_size = per_box(p), log_sizes(boxes, sizes.measure)
    expected = per_box(p * means) / mass
    variance = per_box(p * (variances + (means - expected[rows]) ** 2)) / mass
    precisions = merged.scores[named] * mass / variance
    scale, doubt = scale_around(nearness(boxes, sizes.reach), log_size - expected, precisions)
    total = variances + doubt[rows]
    deviation = ((log_size - scale)[rows] - means) ** 2 / total
    weighed = p * np.exp(-0.5 * sizes.weight * (np.minimum(deviation, MOST_DEVIATION) + np.log(total)))
    result = probabilities.copy()
    result[named[rows], names] = weighed * (mass / per_box(weighed))[rows]
    return result
