"""What one photo costs a detector: parameters and operations counted, calls timed in turns, the memory of a process of its own.

Knows nothing about boxes or names.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from experiments.performance.runtime import turns
from fusion.models import Model
from fusion.views import make_views
from runs.record import ROOT
from stage1_detector import validation

Name = TypeVar("Name")
# A process that imports what run.py needs of a detector, and no torch, and prints what Linux says of its memory.
MEMORY_PROBE = """
import pathlib, sys
import numpy
from fusion.models import Model
Model(pathlib.Path(sys.argv[1]))(numpy.load(sys.argv[2]))
print(pathlib.Path("/proc/self/status").read_text())
"""


class Counted(NamedTuple):
    """Parameters in millions, and 1e9 operations for the images that the network was given."""

    params_m: float
    gflops: float


def canvas_of(model: Model, image: np.ndarray) -> np.ndarray:
    """The canvas that run.py would show `model` of a uint8 RGB photo (H, W, 3): uint8 (1, H', W', 3)."""
    (view,) = make_views(validation.member(model).views[0], image.shape[1], image.shape[0], model.sidecar.shrinking)
    return view.warp(image)[None]


def count_parameters(network: torch.nn.Module) -> int:
    """How many numbers a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def counted(network: torch.nn.Module, images: torch.Tensor) -> Counted:
    """Parameters of `network`, and its operations on `images` (B, 3, H, W): two for each multiplication and addition of its
    convolutions, matrix products and attention. Fused kernels that torch's counter cannot see into are switched off meanwhile.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return Counted(count_parameters(network) / 1e6, counter.get_total_flops() / 1e9)


def milliseconds(calls: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, list[float]]:
    """Milliseconds of each call in each round; each is called once in a round, in an order drawn anew, and once before all."""

    def ignoring_photos(call: Callable[[], object]) -> Callable[[Sequence[Path]], None]:
        def timed(_: Sequence[Path]) -> None:
            call()

        return timed

    seconds = turns({str(i): ignoring_photos(call) for i, call in enumerate(calls.values())}, [Path()], rounds)
    return {name: [1000 * time for time in times] for name, times in zip(calls, seconds.values(), strict=True)}


def peak_mb(path: Path, canvas: np.ndarray) -> float:
    """The peak memory, in MB, of a process that loads the model in PATH and runs it on `canvas` once. Linux only.

    Not by getrusage: its ru_maxrss starts from the memory of the parent process.
    """
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "canvas.npy"
        np.save(file, canvas)
        command = [sys.executable, "-c", MEMORY_PROBE, str(path.resolve()), str(file)]
        status = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (peak,) = re.findall(r"VmHWM:\s+([0-9]+) kB", status)
    return int(peak) * 1024 / 1e6
