"""A detector's training job with what a test does not care about filled in."""

from pathlib import Path
from typing import Any

import torch

from photos.data import Photo
from stage1_detector.config import Config
from stage1_detector.engine import Job


def constant_score(network: torch.nn.Module) -> dict[str, float]:
    """The same for every network."""
    return {"det_map50": 0.5}


def job_of(config: Config, photos: dict[str, tuple[Photo, ...]], out: Path, **changes: Any) -> Job:
    """A class-agnostic job without progress lines, all networks of which score the same."""
    defaults = {"names": ["product"], "progress": lambda line: None, "score": constant_score}
    return Job(config, photos, out=out, **(defaults | changes))
