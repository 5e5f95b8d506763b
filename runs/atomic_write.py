"""Files that are written whole or not at all: beside the old ones first, synced, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """For each of `paths` a path beside it to write to; what was written there replaces the old files, in order, at the end.

    An error in the block, a kill or a loss of power leaves each of the old files whole, or the new one in its place. An
    OSError that names no file, such as of a full disk, names the first of `paths`.
    """
    unfinished = tuple(path.with_name(path.name + ".part") for path in paths)
    for path in unfinished:
        path.unlink(missing_ok=True)  # left by an earlier kill
    try:
        yield unfinished
        for path in unfinished:
            if path.is_file():
                _sync(path)
    except OSError as error:
        error.filename = error.filename or str(paths[0])
        raise
    for new, path in zip(unfinished, paths, strict=True):
        if new.is_file():
            new.replace(path)
    for folder in dict.fromkeys(path.parent for path in paths):
        _sync_folder(folder)


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
