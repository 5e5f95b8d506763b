"""The weights file that a training starts from."""

from pathlib import Path


def pretrained_file(given: Path | None, starter: Path) -> Path | None:
    """The file that `--pretrained` means, `starter` for that word. Raises ValueError for one that is missing.

    >>> pretrained_file(None, Path("starter.safetensors")) is None
    True
    """
    path = starter if given is not None and str(given) == "starter" else given
    if path is not None and not path.is_file():
        raise ValueError(f"--pretrained: got {path}, must be a local weights file, or starter")
    return path
