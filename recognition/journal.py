"""What has been predicted so far: a line of JSON for each photo, appended and synced, so that a killed run loses one photo.

The first line holds the settings. A line that a kill cut off is dropped. A photo's line counts for the file as it was then
(bytes and time of its last change): where the file has changed, the photo is predicted again and its new line counts. So is
one that failed, when a run is gone on with.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from runs.named_file import naming
from runs.record import refuse_other_settings

NAME = "journal.jsonl"
EARLIER = {"engine": "onnxruntime", "version": "an earlier one"}  # what the journals were made with that do not tell it


@dataclass(frozen=True)
class Entry:
    """What became of one photo, one frame of a video (`file` is the video), or a whole video (`name` and `file` are equal).

    `stamp` tells the version of the file: its bytes and its last change in ns. `size` is width and height, 0 0 for a photo
    that could not be read and for a whole video. `rows` are as `fusion.pipeline.Pipeline` returns them, `below` counts those
    that scored too low. `problem` says why there are no predictions, `remarks` what else was not as it should be.
    """

    name: str
    file: str
    stamp: list[int]
    is_video: bool = False
    size: list[int] = field(default_factory=lambda: [0, 0])
    rows: list[dict[str, Any]] = field(default_factory=list)
    below: int = 0
    problem: str = ""
    remarks: list[str] = field(default_factory=list)
    turned: bool = False


class Line(NamedTuple):
    """Where an entry is in the file, of which input it is, and whether it tells a problem."""

    offset: int
    file: str
    failed: bool = False


def stamp_of(path: Path) -> list[int]:
    """The version of a file: its bytes and its last change in ns; 0 0 where that cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return [0, 0]
    return [status.st_size, status.st_mtime_ns]


class Journal:
    """The journal of one run; a context that closes its file."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Start the file at `path`, or go on with the one that is there.

        Raises ValueError where it is no journal, or was begun with other settings.
        """
        self.path, self.lines, self.stamps = path, dict[str, Line](), dict[str, list[int]]()
        self.failed = set[str]()  # photos, frames and their videos that failed before, to be tried again
        self.changed = 0  # files that are not as they were when they were predicted
        end = self._read_lines(settings) if path.is_file() else 0
        self.file = path.open("r+b" if end else "wb")
        self.file.truncate(end)
        self.file.seek(end)
        if not end:
            self._append({"settings": settings})

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with naming(self.path):  # a full disk fails again where it is closed
            self.file.close()

    def _read_lines(self, settings: Mapping[str, Any]) -> int:
        """Fill `lines`; returns where the last whole line ends, 0 where there is not even the first."""
        offset = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    self._take(json.loads(line), offset, settings)
                except (ValueError, KeyError, TypeError) as error:
                    if str(error).startswith("--resume"):
                        raise
                    raise ValueError(f"{self.path}: line at byte {offset} is damaged; --force predicts anew") from error
                offset += len(line)
        self.failed = {name for own, line in self.lines.items() if line.failed for name in (own, line.file)}
        return offset

    def _take(self, values: dict[str, Any], offset: int, settings: Mapping[str, Any]) -> None:
        if not offset:
            refuse_other_settings(self.path.parent, EARLIER | values["settings"], EARLIER | dict(settings))
        elif "forget" in values:
            self._forget(values["forget"])
        else:
            self._note(values["name"], Line(offset, values["file"], bool(values["problem"])), values["stamp"])

    def done(self, name: str) -> bool:
        """Whether `name` has an entry, and not one of an earlier run that failed."""
        return name in self.lines and name not in self.failed

    def outdated(self, file: str, stamp: list[int]) -> list[str]:
        """The names of the entries of an input that is not as it was when they were made; none where it is."""
        changed = self.stamps.get(file, stamp) != stamp
        return [name for name, line in self.lines.items() if line.file == file] if changed else []

    def forget(self, file: str) -> None:
        """Drop the entries of an input that has changed."""
        self.changed += 1
        self._append({"forget": file})
        self._forget(file)

    def _forget(self, file: str) -> None:
        self.failed -= {file, *(name for name, line in self.lines.items() if line.file == file)}
        self.lines = {name: line for name, line in self.lines.items() if line.file != file}
        self.stamps.pop(file, None)

    def _note(self, name: str, line: Line, stamp: list[int]) -> None:
        self.lines[name], self.stamps[line.file] = line, stamp

    def add(self, entry: Entry) -> None:
        """Append an entry; it is on the disk when this returns. Raises OSError where there is no space."""
        self.failed.discard(entry.name)
        self._note(entry.name, Line(self._append(asdict(entry)), entry.file), entry.stamp)

    def _append(self, values: Mapping[str, Any]) -> int:
        offset = self.file.tell()
        with naming(self.path):
            self.file.write(json.dumps(values, separators=(",", ":")).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())
        return offset

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order in which they were first made; read from the file one by one."""
        with self.path.open("rb") as file:
            for line in self.lines.values():
                file.seek(line.offset)
                yield Entry(**json.loads(file.readline()))
