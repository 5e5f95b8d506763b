"""What every command of the project does around its work: one line on stderr for a user's mistake, and an exit code."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import NoReturn

MISTAKE = 2  # exit code: the user can mend it (a file, a flag, a label)
INTERRUPTED = 130  # exit code of a shell for Ctrl-C: 128 + SIGINT


class Parser(argparse.ArgumentParser):
    """argparse's, whose refusals are mistakes like any other: a ValueError of one line, not a usage and an exit."""

    def error(self, message: str) -> NoReturn:
        """Raises ValueError with the message."""
        raise ValueError(f"{' '.join(message.split())} ({self.prog} --help)")


def run(body: Callable[..., int | None], argv: list[str] | None, *prog: str) -> int:
    """Call `body(argv, *prog)` and return the exit code: what it returns (None: 0), 2 or 130.

    2 is the user's mistake, told as `error: ...` on stderr, 130 is Ctrl-C. `prog` is what the user typed to call the command.

    ValueError, OSError (a missing file or folder, no permission, no space) and FloatingPointError (a loss that is no number:
    lower --lr) are the user's to mend; everything else is a defect of the code and keeps its traceback.
    """
    try:
        return body(argv, *prog) or 0
    except (ValueError, OSError, FloatingPointError) as error:
        sys.stderr.write(f"error: {_line(error)}\n")
        return MISTAKE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def say(text: str) -> None:
    """Print one progress line, stamped with the time of day, at once (also when stdout is a file)."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def ticker(text: str, seconds: float = 5.0) -> Callable[[int, int], None]:
    """A progress callback (steps done, steps in all) that says `text done/all` at most once in that many seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            say(f"{text} {done}/{total}")

    return tell


def _line(error: Exception) -> str:
    """The message of `error`; for one the system raised, its words and the file without the number.

    >>> _line(FileNotFoundError(2, "No such file or directory", "shelf.jpg"))
    'shelf.jpg: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
