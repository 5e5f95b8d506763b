"""Whether probabilities are calibrated: reliability tables and the expected calibration error."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from stage2_classifier.scaling import EDGE, check

EQUAL = ("width", "count")  # what the bins of a reliability table have in common


class Bin(NamedTuple):
    """One row of a reliability table: the n of confidence in [low, high), or [low, high] in the last, and their means."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 15, equal: str = "width") -> list[Bin]:
    """For each bin that is not empty: its edges, count, mean confidence, and the share that is right.

    `equal` is what the bins have in common, width or count; equal confidences share a bin, so there may be fewer than `bins`.
    Raises ValueError for another word, and for a confidence outside [0, 1].
    """
    if equal not in EQUAL:
        raise ValueError(f"bins of equal: got {equal!r}, allowed: {', '.join(EQUAL)}")
    if len(confidence) == 0:
        return []
    if not (np.min(confidence) >= 0 and np.max(confidence) <= 1 + EDGE):  # also true of NaN
        raise ValueError(f"confidence: got {np.min(confidence)}..{np.max(confidence)}, must be in [0, 1]")
    steps = np.linspace(0, 1, bins + 1)
    inner = (steps if equal == "width" else np.unique(np.quantile(confidence, steps)))[1:-1]
    edges = [0.0, *inner.tolist(), 1.0]
    which = np.searchsorted(inner, confidence, side="right")  # (N,)
    members = [(b, which == b) for b in np.unique(which)]
    means = [(float(confidence[own].mean()), float(right[own].mean())) for _, own in members]
    return [Bin(edges[b], edges[b + 1], int(own.sum()), *mean) for (b, own), mean in zip(members, means, strict=True)]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15, equal: str = "width") -> float:
    """Expected calibration error in [0, 1]: mean |accuracy - confidence| over the bins, weighted by count; 0 without data."""
    table = reliability(confidence, right, bins, equal)
    return sum(abs(b.accuracy - b.confidence) * b.n for b in table) / max(1, len(confidence))


def ece(logits: np.ndarray, labels: np.ndarray, t: float, bins: int = 15, equal: str = "width") -> float:
    """The calibration error of the first name of softmax(logits / t), (N, C). ValueError as `check`."""
    check(logits, labels)
    if len(labels) == 0:
        return 0.0
    probabilities = softmax(logits.astype(np.float64) / t, axis=1)
    return calibration_error(probabilities.max(1), probabilities.argmax(1) == labels, bins, equal)
