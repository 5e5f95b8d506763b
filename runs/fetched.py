"""What `hylle fetch` has downloaded: of each file its sha256, so that one that has changed since is not trained from."""

import hashlib
import os
import time
from pathlib import Path

from fusion.models import read_object
from runs.record import write_json


def record_file() -> Path:
    """Where it is kept: hylle/fetched.json in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hylle" / "fetched.json"


def note(name: str, path: Path, sha256: str) -> None:
    """Keep that the weights called `name` are in the file PATH with this sha256."""
    file = record_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    known = read_object(file) if file.is_file() else {}
    row = {"name": name, "sha256": sha256, "bytes": path.stat().st_size, "date": time.strftime("%Y-%m-%d")}
    write_json(file, known | {str(path): row})


def refuse_changed(path: Path | None) -> None:
    """Raises ValueError where PATH was fetched, and has other bytes now."""
    file = record_file()
    known = read_object(file) if file.is_file() else {}
    expected = known.get(str(path), {}).get("sha256", "")
    if path is not None and expected and sha256(path) != expected:
        raise ValueError(f"--pretrained: {path} is not what was fetched (sha256 {expected}); remove it and fetch it again")


def sha256(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
