"""Sessions of onnxruntime: where each node of a graph runs, and how long a run takes."""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnxruntime
import torch  # noqa: F401  # first: onnxruntime finds CUDA and cuDNN through its libraries

from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate
from experiments.gpu.scale import CPU, GPU, Work
from fusion.models import start_session

WARM_UP = 3  # chosen: runs that are not timed
HEAVY = {"Conv", "ConvTranspose", "MatMul", "Gemm", "Attention", "Einsum"}  # what a GPU is for
REMEDY = (
    "install onnxruntime-gpu in place of onnxruntime, and a torch built for the same CUDA, whose libraries it loads: "
    "12 for the judge's 1.20.0 (docs/guide/gpu.md)"
)


class Placement(NamedTuple):
    """How many nodes of a graph run on each provider, and how many of each operator on the CPU."""

    nodes: Counter[str]
    on_cpu: Counter[str]

    @property
    def share_on_gpu(self) -> float:
        """The share of all nodes that run on the GPU; 0 without nodes."""
        return self.nodes[GPU] / max(1, sum(self.nodes.values()))

    @property
    def in_words(self) -> str:
        """The nodes by provider, and what is on the CPU.

        >>> Placement(Counter({"CUDAExecutionProvider": 9, "CPUExecutionProvider": 2}), Counter(Gather=2)).in_words
        '9 nodes on CUDA, 2 on CPU (Gather 2)'
        """
        counts = ", ".join(
            f"{count}{' nodes' * (i == 0)} on {name.removesuffix('ExecutionProvider')}"
            for i, (name, count) in enumerate(self.nodes.most_common())
        )
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.on_cpu.most_common(8))
        return f"{counts or 'no nodes'}{f' ({kinds})' if kinds else ''}"


def refuse_fallback(path: Path, work: Work) -> None:
    """Raises ValueError where the session that run.py would start for PATH is not on the provider that `work` needs.

    onnxruntime falls back to the CPU without a word where CUDA's libraries are missing or of another version.
    """
    available = onnxruntime.get_available_providers()
    if work.provider not in available:
        raise ValueError(f"onnxruntime {onnxruntime.__version__} has no CUDA, only {', '.join(available)}: {REMEDY}")
    first = start_session(path).get_providers()[0]
    if first != work.provider:
        raise ValueError(f"{path.name}: onnxruntime has CUDA and falls back to {first} without a word: {REMEDY}")


def session(path: Path, provider: str, search: str = "HEURISTIC", profile: str = "") -> onnxruntime.InferenceSession:
    """A session of PATH as run.py starts it, on `provider`; `search` is cuDNN's, `profile` begins a profile's name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = cv2.getNumberOfCPUs()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    cuda = [(GPU, {"cudnn_conv_algo_search": search})] if provider == GPU else []
    return onnxruntime.InferenceSession(str(path), options, providers=[*cuda, CPU])


def placement(path: Path, canvases: np.ndarray, work: Work) -> Placement:
    """Where the nodes of PATH run, by onnxruntime's own profile of one run on uint8 `canvases` (B, H, W, 3)."""
    with tempfile.TemporaryDirectory() as folder:
        profiled = session(path, work.provider, profile=f"{folder}/profile")
        profiled.run(None, {profiled.get_inputs()[0].name: canvases})
        return placed(json.loads(Path(profiled.end_profiling()).read_text()))


def placed(events: list[dict[str, Any]]) -> Placement:
    """The placement that a profile's events tell of, each node counted once.

    >>> run = {"cat": "Node", "name": "a_kernel_time", "args": {"provider": "CPUExecutionProvider", "op_name": "Add"}}
    >>> placed([run, run, {"cat": "Session", "name": "model_run"}])
    Placement(nodes=Counter({'CPUExecutionProvider': 1}), on_cpu=Counter({'Add': 1}))
    """
    runs = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    by_name = {event["name"]: (event["args"]["provider"], event["args"]["op_name"]) for event in runs}
    nodes = Counter(provider for provider, _ in by_name.values())
    return Placement(nodes, Counter(kind for provider, kind in by_name.values() if provider == CPU))


def refuse_heavy_on_cpu(path: Path, found: Placement, work: Work) -> None:
    """Raises ValueError where convolutions or matrix products of PATH run on the CPU though there is a GPU."""
    heavy = {kind: count for kind, count in found.on_cpu.items() if kind in HEAVY}
    if work.provider == GPU and (heavy or not found.nodes[GPU]):
        raise ValueError(f"{path.name}: {found.in_words}: what a GPU is for runs on the CPU")


def milliseconds(call: Callable[[], object], repeats: int) -> Estimate:
    """Milliseconds of a call: the mean of `repeats` after WARM_UP, and its 95 % interval."""
    times = []
    for i in range(WARM_UP + repeats):
        started = time.perf_counter()
        call()
        if i >= WARM_UP:
            times.append(1000 * (time.perf_counter() - started))
    return over_seeds(times)


def ratio_of_turns(
    above: Callable[[], object], below: Callable[[], object], repeats: int
) -> tuple[Estimate, Estimate, Estimate]:
    """How many times as long `above` takes as `below`, timed in turns, and the milliseconds of each."""
    times: list[tuple[float, float]] = []
    for i in range(WARM_UP + repeats):
        stamps = [time.perf_counter()]
        for call in (above, below):
            call()
            stamps.append(time.perf_counter())
        if i >= WARM_UP:
            times.append((1000 * (stamps[1] - stamps[0]), 1000 * (stamps[2] - stamps[1])))
    ratios = over_seeds([a / b for a, b in times])
    return ratios, over_seeds([a for a, _ in times]), over_seeds([b for _, b in times])
