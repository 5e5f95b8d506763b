"""Processes of this machine that train together, as torchrun starts them: what a function returns in each of them."""

import multiprocessing
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from runs.distributed import distributed_training


class Runtime(NamedTuple):
    """With how many threads torch computes, and the most of a processor's instructions that it uses: they round differently."""

    threads: int = 1
    isa: str = "DEFAULT"

    def __str__(self) -> str:
        return f"{self.isa}, {self.threads} threads"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that torch and oneDNN read when they start."""
        limits = {"ONEDNN_MAX_CPU_ISA": self.isa} | ({"ATEN_CPU_CAPABILITY": "avx2"} if self.isa == "AVX2" else {})
        return limits | {"OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"}  # no thread waits busily


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
    context, port = multiprocessing.get_context("spawn"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(world_size)]
        processes = [context.Process(target=_run, args=(file, runtime.threads, function, arguments)) for file in files]
        for rank, process in enumerate(processes):
            with patch.dict(os.environ, torchrun_environment(rank, world_size, port) | runtime.environment):
                process.start()
        for process in processes:
            process.join(seconds)
        hanging = [process for process in processes if process.is_alive()]
        for process in hanging:
            process.kill()
        assert not hanging, f"{len(hanging)} of {world_size} processes hang"
        assert [process.exitcode for process in processes] == [0] * world_size
        return [pickle.loads(file.read_bytes()) for file in files]


def _run(file: Path, threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    with distributed_training("cpu") as distributed:
        file.write_bytes(pickle.dumps(function(distributed, *arguments)))
