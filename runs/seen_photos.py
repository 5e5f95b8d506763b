"""Which photos weights have seen, as their file or the run folder that it lies in tells: plain data, whatever file it is.

Each training leaves OUT/trained_on.json (`photos.trained_on`), and the same in each of its checkpoints, so that a copy of one
elsewhere still tells it. A checkpoint of torch's is a zip archive: the record is one more file in it, which torch passes over,
and which is read without running what is pickled beside it.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from fusion.models import read_object

NAME = "trained_on.json"


def run_folder(weights: Path) -> Path:
    """The run folder that a weights file lies in, at its top or in weights/; a folder is its own."""
    folder = weights.resolve() if weights.is_dir() else weights.resolve().parent
    return folder.parent if folder.name == "weights" else folder


def read(weights: Path) -> dict[str, Any] | None:
    """What is noted in the file, or else in the run folder, `weights`; None where neither tells."""
    if (inside := _inside(weights)) is not None:
        return inside
    path = run_folder(weights) / NAME
    return read_object(path) if path.is_file() else None


def put_inside(checkpoint: Path | io.BytesIO, run: Path) -> None:
    """Put the record of the run folder RUN into a checkpoint that it is about to write; nothing where it has none."""
    path = run / NAME
    if not path.is_file() or not zipfile.is_zipfile(checkpoint):
        return
    with zipfile.ZipFile(checkpoint, "a") as archive:
        top = archive.namelist()[0].partition("/")[0]  # torch reads no archive with files elsewhere
        archive.writestr(zipfile.ZipInfo(f"{top}/{NAME}"), path.read_bytes())  # without the time: the same bytes each time


def _inside(file: Path) -> dict[str, Any] | None:
    """The record in a checkpoint of ours; None in any other file."""
    if not file.is_file() or not zipfile.is_zipfile(file):
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            name = next((name for name in archive.namelist() if name.partition("/")[2] == NAME), "")
            content = json.loads(archive.read(name)) if name else None
    except (zipfile.BadZipFile, ValueError, OSError):  # damaged: whoever loads its tensors says so
        return None
    return content if isinstance(content, dict) else None
