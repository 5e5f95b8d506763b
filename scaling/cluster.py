"""Parts through Ray Data: a cluster that is joined or started, one actor a worker, and how far it is."""

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import: nothing is told to other hosts

import ray
from ray.data import ActorPoolStrategy, DataContext

from scaling.destination import Destination
from scaling.listing import Part
from scaling.packed_model import PackedModel
from scaling.worker import CannotWrite, PartWorker

LOCAL_STORE = (
    128 * 2**20
)  # chosen: bytes of the object store of a local Ray, besides the model's; it holds lists of URIs, no photos
ANSI = re.compile(r"\x1b\[[0-9;]*m")  # colours in Ray's messages
ANSWER_SECONDS = 20.0  # chosen: for a cluster's head to take a connection; Ray itself asks for minutes
RESTARTS, RETRIES = 1000, 5  # chosen: of a killed worker, and of the part it was at; a part that kills six workers ends the run


@dataclass(frozen=True)
class Workers:
    """How many there are, the share of a GPU that each has, and the cluster; "" starts one on this machine."""

    count: int
    gpus: float = 0.0
    address: str = ""


@contextmanager
def connected(workers: Workers, model_bytes: int = 0) -> Iterator[None]:
    """Join the cluster, or start one here with room for the model; leave or end it. Raises ValueError where there is none."""
    _refuse_silent(workers.address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    local: dict[str, Any] = {
        "num_cpus": workers.count,
        "object_store_memory": LOCAL_STORE + model_bytes,
        "include_dashboard": False,
    }
    try:
        ray.init(address=workers.address or "local", **quiet, **({} if workers.address else local))
    except Exception as error:  # where its own processes do not answer in time, Ray raises no narrower one
        raise ValueError(_not_connected(workers.address, error)) from None
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silent(address: str) -> None:
    """Raises ValueError for a HOST:PORT where nobody takes a connection."""
    named = re.fullmatch(r"(?:ray://)?\[?(.+?)\]?:(\d+)", address)
    if named is None:
        return
    try:
        socket.create_connection((named[1], int(named[2])), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(_not_connected(address, error)) from None


def _not_connected(address: str, error: Exception) -> str:
    if address:
        return f"--address {address}: no Ray cluster answers there ({error})"
    return f"Ray did not start on this machine ({error}); call again, when it is less busy"


def predict_parts(parts: Sequence[Part], model: PackedModel, out: Destination, workers: Workers) -> Iterator[dict[str, int]]:
    """Predict the parts, in any order; yields photos, boxes and dead letters of each as it is finished.

    Ray restarts workers that are killed and gives them their part again. Raises ValueError where a part kills one worker after
    the other, or where a worker cannot start or write.
    """
    packed = ray.put(model)  # held to the end: a restarted worker asks for it again
    mapped = mapped_parts(parts, PartWorker, (packed, out), workers)
    try:
        yield from mapped.iter_rows()
    except ray.exceptions.RayActorError as error:
        raise ValueError(_of_dead_workers(error)) from None
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CannotWrite):
            raise ValueError(f"{str(error.cause).splitlines()[0]}; make room or give rights, and call again to go on") from None
        raise


def _of_dead_workers(error: ray.exceptions.RayActorError) -> str:
    """One line of why workers ended: the last of Ray's where they raised as they started, which is what they raised."""
    lines = [line for line in ANSI.sub("", str(error)).splitlines() if line.strip()] or [type(error).__name__]
    if error.actor_init_failed:
        return f"a worker could not start ({lines[-1].strip()}); call again to go on"
    return f"workers were killed again and again ({lines[0]}); call again to go on"


def mapped_parts(parts: Sequence[Part], kind: type, arguments: tuple[Any, ...], workers: Workers) -> ray.data.Dataset:
    """What Ray is to do: a block for each part, which any worker of class `kind`, made with `arguments`, takes whole."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what ends a run is raised here too
    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    rows = [{"part": part.number, "uris": list(part.uris)} for part in parts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray 2.64 takes retries in another way; pyproject.toml allows none
        return ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            kind,
            batch_size=1,
            fn_constructor_args=arguments,
            compute=ActorPoolStrategy(size=workers.count, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            num_gpus=workers.gpus or None,
            ray_remote_args_fn=lambda: {"max_restarts": RESTARTS, "max_task_retries": RETRIES},
        )
