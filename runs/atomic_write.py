"""Files that are written whole or not at all: beside the old ones first, then renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """For each of `paths` a path beside it to write to; what was written there replaces the old files, in order, at the end.

    An error in the block, or a kill, leaves the old files as they were. An OSError that names no file, such as of a full disk,
    names the first of `paths`.
    """
    unfinished = tuple(path.with_name(path.name + ".part") for path in paths)
    for path in unfinished:
        path.unlink(missing_ok=True)  # left by an earlier kill
    try:
        yield unfinished
    except OSError as error:
        error.filename = error.filename or str(paths[0])
        raise
    for new, path in zip(unfinished, paths, strict=True):
        if new.is_file():
            new.replace(path)
