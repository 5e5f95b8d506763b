"""What run.py must know about a detector, as it lies beside its ONNX file."""

from typing import Any

from photos.data import Photo
from stage1_detector.config import STRIDE, Config
from stage1_detector.engine import max_det
from stage1_detector.families import FAMILIES


def sidecar(config: Config, categories: list[int] | None, photos: dict[str, tuple[Photo, ...]]) -> dict[str, Any]:
    """What run.py must know about the detector."""
    family = FAMILIES[config.family]
    input_format = family.input_format.of(config)
    return {
        "task": "detector",
        "family": family.layout or config.family,
        "categories": categories,
        "size": config.size,
        "shape": input_format.shape,
        "stride": STRIDE,
        "shrinking": config.shrinking,
        "mean": list(input_format.mean),
        "std": list(input_format.std),
        "max_det": max_det([*photos["train"], *photos["valid"]]),
    }
