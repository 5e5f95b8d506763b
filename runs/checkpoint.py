"""Files of plain tensors and values, that torch reads with `weights_only`: our own checkpoints, and others' weights."""

from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

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


def weights_in(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file: one of ours, a state dict of torchvision's, or safetensors. ValueError for another."""
    try:
        whole = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
        state = whole.get("network", whole.get("state_dict", whole))
        return {name.removeprefix("net."): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    except SafetensorError as error:
        raise ValueError(f"--pretrained: got {path}, which is not a whole .safetensors file: {error}") from None
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"--pretrained: got {path}, must be a file of tensors that torch reads with weights_only") from error
