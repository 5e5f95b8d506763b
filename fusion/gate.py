"""Calibrated detector evidence x calibrated classifier evidence -> category and score.

The gate sees two distributions over the categories and the objectness of each box, and can always answer "keep the detector's
label". Knows nothing about photos or models. What its numbers should be is fitted elsewhere, on photos neither model has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion.boxes import Detections

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
FLOOR = 1e-6  # chosen: the evidence a category has at least, so that none is impossible for the detector


@dataclass(frozen=True)
class Gate:
    """The fitted gate, a part of ensemble.json.

    `policy` is one of POLICIES. `detector_temperature` > 0 flattens (> 1) or sharpens (< 1) the detector's class evidence into
    a calibrated distribution. A category is plausible to the detector when its calibrated probability is at least `plausible`,
    which is set so that the true one is plausible in a share `coverage` of held-out boxes (split conformal prediction,
    Sadinle et al. 2019, arXiv:1609.00451): a weak detector's `plausible` is near 0, and it objects to nothing.
    The final score is objectness x name probability ^ `name_exponent`; a sure name is evidence that there is a product.
    """

    policy: str = "detector"
    detector_temperature: float = 1.0
    coverage: float = 0.95
    plausible: float = 0.0
    name_exponent: float = 0.0


def detector_probabilities(evidence: Floats, temperature: float) -> Floats:
    """Class scores (N, C) >= 0 -> for each box a distribution, (N, C), rows summing to 1: (score + 1e-6)^(1 / T), normalised.

    >>> detector_probabilities(np.array([[0.4, 0.1], [0.0, 0.0]], np.float32), 1.0).round(2).tolist()
    [[0.800000011920929, 0.20000000298023224], [0.5, 0.5]]
    """
    logits = np.log(evidence.astype(np.float64) + FLOOR) / temperature  # (N, C)
    powers = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def keep_detector(detector: Floats, classifier: Floats, gate: Gate) -> npt.NDArray[np.bool_]:
    """Never the classifier's name."""
    return np.zeros(len(detector), bool)


def take_classifier(detector: Floats, classifier: Floats, gate: Gate) -> npt.NDArray[np.bool_]:
    """Always the classifier's name."""
    return np.ones(len(detector), bool)


def agree(detector: Floats, classifier: Floats, gate: Gate) -> npt.NDArray[np.bool_]:
    """The classifier's name where the detector finds it plausible and the classifier is the surer of its own: bool (N,)."""
    name = classifier.argmax(1)  # (N,)
    plausible = np.take_along_axis(detector, name[:, None], 1)[:, 0] >= gate.plausible
    return np.asarray(plausible & (classifier.max(1, initial=0.0) >= detector.max(1, initial=0.0)), bool)


POLICIES: dict[str, Callable[[Floats, Floats, Gate], npt.NDArray[np.bool_]]] = {
    "detector": keep_detector, "raw": take_classifier, "agree": agree,
}  # fmt: skip


def name(merged: Detections, classifier: Floats | None, gate: Gate) -> tuple[Labels, Floats]:
    """The label (N,) the gate gives each box and that name's probability (N,), in the order of `merged`.

    Args:
        merged: fused boxes, their objectness as scores and the detectors' class evidence (N, C), or none.
        classifier: calibrated probabilities (N, C), or None without a classifier; then the detector's label stays.
        gate: the policy and its fitted numbers.

    Raises:
        ValueError: an unknown policy, or a classifier and detectors of different widths.
    """
    if gate.policy not in POLICIES:
        raise ValueError(f"gate policy: got {gate.policy!r}, allowed: {', '.join(POLICIES)}")
    detector = detector_side(merged, classifier, gate)
    if detector is None:
        return merged.labels, np.ones(len(merged), np.float32)
    other = detector if classifier is None else classifier
    if other.shape != detector.shape:
        raise ValueError(f"classifier: got probabilities {other.shape}, must be {detector.shape} as the detectors' evidence")
    change = POLICIES["detector" if classifier is None else gate.policy](detector, other, gate)  # (N,)
    labels = np.where(change, other.argmax(1), detector.argmax(1)).astype(np.int64)
    return labels, np.where(change, other.max(1, initial=0.0), detector.max(1, initial=0.0)).astype(np.float32)


def decide(merged: Detections, classifier: Floats | None, gate: Gate) -> Detections:
    """`merged` with the gate's labels and final scores, highest score first; arguments and errors as `name`."""
    labels, probability = name(merged, classifier, gate)
    scores = (merged.scores * probability**gate.name_exponent).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    return Detections(merged.boxes, scores, labels, merged.evidence).take(order)


def detector_side(merged: Detections, classifier: Floats | None, gate: Gate) -> Floats | None:
    """The detectors' calibrated distribution (N, C); uniform where only the classifier knows names; None where nobody does."""
    if merged.evidence is not None:
        return detector_probabilities(merged.evidence, gate.detector_temperature)
    return None if classifier is None else np.full(classifier.shape, 1 / classifier.shape[1], np.float32)
