"""What every command of the project does around its work: progress, one line on stderr for a user's mistake, an exit code.

Every command takes --quiet, which shows no progress but all else, and --json, which prints one object at the end and everything
else to stderr: what the command made (`note_result`), its exit code, its seconds, and the error, if any.
"""

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NoReturn

from runs import output_stream, stop_signal
from runs.bars import Bars, step_of
from runs.output_file import file_above
from runs.torchrun import refuse_torchrun

MISTAKE = 2  # exit code: the user can mend it (a file, a flag, a label)
INTERRUPTED = 130  # exit code of a shell for Ctrl-C: 128 + SIGINT
UNREAD = 141  # exit code of a shell where nobody reads what is printed any more: 128 + SIGPIPE
QUIET, JSON = "--quiet", "--json"
SHARED_FLAGS = f"Every command takes {QUIET}, which shows no progress, and {JSON}, which prints one JSON object at the end."


class Parser(argparse.ArgumentParser):
    """argparse's, whose refusals are mistakes like any other: a ValueError of one line, not a usage and an exit.

    Where a flag takes a float, nan and inf are refused too: no comparison with a limit refuses nan.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"epilog": SHARED_FLAGS} | options)
        self.register("type", float, _finite)

    def error(self, message: str) -> NoReturn:
        """Raises ValueError with the message."""
        raise ValueError(f"{' '.join(message.split())} ({self.prog} --help)")


def _finite(word: str) -> float:
    """The number in a word of the command line. Raises ValueError for no number, argparse's error for one without an end."""
    if math.isfinite(number := float(word)):
        return number
    raise argparse.ArgumentTypeError(f"got {word}, need a finite number")


class Output:
    """How a command speaks: `quiet` shows no progress, `json` prints `result` at the end; `bars` are on the terminal."""

    def __init__(self, quiet: bool = False, json: bool = False) -> None:
        self.quiet, self.json, self.bars, self.begun = quiet, json, Bars(), time.monotonic()
        self.result: dict[str, Any] = {}


_outputs = [Output()]  # of the commands that run now: one may call another


def run(body: Callable[..., int | None], argv: Sequence[str] | None, *prog: str, distributed: bool = False) -> int:
    """Call `body(argv, *prog)` and return the exit code: what it returns (None: 0), 2, 130, 141, 143 or 129.

    `distributed`: the processes that torchrun starts share its work; any other command is refused there, before it writes.
    2 is the user's mistake, told as `error: ...` on stderr, 130 is Ctrl-C, 143 SIGTERM and 129 SIGHUP, which end it as
    Ctrl-C does. 141: nobody reads what it prints any more. `prog` is what the user typed to call the command.

    ValueError, OSError (a missing file or folder, no permission, no space) and FloatingPointError (a loss that is no number:
    lower --lr) are the user's to mend; everything else is a defect of the code and keeps its traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    output = Output(QUIET in words or _outputs[-1].quiet, JSON in words)
    _outputs.append(output)
    try:
        with contextlib.redirect_stdout(sys.stderr) if output.json else contextlib.nullcontext():
            code, error = _stoppable(body, [word for word in words if word not in (QUIET, JSON)], prog, distributed)
    finally:
        with contextlib.suppress(OSError):  # its terminal has gone
            output.bars.stop()
        _outputs.pop()
    return _told(output, code, error)


def _told(output: Output, code: int, error: str) -> int:
    """Write how the command ended, and its result where it is asked for; the exit code, another one where that fails."""
    ending = {"exit_code": code, "seconds_in_all": time.monotonic() - output.begun, "error": error or None}
    met = None
    try:
        sys.stderr.write(f"{error}\n" * bool(error))
        if output.json:
            sys.stdout.write(json.dumps(plain(output.result | ending), indent=1, ensure_ascii=False) + "\n")
    except OSError as unwritten:
        met = unwritten
    if failure := output_stream.failure(met) or met:
        code, error = _unwritten(failure)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{error}\n" * bool(error))
    return code


def _stoppable(body: Callable[..., int | None], words: list[str], prog: tuple[str, ...], distributed: bool) -> tuple[int, str]:
    """The same as `_outcome`, where signals end it too; torchrun ends its processes itself, also those that wait for others."""
    try:
        with contextlib.nullcontext() if distributed and "RANK" in os.environ else stop_signal.raised():
            return _outcome(body, words, prog, distributed)
    except stop_signal.Stopped as stopped:
        if len(_outputs) > 2:  # within another command, which ends too
            raise
        return stopped.exit_code, str(stopped)


def _outcome(body: Callable[..., int | None], words: list[str], prog: tuple[str, ...], distributed: bool) -> tuple[int, str]:
    """The exit code of `body`, and what to tell where it failed."""
    try:
        if not distributed:
            refuse_torchrun(prog[0] if prog else "this command")
        from runs import gpu_sessions  # here: it loads onnxruntime

        gpu_sessions.install(say)
        return body(words, *prog) or 0, ""
    except (ValueError, OSError, FloatingPointError) as error:
        if isinstance(error, OSError) and (failure := output_stream.failure(error)):
            return _unwritten(failure)
        return MISTAKE, f"error: {in_words(error)}"
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted"


def _unwritten(failure: OSError) -> tuple[int, str]:
    """The exit code, and what to tell, where what the command prints cannot be written."""
    if isinstance(failure, BrokenPipeError):
        return UNREAD, ""
    return MISTAKE, f"error: what is printed cannot be written: {failure.strerror}"


def note_result(**values: Any) -> None:
    """Add to what the command that runs prints at the end where --json asks for it."""
    _outputs[-1].result |= values


def plain(value: Any) -> Any:
    """`value` as JSON holds it: records as objects, arrays as lists, paths as text; a number that is not finite as null.

    >>> plain({3: (1, float("nan")), "b": {"c"}})
    {'3': [1, None], 'b': ['c']}
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    value = value._asdict() if hasattr(value, "_asdict") else value
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def say(text: str) -> None:
    """Print one line, stamped with the time of day, at once (also when stdout is a file)."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def say_progress(line: str) -> None:
    """Print a line that says how far the work is (`done/total`, `done of total` or `n%`); on a terminal, move a bar.

    A line that also tells figures stays on the terminal too. With --quiet nothing is shown; a line without a count always is.
    """
    step = step_of(line)
    if step is None:
        say(line)
    elif not _outputs[-1].quiet:
        on_terminal = sys.stdout.isatty()
        if step.says_more or not on_terminal:
            say(line)
        if on_terminal:
            _outputs[-1].bars.show(step)


def ticker(text: str, seconds: float = 5.0) -> Callable[[int, int], None]:
    """A progress callback (steps done, steps in all): a bar, or in a file `text done/all` at most every so many seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if sys.stdout.isatty() or time.monotonic() - last >= seconds:
            last = time.monotonic()
            say_progress(f"{text} {done}/{total}")

    return tell


def in_words(error: Exception) -> str:
    """The message of `error`; for one the system raised, its words and the file without the number.

    >>> in_words(FileNotFoundError(2, "No such file or directory", "shelf.jpg"))
    'shelf.jpg: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        if isinstance(error, NotADirectoryError) and (above := file_above(Path(os.fsdecode(error.filename)))):
            return f"{error.filename}: {above} is a file, need a folder"
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
