"""Signals that end a process, as an exception: what it began is ended and removed, as after Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(BaseException):
    """A signal told this process to end; as KeyboardInterrupt, nothing that handles errors takes it for one of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number  # as a shell tells it


@contextmanager
def raised() -> Iterator[None]:
    """A block in which the first of SIGNALS raises Stopped; further ones are ignored, for the block is being left then.

    Nothing is changed in another thread than the main one, nor for a signal that is handled, or ignored as by nohup.
    """
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in SIGNALS if here and signal.getsignal(number) is signal.SIG_DFL]
    handler = _Handler()
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is handler:
                signal.signal(number, signal.SIG_DFL)


class _Handler:
    """Raises Stopped once; in a process that was forked meanwhile, a signal does what it does by default."""

    def __init__(self) -> None:
        self.pid, self.is_stopped = os.getpid(), False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.pid:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.is_stopped:
            self.is_stopped = True
            raise Stopped(number)
