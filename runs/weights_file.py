"""A file of weights that a training starts from: reading its tensors, loading those that fit a network, writing one."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from runs import efficientnet_lite
from runs.atomic_write import replacing

NOTES = {"config", "names", "anchors"}  # of a torchvision detector
REQUIRED_SHARE = 0.8  # chosen: share of a network's tensors; some fit by chance from a file of another network
STATE_KEYS = ("network", "state_dict_ema", "model_ema", "state_dict", "model")  # ours first, then those that timm looks for
# Prefixes of tensor names, in the order of their removal: of torch.compile and DistributedDataParallel, which may be nested in
# either order, and of our detectors.
WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.", "net.")


class Match(NamedTuple):
    """How many of a network's counted tensors a file fills, and whether they were loaded."""

    filled: int
    counted: int
    loaded: bool


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in PATH by name: a checkpoint of ours or timm's, a state dict, or .safetensors.

    Raises ValueError for others. An EfficientNet-Lite's tensors get timm's names.
    """
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
        found = next((content[key] for key in STATE_KEYS if isinstance(content.get(key), dict)), content)
        state = {without_wrappers(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        return efficientnet_lite.with_timm_names(state) if efficientnet_lite.is_named_otherwise(state) else state
    except SafetensorError as error:
        raise ValueError(f"--pretrained: got {path}, which is not a whole .safetensors file: {error}") from None
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"--pretrained: got {path}, must be a file of tensors that torch reads with weights_only") from error


def read_notes(path: Path) -> dict[str, Any]:
    """What a checkpoint of ours tells beside its tensors; nothing of another file."""
    content = {} if path.suffix == ".safetensors" else _torch_load(path)
    return {name: value for name, value in content.items() if name in NOTES} if set(content) >= NOTES else {}


def read_renamed(path: Path) -> dict[str, torch.Tensor] | None:
    """The tensors in PATH under timm's names, where the file has other names; None where it has timm's, or others still."""
    if path.suffix == ".safetensors" or not efficientnet_lite.is_named_otherwise(_torch_load(path)):
        return None
    return read_weights(path)


def without_wrappers(name: str) -> str:
    """A tensor's name without what modules around the network put before it.

    >>> without_wrappers("module.net.backbone.weight"), without_wrappers("conv1.weight")
    ('backbone.weight', 'conv1.weight')
    """
    for prefix in WRAPPERS:
        name = name.removeprefix(prefix)
    return name


def load_matching(
    network: torch.nn.Module,
    state: dict[str, Any],
    required_share: float = REQUIRED_SHARE,
    counts: Callable[[str], bool] = lambda name: True,
) -> Match:
    """Load into `network` those tensors of `state` that fit by name and shape, if enough of the network is filled.

    Args:
        network: what the tensors go into; unchanged if too few of them fit.
        state: tensors by name.
        required_share: of the network's counted tensors, in [0, 1]; 0 asks for one tensor at least.
        counts: whether the tensor of this name counts; those that are not of floating point never do.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    counted = [name for name, value in own.items() if value.is_floating_point() and counts(name)]
    filled = sum(name in fitting for name in counted)
    loaded = filled > 0 and filled >= required_share * len(counted)
    if loaded:
        network.load_state_dict(fitting, strict=False)
    return Match(filled, len(counted), loaded)


def load_or_refuse(network: torch.nn.Module, state: dict[str, Any], path: Path, hint: str = "") -> None:
    """Load what fits of `state`, read from PATH. Raises ValueError, ending with `hint`, if less than REQUIRED_SHARE does."""
    match = load_matching(network, state)
    if not match.loaded:
        raise ValueError(f"--pretrained: got {path}, which fills {match.filled} of the network's {match.counted} tensors{hint}")


def write_half_precision(network: torch.nn.Module, path: Path, max_bytes: int) -> None:
    """Write the weights of `network` to PATH, .safetensors. Raises ValueError if the file has more than `max_bytes`."""
    state = {name: value.half().contiguous() for name, value in network.state_dict().items() if value.is_floating_point()}
    with replacing(path) as (unfinished,):
        save_file(state, unfinished)
        size = unfinished.stat().st_size
        if size > max_bytes:
            raise ValueError(f"{path}: got {size} bytes, allowed {max_bytes}; choose a smaller model")


def _torch_load(path: Path) -> Any:
    """The content of a torch file; timm's training checkpoints hold their arguments as a Namespace."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)
