"""Processes of this machine that train together, as torchrun starts them: what a function returns in each of them."""

import io
import multiprocessing
import os
import pickle
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from runs.distributed import distributed_training


class Runtime(NamedTuple):
    """With how many threads torch computes, and the most of a processor's instructions that it uses: they round differently."""

    threads: int = 1
    isa: str = "DEFAULT"
    anew: bool = False  # a process loads all libraries itself: ultralytics' trainer reads its rank as it is loaded

    def __str__(self) -> str:
        return f"{self.isa}, {self.threads} threads"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that torch and oneDNN read when they start."""
        limits = {"ONEDNN_MAX_CPU_ISA": self.isa} | ({"ATEN_CPU_CAPABILITY": "avx2"} if self.isa == "AVX2" else {})
        return limits | {"OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"}  # no thread waits busily


# What the process that others are forked from has loaded.
LIBRARIES = [
    "torch", "timm", "transformers.models.conditional_detr.modeling_conditional_detr", "stage1_detector.families",
    "stage1_detector.validation", "torch.utils.tensorboard", "stage2_classifier.learning",
]  # fmt: skip
RUNTIMES = (Runtime(), Runtime(2, "AVX2"))  # all that a processor has, and what every one has that torch is fast on


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def torchrun_environment(rank: int, world_size: int, port: str) -> dict[str, str]:
    """What torchrun would set in the environment."""
    variables = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port
    }  # fmt: skip
    return {name: str(value) for name, value in variables.items()} | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def run_in_processes(
    function: Callable[..., Any], *arguments: Any, world_size: int = 2, seconds: float = 300.0, runtime: Runtime = RUNTIMES[0]
) -> list[Any]:
    """What `function(distributed, *arguments)`, a function of a module, returns in each of `world_size` processes."""
    return _results(_distributed, (runtime.threads, function, arguments), world_size, seconds, runtime)


def main_in_processes(main: Callable[[list[str]], int], words: list[str], seconds: float = 300.0) -> list[tuple[int, str]]:
    """The exit code of a command, and what it says, in each of two processes."""
    return _results(_said, (main, words), 2, seconds, Runtime(anew=True))


def forked(function: Callable[..., Any], *arguments: Any, environment: Mapping[str, str] = MappingProxyType({})) -> BaseProcess:
    """Start a process, and a group of processes, that calls a function of a module.

    It is forked from one that has loaded the libraries and has computed nothing: loading them takes most of a short test.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    process = context.Process(target=_group, args=(dict(environment), function, arguments))
    process.start()
    return process


def _group(environment: dict[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    os.environ |= environment
    function(*arguments)


def _started(runtime: Runtime, environment: dict[str, str], function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """The process of a function; one that loads the libraries where these read its rank, or the limit of its instructions."""
    if runtime.isa == "DEFAULT" and not runtime.anew:
        return forked(function, *arguments, environment=environment | runtime.environment)
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    with patch.dict(os.environ, environment | runtime.environment):
        process.start()
    return process


def _results(
    function: Callable[..., None], arguments: tuple[Any, ...], world_size: int, seconds: float, runtime: Runtime
) -> list[Any]:
    """What `function(file, *arguments)` pickles into its file in each process."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(world_size)]
        processes = [
            _started(runtime, torchrun_environment(rank, world_size, port), function, file, *arguments)
            for rank, file in enumerate(files)
        ]
        for process in processes:
            process.join(seconds)
        hanging = [process for process in processes if process.is_alive()]
        for process in hanging:
            process.kill()
        assert not hanging, f"{len(hanging)} of {world_size} processes hang"
        assert [process.exitcode for process in processes] == [0] * world_size
        return [pickle.loads(file.read_bytes()) for file in files]


def _distributed(file: Path, threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    with distributed_training("cpu") as distributed:
        file.write_bytes(pickle.dumps(function(distributed, *arguments)))


def _said(file: Path, main: Callable[[list[str]], int], words: list[str]) -> None:
    torch.set_num_threads(1)
    with redirect_stdout(io.StringIO()) as said:
        code = main(words)
    file.write_bytes(pickle.dumps((code, said.getvalue())))
