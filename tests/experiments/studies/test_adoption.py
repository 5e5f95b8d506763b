"""Simulated adoptions: no run, and a gain that is there."""

import numpy as np
import pytest

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
