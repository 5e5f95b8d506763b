"""A model's graph run by OpenVINO in place of onnxruntime, where the package openvino is installed (extra `[openvino]`).

OpenVINO computes in bfloat16 where the processor can (AMX or AVX512-BF16): 8 bits of precision for 24, so boxes and scores are
close to those of run.py, not equal.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from runs.extras import install

if TYPE_CHECKING:  # they take long to import
    from fusion.models import Model
    from fusion.pipeline import Pipeline
    from recognition.recogniser import Recogniser

REMEDY = f"{install('openvino')}, or leave --openvino out"
# openvino imports its converter of other frameworks' models, and that sends a message over the network, by openvino_telemetry
REPORTING = ("openvino.tools.ovc", "openvino_telemetry")
PRECISIONS = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
QUANTISED = b"DequantizeLinear"  # measured: OpenVINO moved a score of such a graph by 0.33, onnxruntime by 0.06
# chosen: batches of crops have so many sizes: a new size costs as much as 15 crops, and a batch is filled up by half a step
SIZES = 4


def is_installed() -> bool:
    """Whether there is a package openvino."""
    return importlib.util.find_spec("openvino") is not None


def refuse_missing() -> None:
    """Raises ValueError where the package openvino is not installed."""
    if not is_installed():
        raise ValueError(f"--openvino: the package openvino is not installed; {REMEDY}")


def import_openvino() -> Any:
    """The package openvino without what would open the network. Raises ValueError where it cannot be imported."""
    for module in REPORTING:
        sys.modules.setdefault(module, None)  # to `import` it is as if it were not installed
    try:
        import openvino
    except ImportError as error:
        raise ValueError(f"--openvino: {' '.join(str(error).split())}; {REMEDY}") from error
    return openvino


class OpenVinoSession:
    """The graph in a file, compiled for the processor; called as a session of onnxruntime.

    `precision` is what it computes in, as OpenVINO calls it: bf16, f16 or f32.
    """

    def __init__(self, path: Path, threads: int = 0, precision: str | None = None, step: int = 1) -> None:
        """Compile PATH. `threads` 0 stands for one per processor; `precision` f32 or bf16, None for what is fastest here.

        Batches are filled up to a multiple of `step`, since OpenVINO prepares itself for each size that it has not met.
        Raises ValueError where OpenVINO is missing, does not take the graph, or would answer otherwise.
        """
        openvino, self.step = import_openvino(), step
        if QUANTISED in path.read_bytes():
            raise ValueError(
                f"{path}: computes in 8 bits (hylle build --int8), which OpenVINO does otherwise; leave --openvino out"
            )
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads or cv2.getNumberOfCPUs()}
        hints |= {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", hints)
        except RuntimeError as error:
            raise ValueError(f"{path}: OpenVINO {version()} does not take it: {' '.join(str(error).split())}") from error
        self.request = compiled.create_infer_request()
        self.precision: str = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()

    def run(self, names: Sequence[str], feed: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The outputs called `names`, one row for each of the batch, as copies; inputs without axes belong to no row."""
        rows = next(len(array) for array in feed.values() if array.ndim)
        filled = {name: _filled(array, -rows % self.step) for name, array in feed.items()}
        outputs = self.request.infer(filled, share_inputs=True, share_outputs=True)
        return [np.array(outputs[name][:rows]) for name in names]


def _filled(array: npt.NDArray[Any], more: int) -> npt.NDArray[Any]:
    """A batch (B, ...) with `more` rows of zeros; a scalar as it is."""
    return np.pad(array, [(0, more)] + [(0, 0)] * (array.ndim - 1)) if more and array.ndim else array  # (B + more, ...)


def replace_sessions(pipeline: "Pipeline", precision: str | None = None) -> str:
    """Let OpenVINO run every model of a pipeline; models that share a file share a session. Returns what it computes in.

    Raises ValueError as `OpenVinoSession` does.
    """
    sessions: dict[Path, OpenVinoSession] = {}
    steps = [(model, 1) for model in pipeline.detectors]
    named = zip(pipeline.classifiers, pipeline.ensemble.classifiers, strict=True)
    steps += [(model, max(1, member.batch // SIZES)) for model, member in named]
    for model, step in steps:
        path = _graph_of(model)
        sessions[path] = sessions.get(path) or OpenVinoSession(path, pipeline.ensemble.threads, precision, step)
        model.session, model.provider, model.fixed = sessions[path], "OpenVINO", False
    code = next(iter(sessions.values())).precision
    return PRECISIONS.get(code, code)


def _graph_of(model: "Model") -> Path:
    return model.path.with_name(model.sidecar.graph or model.path.name)


def on_openvino(model: "Recogniser") -> "Recogniser":
    """`model` with its graphs run by OpenVINO, in what is fastest here. Raises ValueError as `OpenVinoSession` does."""
    return model._replace(engine=f"OpenVINO in {replace_sessions(model.pipeline)}")


def what_it_means(engine: str) -> str:
    """What is to be known of the numbers that come from `engine`, that of an `on_openvino` model."""
    where = f"OpenVINO {version()}, {engine.removeprefix('OpenVINO ')}, runs the models on the processor"
    line = f"{where}: boxes and scores are close to those of run.py, not equal"
    if engine.endswith("float32"):
        line += "; in float32 nothing is gained: leave --openvino out"
    return line


def version() -> str:
    """That of the package openvino."""
    return str(import_openvino().__version__).partition("-")[0]  # 2026.4.1-21919-... for 2026.4.1
