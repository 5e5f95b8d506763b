"""The maps from objectness to the chance of a hit: Platt's logistic one against scikit-learn, the isotonic one, the edges."""

import numpy as np
import pytest
from fixed_logits import Fixed
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from stage2_classifier import scaling


def boxes(n: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) and hits, of P(hit) = expit(slope logit(score) + intercept)."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.02, 0.98, n)
    return scores, rng.uniform(size=n) < expit(slope * scaling.logit(scores) + intercept)


def test_platt_is_recovered_and_is_scikit_learns() -> None:
    scores, hits = boxes(4000, 2.0, -1.0)
    slope, intercept = scaling.platt(scores, hits)
    assert (slope, intercept) == pytest.approx((2.0, -1.0), abs=0.2)
    x = scaling.logit(scores)[:, None]
    theirs = CalibratedClassifierCV(FrozenEstimator(Fixed(2)), method="sigmoid").fit(x, hits.astype(int))
    assert expit(slope * x[:, 0] + intercept) == pytest.approx(theirs.predict_proba(x)[:, 1], abs=1e-4)


@pytest.mark.parametrize(
    ("scores", "hits", "slope", "mean"),
    [
        pytest.param([], [], 1.0, None, id="no boxes"),
        pytest.param([0.2, 0.4, 0.9], [True] * 3, 1.0, 4 / 5, id="all hits"),
        pytest.param([0.2, 0.4, 0.9], [False] * 3, 1.0, 1 / 5, id="no hit"),
        pytest.param([0.1, 0.2, 0.8, 0.9], [True, True, False, False], 0.0, 0.5, id="the wrong way round"),
        pytest.param([0.5] * 4, [True, False] * 2, None, 0.5, id="one score"),
        pytest.param([0.0, 1.0], [False, True], None, 0.5, id="0 and 1"),
    ],
)
def test_platt_at_the_edges(scores: list[float], hits: list[bool], slope: float | None, mean: float | None) -> None:
    a, b = scaling.platt(np.array(scores), np.array(hits, bool))
    assert np.isfinite([a, b]).all() and a >= 0
    assert slope is None or a == slope
    assert mean is None or expit(a * scaling.logit(np.array(scores)) + b).mean() == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(
    ("scores", "hits"),
    [
        pytest.param([], [], id="no boxes"),
        pytest.param([0.2, 0.4], [True, True], id="all hits"),
        pytest.param([0.2, 0.4], [False, False], id="no hit"),
        pytest.param([0.3, 0.3, 0.3], [True, False, True], id="one score"),
        pytest.param([0.1, 0.2, 0.8, 0.9], [True, True, False, False], id="the wrong way round"),
    ],
)
def test_isotonic_never_falls_and_is_never_certain(scores: list[float], hits: list[bool]) -> None:
    knots = scaling.isotonic(np.array(scores), np.array(hits, bool))
    assert knots.shape[1] == 2
    assert (np.diff(knots, axis=0) >= 0).all()
    assert not scores or (knots[:, 1].min() > 0 and knots[:, 1].max() < 1)


def test_isotonic_finds_a_step_that_platt_cannot() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 4000)
    true = np.where(scores > 0.9, 0.95, np.where(scores > 0.2, 0.5, 0.05))
    hits = rng.uniform(size=4000) < true
    xs, ys = scaling.isotonic(scores, hits).T
    slope, intercept = scaling.platt(scores, hits)
    at_steps = np.abs(np.interp(scores, xs, ys) - true).mean()
    assert at_steps < 0.02 < np.abs(expit(slope * scaling.logit(scores) + intercept) - true).mean()


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_a_score_that_is_none_is_refused(bad: float) -> None:
    for fit in (scaling.platt, scaling.isotonic):
        with pytest.raises(ValueError, match=r"scores: got .*must be in \[0, 1\]"):
            fit(np.array([0.5, bad]), np.array([True, False]))
