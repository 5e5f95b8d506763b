"""Checkpoints of our own networks: files of plain tensors and values, that torch reads with `weights_only`."""

from pathlib import Path
from typing import Any, cast

import torch

WHOLE = frozenset({"config", "names", "network"})  # what every checkpoint of ours tells


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside PATH, then rename: a kill leaves the old or the new."""
    beside = path.with_name(path.name + ".part")
    torch.save(content, beside)
    beside.replace(path)


def read(path: Path, flag: str, needed: frozenset[str] = WHOLE) -> dict[str, Any]:
    """The checkpoint in PATH, on the CPU. Raises ValueError where it is damaged or lacks something `needed`."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        assert needed <= set(checkpoint)
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"{flag}: got {path}, must be a whole checkpoint of this kind of detector, of ours") from error
    return cast(dict[str, Any], checkpoint)
