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


@dataclass(frozen=True)
class Gate:
    """The fitted gate, a part of ensemble.json.

    `policy` is one of POLICIES. `detector_floor` > 0 is the evidence every name is given, beside which a faint score says
    little; `detector_temperature` > 0 then flattens (> 1) or sharpens (< 1) the class evidence into a calibrated distribution.
    A name is plausible to the detector unless the names it finds more probable hold more than `plausible` of the probability,
    which is set so that the true name is plausible in a share `coverage` of held-out boxes (conformal prediction with adaptive
    sets, Romano et al. 2020, arXiv:2006.02544): a weak detector's probability is spread, and it objects to nothing.
    The final score is objectness x name probability ^ `name_exponent`; a sure name is evidence that there is a product.
    """

    policy: str = "detector"
    detector_temperature: float = 1.0
    detector_floor: float = 1e-6
    coverage: float = 0.95
    plausible: float = 1.0
    name_exponent: float = 0.0


def detector_probabilities(evidence: Floats, temperature: float, floor: float) -> Floats:
    """Class scores (N, C) >= 0 -> for each box a distribution, (N, C), rows summing to 1: (score + floor)^(1 / T), normalised.

    >>> detector_probabilities(np.array([[0.4, 0.1], [0.0, 0.0]], np.float32), 1.0, 1e-6).round(2).tolist()
    [[0.800000011920929, 0.20000000298023224], [0.5, 0.5]]
    """
    logits = np.log(evidence.astype(np.float64) + floor) / temperature  # (N, C)
    powers = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def mass_ahead(probabilities: Floats, names: Labels) -> npt.NDArray[np.float64]:
    """The probability (N,) of all names that are more probable than `names` (N,) in each row of (N, C).

    >>> mass_ahead(np.array([[0.5, 0.25, 0.25]] * 2, np.float32), np.array([0, 2])).tolist()
    [0.0, 0.5]
    """
    own = np.take_along_axis(probabilities, names[:, None], 1)  # (N, 1)
    return np.asarray((probabilities * (probabilities > own)).sum(1, dtype=np.float64))


def keep_detector(detector: Floats, classifier: Floats, gate: Gate) -> npt.NDArray[np.bool_]:
    """Never the classifier's name."""
    return np.zeros(len(detector), bool)


def take_classifier(detector: Floats, classifier: Floats, gate: Gate) -> npt.NDArray[np.bool_]:
    """Always the classifier's name."""
    return np.ones(len(detector), bool)


def agree(detector: Floats, classifier: Floats, gate: Gate) -> npt.NDArray[np.bool_]:
    """The classifier's name where the detector finds it plausible and the classifier is the surer of its own: bool (N,)."""
    plausible = mass_ahead(detector, classifier.argmax(1)) <= gate.plausible
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
        return detector_probabilities(merged.evidence, gate.detector_temperature, gate.detector_floor)
    return None if classifier is None else np.full(classifier.shape, 1 / classifier.shape[1], np.float32)
