"""A lock on a folder, for the moment in which something in it is looked at and then changed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such system call here
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A block that one process at a time is in, for one FOLDER, which is made where it is not there; a kill ends it too.

    Where the system or the file system has no such locks, nobody waits.
    """
    if fcntl is None:
        folder.mkdir(parents=True, exist_ok=True)
        yield
        return
    descriptor = _locked(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """The folder, opened and locked; again where another process has removed it meanwhile: a new one has a lock of its own."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(descriptor, folder):
                return descriptor
            os.close(descriptor)


def _is(descriptor: int, folder: Path) -> bool:
    """Whether an open folder is the one that is at `folder` now."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    return False
