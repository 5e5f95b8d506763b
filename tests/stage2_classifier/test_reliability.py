"""Reliability tables against scikit-learn's curve, the calibration error against a slow loop, and both at the edges."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from stage2_classifier import reliability


def test_no_confidence_no_table_no_error() -> None:
    for equal in reliability.EQUAL:
        assert reliability.reliability(np.zeros(0), np.zeros(0, bool), 15, equal) == []
        assert reliability.calibration_error(np.zeros(0), np.zeros(0, bool), 15, equal) == 0.0
    assert reliability.ece(np.zeros((0, 6)), np.zeros(0, np.int64), 1.0) == 0.0


@pytest.mark.parametrize(("equal", "theirs"), [("width", "uniform"), ("count", "quantile")])
def test_the_table_is_scikit_learns_curve_with_counts(equal: str, theirs: str) -> None:
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 1, 998)
    right = rng.uniform(size=998) < confidence**2
    table = reliability.reliability(confidence, right, 10, equal)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10, strategy=theirs)
    assert [b.accuracy for b in table] == pytest.approx(accuracy.tolist())
    assert [b.confidence for b in table] == pytest.approx(mean.tolist())
    assert sum(b.n for b in table) == 998
    assert all(b.low <= b.confidence <= b.high for b in table)
    assert equal == "width" or max(b.n for b in table) - min(b.n for b in table) <= 1


def test_the_error_is_the_slow_loop() -> None:
    rng = np.random.default_rng(1)
    confidence, right = rng.uniform(size=300), rng.uniform(size=300) < 0.5
    total = 0.0
    for k in range(7):
        own = [i for i in range(300) if k / 7 <= confidence[i] < (k + 1) / 7]
        total += abs(sum(right[own]) - sum(confidence[own])) / 300
    assert reliability.calibration_error(confidence, right, 7) == pytest.approx(total)


def test_confidences_of_0_and_1_are_in_the_outer_bins() -> None:
    table = reliability.reliability(np.array([0.0, 1.0]), np.array([False, True]), 4)
    assert table == [reliability.Bin(0.0, 0.25, 1, 0.0, 0.0), reliability.Bin(0.75, 1.0, 1, 1.0, 1.0)]


def test_equal_confidences_share_a_bin() -> None:
    right = np.array([True, False, True, True])
    for equal in reliability.EQUAL:
        assert [b[2:] for b in reliability.reliability(np.full(4, 0.5), right, 3, equal)] == [(4, 0.5, 0.75)]


def test_what_is_no_confidence_is_refused() -> None:
    for bad in (-0.5, 1.5, np.nan):
        with pytest.raises(ValueError, match="confidence: got"):
            reliability.reliability(np.array([0.5, bad]), np.array([True, True]))
    with pytest.raises(ValueError, match="got 'mass', allowed: width, count"):
        reliability.reliability(np.array([0.5]), np.array([True]), 3, "mass")
