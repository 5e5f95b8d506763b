"""Decisions of a person, one JSON line each, appended and synced before the page is told: a killed server loses none.

The first line says what the decisions are about. A line that a kill cut off is dropped, and counted.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class NotKept(ValueError):
    """A decision that is not on the disk, or not in what is made of it."""


class Outdated(ValueError):
    """A decision of someone who had not seen the one before."""


@contextmanager
def told_if_not_kept(path: Path) -> Iterator[None]:
    """Raises NotKept where what is done in the block, to keep a decision in PATH, meets an OSError such as of a full disk."""
    try:
        yield
    except OSError as error:
        raise NotKept(f"{path}: not kept ({error.strerror or error}); make room for it, then decide again") from error


class DecisionLog:
    """The decisions in a file; `dropped` counts lines that were cut off."""

    def __init__(self, path: Path, about: Mapping[str, Any], remedy: str = "move it away, or pass another --out") -> None:
        """Read PATH, or begin it.

        Raises ValueError, with the `remedy`, where its decisions are about something else, and where a line is broken.
        """
        self.path, self.dropped, self.rows = path, 0, list[dict[str, Any]]()
        self._lock = threading.Lock()
        lines = self._whole_lines() if path.is_file() else []
        if lines and lines[0] != {"about": dict(about)}:
            raise ValueError(f"{path}: holds decisions about other things than now; {remedy}")
        self.rows = lines[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not lines:
            self._append({"about": dict(about)})

    def _whole_lines(self) -> list[dict[str, Any]]:
        """The lines of the file; what follows the last line end, which a kill cut off, is cut away."""
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            self.dropped = 1
            with self.path.open("r+b") as file:
                file.truncate(end)
        try:
            return [json.loads(line) for line in data[:end].splitlines()]
        except ValueError as error:
            raise ValueError(f"{self.path}: broken line ({error}); mend or remove it") from None

    def revision(self, key: str, value: Any) -> int:
        """How many decisions are about the one thing whose `key` is `value`."""
        return sum(row[key] == value for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Append one decision; it is on the disk when this returns."""
        with self._lock:
            self._append(row)
            self.rows.append(row)

    def _append(self, row: Mapping[str, Any]) -> None:
        """Append a line and sync it; where the disk does not take all of it, none of it stays, as the next would follow it."""
        before = self.path.stat().st_size if self.path.is_file() else 0
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(self.path, before)
            raise
