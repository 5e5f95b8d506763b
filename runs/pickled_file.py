"""Files whose reading runs code, such as ultralytics' .pt: which of them our own runs wrote, and which the user trusts.

A run that writes such files notes their fingerprints beside them, in written.json. That keeps apart what was trained here and
what came from elsewhere; it is no proof against somebody who can write into the run folder.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from fusion.models import read_object
from runs import record
from runs.refusal import Refusal
from runs.typed import typed

RECORD = "written.json"
VERSIONS = 2  # of a file that the record knows: a kill may leave the last one in place of the one that was to replace it


def refuse_untrusted(flag: str, path: Path, trusted: Path | None) -> None:
    """Raises ValueError for a file that torch reads only by running what is pickled in it, without running it.

    Allowed are a file that a run of ours wrote, and `trusted`: this file, or a folder that it is in.
    """
    if not needs_code(path) or is_ours(path):
        return
    if trusted is not None and trusted.resolve() in (path.resolve(), *path.resolve().parents):
        return
    trust = typed("where you know who made it, pass --trust", path)
    own = "ultralytics' own .pt files run code that is pickled in them"
    raise Refusal(
        f"{flag}: got {path}, must be a file of tensors alone, or one that our runs wrote; {own}",
        trust,
        f"{trust}; else give its tensors alone, as a .safetensors file",
    )


def needs_code(path: Path) -> bool:
    """Whether PATH holds anything but tensors and plain values, so that torch would have to run what is in it."""
    if path.suffix == ".safetensors":
        return False
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # unpickling raises nearly anything
        return True
    return False


def is_ours(path: Path) -> bool:
    """Whether a run of ours wrote PATH, as the record beside it tells."""
    path = path.resolve()
    record_file = path.with_name(RECORD)
    return record_file.is_file() and record.fingerprint(path) in read_object(record_file).get(path.name, [])


def note_written(folder: Path, files: Sequence[tuple[str, Path]]) -> None:
    """Note in FOLDER's record that we are about to put there `files`: the name of each, and where its bytes are now."""
    path = folder / RECORD
    known = read_object(path) if path.is_file() else {}
    for name, file in files:
        if file.is_file():
            known[name] = [*known.get(name, []), record.fingerprint(file)][-VERSIONS:]
    record.write_json(path, known)
