"""How many groups the intervals of a choice are drawn over."""

from types import ModuleType

import numpy as np
import pytest

from photos.intervals import Interval, bootstrap
from photos.score import Match

FEW = 20  # resamples, for speed


def groups_drawn_by(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects over how many groups `module` resamples from now on; FEW times each."""
    counts = list[int]()

    def few(match_a: Match, match_b: Match, groups: np.ndarray, rng: np.random.Generator, *_: int) -> Interval:
        drawn = bootstrap(match_a, match_b, groups, rng, FEW)
        counts.append(drawn.n_groups)
        return drawn

    monkeypatch.setattr(module, "bootstrap", few)
    return counts
