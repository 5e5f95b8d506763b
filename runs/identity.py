"""What tells a process of this machine from every other one, so that one that is gone is known as gone."""

from pathlib import Path
from typing import Any

PROC = Path("/proc")  # of Linux; elsewhere nothing is known
STATE, STARTED = 0, 19  # places in /proc/PID/stat after the name: state, and start time in ticks since the machine's start
DEAD = ("Z", "X")


def of_process(pid: int) -> dict[str, Any] | None:
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
