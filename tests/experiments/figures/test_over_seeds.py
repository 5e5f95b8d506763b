"""The t interval against scipy's own, and by its coverage."""

import numpy as np
import pytest
from scipy import stats

from experiments.figures.over_seeds import over_seeds


def test_no_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="got no values"):
        over_seeds([])


def test_one_seed_has_no_interval() -> None:
    assert over_seeds([0.5]) == (0.5, 1, None, None)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_interval_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert over_seeds(values.tolist()) == pytest.approx((values.mean(), n, low, high))


def test_it_covers_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    means = [over_seeds(rng.normal(1.0, 0.3, 5).tolist()) for _ in range(2000)]
    assert np.mean([m.low <= 1.0 <= m.high for m in means]) == pytest.approx(0.95, abs=0.015)
