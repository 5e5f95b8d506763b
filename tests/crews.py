"""Processes of this machine that work together, as torchrun starts them: what a function makes of its part in each."""

import multiprocessing
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stage1_detector.torch_engine import distributed


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def words(rank: int, size: int, port: str) -> dict[str, str]:
    """What torchrun would say in the environment."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in told.items()} | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def together(body: Callable[..., Any], *given: Any, size: int = 2, seconds: float = 120.0) -> list[Any]:
    """What `body(crew, *given)`, a function of a module, returns in each of `size` processes."""
    context, port = multiprocessing.get_context("spawn"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(size)]
        told = [(files[rank], words(rank, size, port), body, given) for rank in range(size)]
        members = [context.Process(target=_member, args=one) for one in told]
        for one in members:
            one.start()
        for one in members:
            one.join(seconds)
        late = [one for one in members if one.is_alive()]
        for one in late:
            one.kill()
        assert not late, f"{len(late)} of {size} processes hang"
        assert [one.exitcode for one in members] == [0] * size
        return [pickle.loads(file.read_bytes()) for file in files]


def _member(to: Path, told: dict[str, str], body: Callable[..., Any], given: tuple[Any, ...]) -> None:
    os.environ.update(told)
    torch.set_num_threads(1)
    with distributed.begun("cpu") as mine:
        to.write_bytes(pickle.dumps(body(mine, *given)))
