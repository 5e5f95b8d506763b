"""One figure measured with several seeds: its mean and the 95 % interval of that mean."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student


class Mean(NamedTuple):
    """The mean over n seeds and its 95 % interval by Student's t, n - 1 degrees of freedom; None and None for one seed."""

    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        """In words, with the sign where it may matter: 0.512 [0.501, 0.523]."""
        return f"{self.value:.3f}" + ("" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]")


def over_seeds(values: Sequence[float]) -> Mean:
    """The mean of `values`, one for each seed. Raises ValueError without any.

    >>> str(over_seeds([0.5, 0.5, 0.5])), str(over_seeds([0.25]))
    ('0.500 [0.500, 0.500]', '0.250')
    """
    if len(values) == 0:
        raise ValueError("over_seeds: got no values, need at least 1")
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Mean(mean, None, None, 1)
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Mean(mean, mean - half, mean + half, n)
