"""Run one command within limits, and measure it from outside: seconds, memory, processes, and what it writes.

Nothing here is taken from what the command prints.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from submission.judge_machine import Limits

POLL = 0.02  # chosen: seconds between two measurements
MAX_PROCESSES = 256  # chosen: processes at once, far above what a loader of photos starts
MAX_WRITTEN = 100 * 10**6  # chosen: bytes of one file, and of all files in the output folder; 50,000 predictions are 6 MB
MAX_WRITTEN_FILES = 100  # chosen
SET_DEATH_SIGNAL = 1  # taken: PR_SET_PDEATHSIG of Linux
MAX_LOG = 4 * 10**6  # chosen: bytes of the log that are looked at


@dataclass(frozen=True)
class Command:
    """A command line, its environment variables, the folder that it writes to, and where its own folder and log are."""

    words: Sequence[str]
    variables: dict[str, str]
    folder: Path
    output: Path
    log: Path


@dataclass
class Measured:
    """What was measured from outside. `exit_code` as a shell tells it; `killed` is the reason why it was killed, if it was."""

    seconds: float = 0.0
    peak_mb: float = 0.0
    exit_code: int = 0
    killed: str | None = None


def supervise(command: Command, limits: Limits, limit_memory: bool = True) -> Measured:
    """Run the command to its end, or kill it with all that it has started when it exceeds a limit.

    `limit_memory` limits the address space, too: CUDA reserves far more of that than memory. On Linux the command ends with the
    thread that calls this, even where that is killed: nobody would hold it to its limits any more.
    """
    measured = Measured()
    memory, die = limits.memory if limit_memory else None, _death_with(os.getpid())
    with command.log.open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command.words, cwd=command.folder, env=command.variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=lambda: _apply_limits(memory, limits.threads, die),
        )  # fmt: skip
        try:
            while process.poll() is None and measured.killed is None:
                measured.killed = _excess(process.pid, time.monotonic() - started, command.output, limits, measured)
                time.sleep(POLL)
        finally:
            if process.poll() is None:  # over a limit, Ctrl-C, or a defect here
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    measured.seconds = time.monotonic() - started
    code = process.returncode
    measured.exit_code = code if code >= 0 else 128 - code
    return measured


def _death_with(parent: int) -> Callable[[], None]:
    """What a child calls to be killed as soon as PARENT is gone; it does nothing where the system cannot do that."""
    try:
        call = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up before the fork
    except (OSError, AttributeError):
        call = None

    def die_with_parent() -> None:
        if call is not None:
            call(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # gone before
                os._exit(128 + signal.SIGKILL)

    return die_with_parent


def _apply_limits(memory: int | None, threads: int, die_with_parent: Callable[[], None]) -> None:
    """Limit memory, processors and the size of a file for the child process, before it becomes the command."""
    die_with_parent()
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_WRITTEN, MAX_WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _excess(pid: int, seconds: float, output: Path, limits: Limits, measured: Measured) -> str | None:
    """Measure once; the limit that is exceeded, in words, or None."""
    processes = [pid, *_descendants(pid)]
    sizes = [_memory_mb(process) for process in processes]
    together, largest = sum(now for now, _ in sizes), max(peak for _, peak in sizes)
    measured.peak_mb = max(measured.peak_mb, together, largest)
    written, files = _written(output)
    if seconds > limits.seconds:
        return f"took longer than {limits.seconds:.0f} s"
    if measured.peak_mb * 1e6 > limits.memory:
        return f"held more than {limits.memory / 1e9:.1f} GB of memory"
    if len(processes) > MAX_PROCESSES:
        return f"started more than {MAX_PROCESSES} processes"
    if written > MAX_WRITTEN or files > MAX_WRITTEN_FILES:
        return f"wrote more than {MAX_WRITTEN / 1e6:.0f} MB, or more than {MAX_WRITTEN_FILES} files"
    return None


def _descendants(pid: int) -> Iterator[int]:
    """The processes that PID has started, and those that they have started, MAX_PROCESSES + 1 at most."""
    waiting, count = [pid], 0
    while waiting and count <= MAX_PROCESSES:
        parent = waiting.pop()
        children = _children(parent)
        waiting += children
        count += len(children)
        yield from children


def _children(pid: int) -> list[int]:
    """The processes that PID has started itself; none where it has just ended."""
    try:
        texts = [(thread / "children").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
    return [int(child) for text in texts for child in text.split()]


def _memory_mb(pid: int) -> tuple[float, float]:
    """The memory that a process holds now, and the most that it has held, in MB; zeros where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
    now, peak = (int(values.get(name, 0)) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))  # told in KiB
    return now, peak


def _written(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files in FOLDER, links not followed; counting ends at MAX_WRITTEN_FILES + 1."""
    size = count = 0
    for path, folders, files in os.walk(folder):
        for name in files:
            try:
                size += Path(path, name).lstat().st_size
            except OSError:  # renamed or deleted since
                continue
        count += len(files) + len(folders)
        if count > MAX_WRITTEN_FILES:
            break
    return size, count


def read_log(path: Path) -> str:
    """The text of a log, its middle left out where it is longer than MAX_LOG, without what would control a terminal."""
    size, half = path.stat().st_size, MAX_LOG // 2
    with path.open("rb") as file:
        data = file.read(half)
        if size > MAX_LOG:
            data += f"\n... {size - MAX_LOG} bytes left out ...\n".encode()
            file.seek(-half, os.SEEK_END)
        data += file.read(half)
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in data.decode(errors="replace").replace("\r\n", "\n"))
