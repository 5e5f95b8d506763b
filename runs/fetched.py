"""What `hylle fetch` has downloaded: of each file its sha256, so that one that has changed since is not trained from."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from fusion.models import read_object
from runs.folder_lock import locked
from runs.record import write_json


def record_file() -> Path:
    """Where it is kept: hylle/fetched.json in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hylle" / "fetched.json"


def note(name: str, path: Path, sha256: str) -> None:
    """Keep that the weights called `name` are in the file PATH with this sha256."""
    file = record_file()
    row = {"name": name, "sha256": sha256, "bytes": path.stat().st_size, "date": time.strftime("%Y-%m-%d")}
    with locked(file.parent):  # from reading to writing: another process may note a file at once
        write_json(file, rows() | {key(path): row})


def forget_removed() -> None:
    """Drop what is noted of files that are not there any more: what comes in their place is judged anew."""
    if not (file := record_file()).is_file():
        return
    with locked(file.parent):
        known = rows()
        kept = {path: row for path, row in known.items() if Path(path).is_file()}
        if kept != known:
            write_json(file, kept)


def refuse_changed(path: Path | None, flag: str = "--pretrained") -> None:
    """Raises ValueError, naming `flag`, where PATH was fetched, is there, and has other bytes than it must have."""
    expected = "" if path is None else rows().get(key(path), {}).get("sha256", "")
    if path is not None and expected and path.is_file() and sha256(path) != expected:
        raise ValueError(f"{flag}: {path} is not what was fetched (sha256 {expected}); remove it and fetch it again")


def knows(path: Path) -> bool:
    """Whether PATH has the bytes of a file that was fetched, wherever it lies now."""
    expected = {row.get("sha256") for row in rows().values() if row.get("bytes") == path.stat().st_size}
    return bool(expected) and sha256(path) in expected


def rows() -> dict[str, dict[str, Any]]:
    """What is noted, by the path of each file."""
    file = record_file()
    return read_object(file) if file.is_file() else {}


def key(path: Path) -> str:
    """What a file is noted under, from whichever folder it is named."""
    return str(path.absolute())


def sha256(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
