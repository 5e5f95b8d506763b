"""Whether what a command prints can be written: not where its reader has gone (`| head`), nor on a full disk."""

import os
import select
import sys
from contextlib import suppress
from typing import TextIO


def failure(met: OSError | None) -> OSError | None:
    """Write what is buffered for stdout and stderr; the error where that fails, or where that which was `met` is of them.

    What could not be written goes nowhere then, nor does what follows: Python would try again as it ends, and tell a traceback.
    """
    errors = [_failure(stream, met) for stream in (sys.stdout, sys.stderr) if stream is not None]
    return next((error for error in errors if error), None)


def _failure(stream: TextIO, met: OSError | None) -> OSError | None:
    try:
        stream.flush()  # fails again where a write has failed, whose text is kept
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
        return error
    return met if isinstance(met, BrokenPipeError) and _is_unread(stream) else None


def _is_unread(stream: TextIO) -> bool:
    """Whether the stream is a pipe that nobody reads: with PYTHONUNBUFFERED no text is kept."""
    with suppress(OSError, ValueError, AttributeError):  # no file, as in tests; no such call here
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False
