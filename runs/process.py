"""Which process makes a run, so that one that was killed is known as stopped at once, on the machine where it ran."""

import json
import os
from pathlib import Path
from typing import Any

from fusion.models import read_object
from runs.atomic_write import replacing

NAME = "process.json"
PROC = Path("/proc")  # of Linux; elsewhere nothing is known
STATE, STARTED = 0, 19  # places in /proc/PID/stat after the name: state, and start time in ticks since the machine's start
DEAD = ("Z", "X")


def identity(pid: int) -> dict[str, Any] | None:
    """What tells process `pid` of this machine from every other one; None where there is no such process, or no /proc.

    "machine" is one start of one machine and, in it, one container, whose processes have numbers of their own.
    """
    try:
        stat = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (PROC / "self/ns/pid").readlink()
    except OSError:
        return None
    if stat[STATE] in DEAD:
        return None
    return {"pid": pid, "started": int(stat[STARTED]), "machine": f"{boot} {namespace}"}


def note(out: Path) -> None:
    """Leave in OUT/process.json that this process makes the run; where nothing is known of it, nothing."""
    (out / NAME).unlink(missing_ok=True)
    here = identity(os.getpid())
    if here is not None:
        with replacing(out / NAME) as (unfinished,):
            unfinished.write_text(json.dumps(here) + "\n")


def is_alive(out: Path) -> bool | None:
    """Whether the process that makes, or made, the run in OUT still runs; None where that cannot be told from here."""
    here, noted = identity(os.getpid()), _noted(out)
    if here is None or noted.get("machine") != here["machine"]:
        return None
    return identity(noted["pid"]) == noted


def other(out: Path) -> int | None:
    """The number of another process that is at work in OUT; None where there is none, or that cannot be told."""
    pid = _noted(out).get("pid") if is_alive(out) else None
    return pid if pid != os.getpid() else None


def refuse_second(out: Path, does: str = "is making it; wait until it is done (hylle status), or end it first") -> None:
    """Raises ValueError where another process is at work in OUT; what it `does` there, and the remedy, end the message."""
    if (pid := other(out)) is not None:
        raise ValueError(f"{out}: process {pid} {does}")


def _noted(out: Path) -> dict[str, Any]:
    """What OUT/process.json says; nothing where it is not there, or damaged, as a loss of power may leave it."""
    try:
        noted = read_object(out / NAME)
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted.get("pid"), int) else {}
