"""When an MKV or WebM begins by its own clock: the length that it tells is counted from 0, OpenCV's from the first frame."""

import re
from pathlib import Path

MARK = b"\x1aE\xdf\xa3"  # taken: the first bytes of the file, and below the ids of its elements (RFC 9559)
HEAD = 1 << 20  # chosen: bytes in which the first frames begin
_LENGTH = (
    rb"(?:[\x80-\xff]|[\x40-\x7f].|[\x20-\x3f].{2}|[\x10-\x1f].{3}|[\x08-\x0f].{4}|[\x04-\x07].{5}|[\x02\x03].{6}|\x01.{7})"
)
_CLUSTER = re.compile(rb"\x1fC\xb6u" + _LENGTH + rb"(?:\xbf\x84.{4})?\xe7([\x81-\x88])", re.DOTALL)  # a checksum may be first
_SCALE = re.compile(rb"\x2a\xd7\xb1([\x81-\x88])")
NANOSECONDS = 10**6  # taken: of a tick where the file does not tell


def start_seconds(path: Path) -> float:
    """The time of the first frames; 0 for a file of another kind, one that cannot be read, and where none is found."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD) if file.peek(len(MARK)).startswith(MARK) else b""
    except OSError:
        return 0.0
    first = _CLUSTER.search(head)
    if first is None:
        return 0.0
    scale = _SCALE.search(head, 0, first.start())
    return _number(head, first) * (_number(head, scale) if scale else NANOSECONDS) / 1e9


def _number(head: bytes, told: re.Match[bytes]) -> int:
    """The number that follows the length of so many bytes."""
    return int.from_bytes(head[told.end() : told.end() + told[1][0] - 0x80], "big")
