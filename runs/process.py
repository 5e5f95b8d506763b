"""Which process makes a run, so that one that was killed is known as stopped at once, on the machine where it ran."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fusion.models import read_object
from runs import identity
from runs.atomic_write import replacing
from runs.folder_lock import locked

NAME = "process.json"
_made: dict[Path, list[Path]] = {}  # by the folder that was claimed: those that were made for it, it first
MAKES_IT = "is making it; wait until it is done (hylle status), or end it first"


def claim(out: Path, does: str = MAKES_IT) -> dict[str, Any]:
    """Note in OUT/process.json that this process is at work in OUT, which is made; returns what was noted there before.

    Of several processes that claim it at once, one does. Raises ValueError where another one is at work there, as
    `refuse_second`. A process that is gone, or of which nothing is known from here, is taken over from.
    """
    _made.setdefault(out, [folder for folder in (out, *out.parents) if not folder.exists()])  # not that of an earlier claim
    with locked(out):
        refuse_second(out, does)
        before = _noted(out)
        _note(out, identity.of_process(os.getpid()))
    return before


def release(out: Path, before: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Take back what `claim` noted, for what was noted `before`, unless another process has claimed OUT since.

    OUT is removed where `claim` made it and nothing is in it, and so are the folders above.
    """
    if not out.is_dir():
        return
    with locked(out):
        if _noted(out) == identity.of_process(os.getpid()):
            _note(out, before)
        with suppress(OSError):
            for folder in _made.pop(out, []):
                folder.rmdir()


@contextmanager
def claimed(out: Path, does: str = MAKES_IT) -> Iterator[None]:
    """A block in which this process alone is at work in OUT. Raises ValueError as `claim`."""
    claim(out, does)
    try:
        yield
    finally:
        release(out)


def is_alive(out: Path) -> bool | None:
    """Whether the process that makes, or made, the run in OUT still runs; None where that cannot be told from here."""
    here, noted = identity.of_process(os.getpid()), _noted(out)
    if here is None or noted.get("machine") != here["machine"]:
        return None
    return identity.of_process(noted["pid"]) == noted


def other(out: Path) -> int | None:
    """The number of another process that is at work in OUT; None where there is none, or that cannot be told."""
    pid = _noted(out).get("pid") if is_alive(out) else None
    return pid if pid != os.getpid() else None


def refuse_second(out: Path, does: str = MAKES_IT) -> None:
    """Raises ValueError where another process is at work in OUT; what it `does` there, and the remedy, end the message."""
    if (pid := other(out)) is not None:
        raise ValueError(f"{out}: process {pid} {does}")


def _note(out: Path, process: Mapping[str, Any] | None) -> None:
    """Let OUT/process.json say that `process` is at work; where nothing is known of it, there is no such file."""
    if not process:
        (out / NAME).unlink(missing_ok=True)
        return
    with replacing(out / NAME) as (unfinished,):
        unfinished.write_text(json.dumps(dict(process)) + "\n")


def _noted(out: Path) -> dict[str, Any]:
    """What OUT/process.json says; nothing where it is not there, or damaged, as a loss of power may leave it."""
    try:
        noted = read_object(out / NAME)
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted.get("pid"), int) else {}
