"""Files that are written whole or not at all: beside the old ones first, synced, then renamed."""

import hashlib
import itertools
import os
import re
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from runs import identity

OWNER = re.compile(r"\.(?P<pid>\d+)-(?P<started>\d+)-(?P<machine>[0-9a-f]{8})\.\d+\.part$")  # of an unfinished file
_numbers = itertools.count()  # of this process's unfinished files


@contextmanager
def replacing(*paths: Path, optional: Collection[Path] = ()) -> Iterator[tuple[Path, ...]]:
    """For each of `paths` a path beside it to write to; what was written there replaces the old files, in order, at the end.

    The block writes all but those `optional`, of which one that it does not write stays as it was. An error in the block, a
    kill or a loss of power leaves each of the old files whole, or the new one in its place; no other process writes to the
    same path beside. An OSError names the one of `paths` that could not be written, or the first where it names no file, as of
    a full disk.
    """
    for folder in dict.fromkeys(path.parent for path in paths):
        remove_left(folder)
    unfinished = tuple(map(unfinished_path, paths))
    try:
        yield unfinished
        written = [(new, path) for new, path in zip(unfinished, paths, strict=True) if path not in optional or new.is_file()]
        for new, _ in written:
            _sync(new)
        for new, path in written:
            new.replace(path)
    except OSError as error:
        asked = dict(zip(map(str, unfinished), paths, strict=True))
        error.filename = str(asked.get(str(error.filename), error.filename or paths[0]))
        raise
    finally:
        for new in unfinished:
            new.unlink(missing_ok=True)
    for folder in dict.fromkeys(path.parent for path in paths):
        _sync_folder(folder)


def unfinished_path(path: Path) -> Path:
    """A path beside PATH that no other call has, in this process or another one, and that tells whose it is."""
    own = identity.of_process(os.getpid())
    owner = uuid.uuid4().hex if own is None else f"{own['pid']}-{own['started']}-{_digest(own['machine'])}"
    return path.with_name(f"{path.name}.{owner}.{next(_numbers)}.part")


@cache  # once a process: an error leaves nothing, a kill does
def remove_left(folder: Path) -> None:
    """Remove what processes of this machine that were killed have left half written in FOLDER."""
    here = identity.of_process(os.getpid())
    for path in folder.glob("*.part") if here else ():
        owner = OWNER.search(path.name)
        if owner and owner["machine"] == _digest(here["machine"]) and not _is_alive(int(owner["pid"]), int(owner["started"])):
            path.unlink(missing_ok=True)


def _is_alive(pid: int, started: int) -> bool:
    process = identity.of_process(pid)
    return process is not None and process["started"] == started


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _sync(path: Path) -> None:
    """Have a file's bytes on the disk: else a machine that loses power after the renaming may keep an empty file."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Have a folder's names on the disk, where the system and the file system can do that."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
