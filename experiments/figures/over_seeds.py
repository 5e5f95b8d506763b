"""One figure measured with several seeds: its mean and the 95 % interval of that mean."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from experiments.figures.records import Estimate


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of `values`, one for each seed, and its 95 % interval by Student's t, n - 1 degrees of freedom; none for one.

    Raises ValueError without any value.

    >>> str(over_seeds([0.5, 0.5, 0.5])), str(over_seeds([0.25]))
    ('0.500 [0.500, 0.500]', '0.250')
    """
    if len(values) == 0:
        raise ValueError("over_seeds: got no values, need at least 1")
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Estimate(mean, 1)
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, n, mean - half, mean + half)
