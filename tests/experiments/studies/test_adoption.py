"""Simulated adoptions: no run, a gain that is there, and shares against scipy's own interval."""

import numpy as np
import pytest
from scipy.stats import binomtest

from experiments.studies import adoption


def test_no_runs() -> None:
    assert adoption.adoptions(3, 0, 10, np.random.default_rng(0)) == []


def test_a_true_gain_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    assert sum(adoption.adoptions(6, 20, 50, rng)) <= 3
    better = iter([0.95, 0.3] * 10_000)
    plain = adoption.named
    monkeypatch.setattr(adoption, "named", lambda rng, labels, share: plain(rng, labels, next(better)))
    assert sum(adoption.adoptions(6, 20, 50, rng)) >= 18


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (3, 40), (40, 40)])
def test_shares_have_scipys_exact_interval(hits: int, n: int) -> None:
    exact = binomtest(hits, n).proportion_ci(method="exact")
    assert np.allclose(adoption.exact_interval(hits, n), exact)
