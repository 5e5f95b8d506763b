"""A folder that is written whole or not at all: beside its place first, then renamed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside OUT to write to; at the end it takes the place of OUT, which may be an empty folder, or a link to one.

    An error in the block removes it. Raises ValueError where it is there: left by a kill, or of a call at work;
    OSError, which names OUT, where none can be made.
    """
    out = out.resolve()
    part = out.with_name(out.name + ".part")
    try:
        part.mkdir(parents=True)
    except FileExistsError:
        raise ValueError(f"{part}: left by a call that was stopped, or of one at work; remove it once none is") from None
    except OSError as error:
        error.filename = str(out)
        raise
    try:
        yield part
        part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
