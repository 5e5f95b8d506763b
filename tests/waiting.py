"""Waiting for what another thread does."""

import time
from collections.abc import Callable


def until(true: Callable[[], bool]) -> bool:
    """Wait, 10 s at most, until something is true; whether it is."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.001)
    return true()
