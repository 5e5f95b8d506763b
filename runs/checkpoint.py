"""Our own checkpoints: files of plain tensors and values, which torch reads with `weights_only`."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from runs import record, seen_photos
from runs.atomic_write import replacing

REQUIRED_KEYS = frozenset({"config", "names", "network"})  # of every checkpoint of a detector


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint to PATH, with which photos its run sees: a kill leaves the old file or the new one.

    OSError where the disk is full.
    """
    whole = io.BytesIO()  # torch's own writing of a file hides why it fails
    torch.save(content, whole)
    seen_photos.put_inside(whole, seen_photos.run_folder(path))
    with replacing(path) as (unfinished,):
        unfinished.write_bytes(whole.getbuffer())


def read(path: Path, flag: str, required: frozenset[str] = REQUIRED_KEYS) -> dict[str, Any]:
    """The checkpoint in PATH, on the CPU. Raises ValueError, naming `flag`, where it is damaged or lacks a `required` key."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        assert required <= set(checkpoint)
    except Exception as error:  # unpickling raises nearly anything
        what = f"{flag}: got {path}, must be a whole checkpoint of this kind of network, of ours"
        raise ValueError(f"{what}; remove it to start again") from error
    return cast(dict[str, Any], checkpoint)


def refuse_other_settings(path: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ValueError where checkpoint PATH was `begun` with other settings than `now`, naming the first that differs."""
    record.refuse_other_settings(path, {name: begun.get(name) for name in now}, now)
