"""What is on the disk when it is said to be: the calls of os.fsync, with what the file held by then."""

import os
from pathlib import Path

import pytest


def synced_contents(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collects what each file holds that is synced from now on."""
    contents, sync = list[bytes](), os.fsync

    def recording(number: int) -> None:
        size = os.fstat(number).st_size
        with Path(f"/proc/self/fd/{number}").open("rb") as file:
            contents.append(file.read(size))
        sync(number)

    monkeypatch.setattr(os, "fsync", recording)
    return contents
