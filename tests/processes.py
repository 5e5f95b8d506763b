"""Processes of this machine that train together, as torchrun starts them: what a function returns in each of them."""

import multiprocessing
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stage1_detector.torch_engine.distributed import distributed_training


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


def run_in_processes(function: Callable[..., Any], *arguments: Any, world_size: int = 2, seconds: float = 120.0) -> list[Any]:
    """What `function(distributed, *arguments)`, a function of a module, returns in each of `world_size` processes."""
    context, port = multiprocessing.get_context("spawn"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(world_size)]
        processes = [
            context.Process(target=_run, args=(file, torchrun_environment(rank, world_size, port), function, arguments))
            for rank, file in enumerate(files)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(seconds)
        hanging = [process for process in processes if process.is_alive()]
        for process in hanging:
            process.kill()
        assert not hanging, f"{len(hanging)} of {world_size} processes hang"
        assert [process.exitcode for process in processes] == [0] * world_size
        return [pickle.loads(file.read_bytes()) for file in files]


def _run(file: Path, environment: dict[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    with distributed_training("cpu") as distributed:
        file.write_bytes(pickle.dumps(function(distributed, *arguments)))
