"""A check in a process of its own, so that one that dies, hangs or fills the GPU's memory costs itself alone.

All processes are forked from one that has loaded the libraries and has not touched the GPU.
"""

import contextlib
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from experiments.figures.records import Measured
from experiments.gpu.scale import Check, Work

PRELOADED = ["torch", "onnxruntime", "ultralytics", "timm", "experiments.gpu.checks"]


class Ended(NamedTuple):
    """How a check ended: `failure` in one line, empty where it passed; `seconds`, since its process was started."""

    failure: str
    seconds: float


def measure(check: Check, work: Work, seconds: float) -> Iterator[Measured | Ended]:
    """The figures of `check` as they come, then how it ended. After `seconds` its process and all that it began are killed."""
    started = time.monotonic()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(check, work, theirs), name=check.name)
    process.start()
    theirs.close()
    failure = f"stopped after {seconds:.0f} s: no time left"
    try:
        while (left := started + seconds - time.monotonic()) > 0 and ours.poll(left):
            message = ours.recv()
            if isinstance(message, str):
                failure = message
                break
            yield message
    except EOFError:
        process.join()
        failure = f"its process died with exit code {process.exitcode}"
    finally:
        _kill(process)
        process.join()
        ours.close()
    yield Ended(failure, time.monotonic() - started)


def _kill(process: BaseProcess) -> None:
    """End the check's process and its children, which are one group as soon as it has begun."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _run(check: Check, work: Work, pipe: Connection) -> None:
    """Measure, and send each figure and at last one line: why it failed, or an empty one."""
    os.setsid()
    with _told_to(work.out / "logs" / f"{check.name}.log"):
        failure = ""
        try:
            for measured in check.measure(work):
                pipe.send(measured)
        except (KeyboardInterrupt, Exception) as error:
            traceback.print_exc()
            failure = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print(f"processor seconds: {sum(one.ru_utime + one.ru_stime for one in used):.1f}")
        pipe.send(failure)


@contextlib.contextmanager
def _told_to(path: Path) -> Iterator[None]:
    """What this process, its libraries and its children say goes to PATH."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.captureWarnings(True)
    with path.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
