"""The sessions of this project's own commands: on the GPU where onnxruntime can use one, and a line where it cannot.

onnxruntime finds CUDA and cuDNN through the libraries that torch has loaded, so torch is imported before the first session, as
`submission/run.py` does; without it all models run on the CPU, and onnxruntime says nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import onnxruntime

from fusion.models import Model, start_session

Say = Callable[[str], None]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def install(say: Say) -> None:
    """From now on each `fusion.models.Model` of this process starts its session by `start`."""
    Model.start = partial(start, say)


def start(say: Say, path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """As `fusion.models.start_session`."""
    knows_cuda = CUDA in onnxruntime.get_available_providers()
    if knows_cuda:
        with suppress(ImportError, OSError, TypeError):
            import torch  # noqa: F401
    session = start_session(path, threads)
    if knows_cuda and session.get_providers()[0] == CPU:
        tell_of_cpu(say)
    return session


@cache
def tell_of_cpu(say: Say) -> None:
    """Say, once in a process, that models run on the CPU although onnxruntime is built for a GPU."""
    what = f"onnxruntime {onnxruntime.__version__} is built for CUDA, but runs the models on the CPU here"
    say(f"{what}; docs/guide/gpu.md says with which torch it finds the GPU")
