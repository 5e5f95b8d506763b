"""How any detector's training goes, whoever's engine it is: how long, how often valid is looked at, how many it shall
find, on which device.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from photos.data import Photo
from stage1_detector.config import Config

LOOKS = 10  # chosen: how often valid is looked at in a run whose epoch it does not choose
MUCH = 0.8  # chosen: share of a network's tensors that a weights file must fill to count as its own
Score = Callable[[torch.nn.Module], dict[str, float]]
Progress = Callable[[str], None]


def epochs(config: Config, n_photos: int) -> int:
    """Passes over the `n_photos` real photos: `config.epochs`, or as many as `config.min_steps` steps take.

    >>> config = Config("yolo", epochs=40, min_steps=1200, batch=4)
    >>> epochs(config, 20), epochs(config, 200)
    (240, 40)
    """
    passed = n_photos + round(n_photos * config.synthetic_ratio)
    return max(config.epochs, math.ceil(config.min_steps / math.ceil(passed / (config.photos_a_step))))


def max_det(photos: Sequence[Photo]) -> int:
    """Detections kept for a photo: 1.5 times the fullest photo known, at least 50 and, so that AP keeps its tail, +50."""
    return 50 + math.ceil(1.5 * max((len(photo.boxes) for photo in photos), default=0))


def stamp(path: Path) -> float | None:
    """When a file was written; None where there is none."""
    return path.stat().st_mtime if path.is_file() else None


def device_of(named: str) -> torch.device:
    """The device called so, a bare number being a GPU's; for the empty name the GPU if there is one.

    >>> device_of("cpu"), device_of("1")
    (device(type='cpu'), device(type='cuda', index=1))
    """
    return torch.device(f"cuda:{named}" if named.isdigit() else named or ("cuda" if torch.cuda.is_available() else "cpu"))
