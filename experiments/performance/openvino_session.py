"""A model's graph run by OpenVINO in place of onnxruntime, where the package openvino is installed, to be timed.

OpenVINO computes in bfloat16 where the processor can (AMX or AVX512-BF16): 8 bits of precision for 24, so boxes and scores are
close to those of run.py, not equal.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion.models import Model
from fusion.pipeline import Pipeline

try:
    import openvino
except ImportError:  # then it is not measured
    openvino = None


def is_installed() -> bool:
    """Whether there is an OpenVINO to measure."""
    return openvino is not None


class OpenVinoSession:
    """The graph in a file, compiled for the processor; called as a session of onnxruntime."""

    def __init__(self, path: Path, threads: int = 0, precision: str | None = None) -> None:
        """Compile PATH. `threads` 0 stands for one per processor; `precision` f32 or bf16, None for what is fastest here.

        Raises ValueError where OpenVINO does not take the graph.
        """
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads or cv2.getNumberOfCPUs()}
        hints |= {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
        try:
            self.request = openvino.Core().compile_model(str(path), "CPU", hints).create_infer_request()
        except RuntimeError as error:
            raise ValueError(
                f"{path}: OpenVINO {openvino.__version__} does not take it: {' '.join(str(error).split())}"
            ) from error

    def run(self, names: Sequence[str], feed: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The outputs called `names` for the inputs `feed`, as copies."""
        outputs = self.request.infer(dict(feed))
        return [np.array(outputs[name]) for name in names]


def replace_sessions(pipeline: Pipeline, precision: str | None = None) -> None:
    """Let OpenVINO run every model of a pipeline; models that share a file share a session. Raises ValueError as above."""
    sessions: dict[Path, OpenVinoSession] = {}
    for model in (*pipeline.detectors, *pipeline.classifiers):
        path = _graph_of(model)
        sessions[path] = sessions.get(path) or OpenVinoSession(path, pipeline.ensemble.threads, precision)
        model.session = sessions[path]


def _graph_of(model: Model) -> Path:
    return model.path.with_name(model.sidecar.graph or model.path.name)
