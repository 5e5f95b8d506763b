"""Calibrated detector evidence x calibrated classifier evidence -> names and a score for each box.

The gate sees two distributions over the categories and the objectness of each box, and can always answer "keep the detector's
label". Knows nothing about photos or models. What its numbers should be is fitted elsewhere, on photos neither model has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fusion.boxes import Detections, area, join

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
TINY = 1e-9  # chosen: the probability below which a logarithm is cut
FIRST = 1e-9  # chosen: first names score in [FIRST, 1], further names below it, so that every first name ranks above them


@dataclass(frozen=True)
class Gate:
    """The fitted gate, a part of ensemble.json.

    `policy` is one of POLICIES. `detector_floor` > 0 is the evidence every name is given, beside which a faint score says
    little; `detector_temperature` > 0 then flattens (> 1) or sharpens (< 1) the class evidence into a calibrated distribution.

    agree: a name is plausible to the detector unless the names it finds more probable hold more than `plausible` of the
    probability, which is set so that the true name is plausible in a share `coverage` of held-out boxes (conformal prediction
    with adaptive sets, Romano et al. 2020, arXiv:2006.02544): a weak detector's is spread, and objects to nothing.
    override: the classifier's name where, for one of the pairs in `overrides`, the detector's class score is below the first
    number and the classifier's probability above the second. product: the product of both distributions, the detector's to the
    power `detector_exponent`, the classifier's to `classifier_exponent` (Hinton 2002). stacked: the classifier's name where
    `change_weights` x `contest_features` is above 0, a logistic regression.

    The final score is objectness ^ `objectness_exponent` x name probability ^ `name_exponent`, or, where `rank_weights` is
    given, the logistic function of `rank_weights` x `rank_features`. `further` names of each box follow, as `decide` says.
    """

    policy: str = "detector"
    detector_temperature: float = 1.0
    detector_floor: float = 1e-6
    coverage: float = 0.95
    plausible: float = 1.0
    overrides: list[list[float]] = field(default_factory=list)
    detector_exponent: float = 0.5
    classifier_exponent: float = 1.0
    change_weights: list[float] = field(default_factory=list)
    objectness_exponent: float = 1.0
    name_exponent: float = 0.0
    rank_weights: list[float] = field(default_factory=list)
    further: int = 0


class Sight(NamedTuple):
    """What a policy sees of N boxes and C names: both distributions (N, C), float32, and the merged boxes.

    Rows of `detector` sum to 1. Rows of `classifier` sum to at most 1; what is missing is its probability of background.
    """

    detector: Floats
    classifier: Floats
    merged: Detections


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


def keep_detector(sight: Sight, gate: Gate) -> Floats:
    """Never the classifier's name; nothing of the classifier, its background included, has a say."""
    return sight.detector


def take_classifier(sight: Sight, gate: Gate) -> Floats:
    """Always the classifier's name."""
    return sight.classifier


def override(sight: Sight, gate: Gate) -> Floats:
    """The classifier's name where the detector's class score is low and the classifier is sure: pairs of thresholds."""
    known = sight.merged.evidence
    score = np.zeros(len(sight.merged)) if known is None else known.max(1, initial=0.0)  # (N,)
    sure = sight.classifier.max(1, initial=0.0)
    change = np.zeros(len(score), bool)
    for below, above in gate.overrides:
        change |= (score < below) & (sure > above)
    return _switch(sight, change)


def agree(sight: Sight, gate: Gate) -> Floats:
    """The classifier's name where the detector finds it plausible and the classifier is the surer of its own.

    A name the detector was never taught (probability 0 in its distribution) is not implausible to it.
    """
    names = sight.classifier.argmax(1)
    taught = np.take_along_axis(sight.detector, names[:, None], 1)[:, 0] > 0
    plausible = ~taught | (mass_ahead(sight.detector, names) <= gate.plausible)
    surer = sight.classifier.max(1, initial=0.0) >= sight.detector.max(1, initial=0.0) * _product_mass(sight)
    return _switch(sight, plausible & surer)


def product(sight: Sight, gate: Gate) -> Floats:
    """Product of experts with tempered exponents, over the names; background keeps the probability the classifier gives it."""
    logits = gate.detector_exponent * np.log(_taught(sight.detector) + TINY)
    logits = logits + gate.classifier_exponent * np.log(sight.classifier + TINY)
    powers = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))  # (N, C)
    return np.asarray(powers / powers.sum(1, keepdims=True) * _product_mass(sight)[:, None], np.float32)


def stacked(sight: Sight, gate: Gate) -> Floats:
    """The classifier's name where a logistic regression on both evidences says that it is the right one of the two."""
    features = contest_features(sight)
    weights = np.asarray(gate.change_weights or [0.0] * features.shape[1])
    return _switch(sight, features @ weights > 0)


POLICIES: dict[str, Callable[[Sight, Gate], Floats]] = {
    "detector": keep_detector, "raw": take_classifier, "override": override, "agree": agree, "product": product,
    "stacked": stacked,
}  # fmt: skip


def _switch(sight: Sight, change: npt.NDArray[np.bool_]) -> Floats:
    """The classifier's row where `change` (N,), elsewhere the detector's, less what the classifier takes for background."""
    kept = sight.detector * _product_mass(sight)[:, None]
    return np.asarray(np.where(change[:, None], sight.classifier, kept), np.float32)


def _product_mass(sight: Sight) -> Floats:
    """The probability (N,) that there is a product at all, by the classifier."""
    return np.asarray(np.minimum(sight.classifier.sum(1), 1), np.float32)


def contest_features(sight: Sight) -> npt.NDArray[np.float64]:
    """What the stacked policy sees of a contest between two names, (N, 8): 1, log probability of the classifier's name in both
    distributions and of the detector's in both, the classifier's margin, logit of the objectness, log of the box's side.
    """
    c, d = sight.classifier.argmax(1), sight.detector.argmax(1)
    known = _taught(sight.detector)
    logs = [np.log(_of(p, names) + TINY) for names in (c, d) for p in (sight.classifier, known)]
    top = np.sort(sight.classifier, axis=1)[:, -2:]  # (N, 2), or (N, 1) where there is one name
    margin = top[:, -1] - top[:, 0] if top.shape[1] > 1 else np.ones(len(top))
    return np.stack([np.ones(len(c)), *logs, margin, _logit(sight.merged.scores), _log_side(sight.merged)], 1)


def rank_features(posterior: Floats, sight: Sight) -> npt.NDArray[np.float64]:
    """What the logistic score sees of a box, (N, 6): 1, logit of the objectness, log of the name's probability and of that of
    any product, whether both sources give this name, log of the box's side.
    """
    names = posterior.argmax(1)
    both = (sight.classifier.argmax(1) == names) & (sight.detector.argmax(1) == names)
    name = np.log(posterior.max(1, initial=0.0) + TINY)
    mass = np.log(np.minimum(posterior.sum(1, dtype=np.float64).round(4), 1.0) + TINY)  # 0, not 1e-8, without a background
    columns = [np.ones(len(names)), _logit(sight.merged.scores), name, mass, both.astype(float), _log_side(sight.merged)]
    return np.stack(columns, 1)


def _taught(detector: Floats) -> Floats:
    """(N, C) in which a name the detector was never taught, probability 0, is as probable as its best: it has no say there."""
    return np.where(detector > 0, detector, detector.max(1, keepdims=True, initial=0.0))


def _of(probabilities: Floats, names: Labels) -> Floats:
    return np.take_along_axis(probabilities, names[:, None], 1)[:, 0]


def _logit(scores: Floats) -> npt.NDArray[np.float64]:
    p = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))


def _log_side(merged: Detections) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(np.sqrt(area(merged.boxes)) + 1.0))


def see(merged: Detections, classifier: Floats | None, gate: Gate) -> Sight | None:
    """Both distributions, of one width; the one that is missing is uniform; None where nobody knows names.

    The detector may know fewer names than the classifier, the first ones: of the others it holds 0. The policy `detector`
    sees the detector's alone, where there is one. Raises ValueError where the detector knows more.
    """
    if merged.evidence is None and classifier is None:
        return None
    if merged.evidence is None:
        assert classifier is not None
        uniform = np.full_like(classifier, 1 / classifier.shape[1])
        return Sight(classifier if gate.policy == "detector" else uniform, classifier, merged)
    detector = detector_probabilities(merged.evidence, gate.detector_temperature, gate.detector_floor)
    if classifier is None:
        return Sight(detector, detector, merged)
    missing = classifier.shape[1] - detector.shape[1]
    if missing < 0 or len(classifier) != len(detector):
        raise ValueError(f"classifier: got probabilities {classifier.shape}, the detectors' evidence is {detector.shape}")
    if gate.policy == "detector":
        return Sight(detector, detector, merged)
    return Sight(np.pad(detector, ((0, 0), (0, missing))), classifier, merged)


def posterior(sight: Sight, gate: Gate) -> Floats:
    """The probability (N, C) of each name under the gate's policy. Raises ValueError for an unknown policy."""
    if gate.policy not in POLICIES:
        raise ValueError(f"gate policy: got {gate.policy!r}, allowed: {', '.join(POLICIES)}")
    return POLICIES[gate.policy](sight, gate)


def name(merged: Detections, classifier: Floats | None, gate: Gate) -> tuple[Labels, Floats]:
    """The label (N,) the gate gives each box and that name's probability (N,), in the order of `merged`.

    Args:
        merged: fused boxes, their objectness as scores and the detectors' class evidence (N, C), or none.
        classifier: calibrated probabilities (N, C), or None without a classifier; then the detector's label stays.
        gate: the policy and its fitted numbers.

    Raises:
        ValueError: an unknown policy, or a classifier that knows fewer names than the detectors.
    """
    sight = see(merged, classifier, gate)
    if sight is None:
        return merged.labels, np.ones(len(merged), np.float32)
    names = posterior(sight, gate)
    return names.argmax(1).astype(np.int64), names.max(1, initial=0.0)


def decide(merged: Detections, classifier: Floats | None, gate: Gate, most: int | None = None) -> Detections:
    """`merged` with the gate's labels and final scores, highest score first; arguments and errors as `name`.

    With `gate.further` > 0 each box is listed again under its next names, at most `most` times in all, best first. They cost
    nothing as AP is defined: a first name scores FIRST at least and a further one less, on every photo alike, so each ranking
    (of all boxes, and of one name's) is the old one with a tail; first names that scored below FIRST tie. Matching is greedy
    from the top, so the tail takes only what the old ranking left unfound, and recall at its end can only rise. Precision at a
    recall that the old ranking reached is the best at this recall or beyond: its own values stay, and the tail can only add
    candidates. A cap on detections a photo, such as COCO's 100, cuts the tail first. Box finding does not gain: a box that is
    listed again finds nothing new unless another took what it found.
    """
    sight = see(merged, classifier, gate)
    if sight is None:
        return merged.take(np.argsort(-merged.scores, kind="stable"))
    names = posterior(sight, gate)
    scores = final_scores(names, sight, gate)
    first = Detections(merged.boxes, scores, names.argmax(1).astype(np.int64), merged.evidence)
    first = first.take(np.argsort(-scores, kind="stable"))
    if gate.further < 1:
        return first
    raised = Detections(first.boxes, np.maximum(first.scores, np.float32(FIRST)), first.labels, first.evidence)
    tail = further_names(names, merged, gate.further)
    return join([raised, tail.take(np.arange(len(tail) if most is None else min(most, len(tail))))])


def final_scores(names: Floats, sight: Sight, gate: Gate) -> Floats:
    """The score (N,) in [0, 1] of each box under its first name."""
    if gate.rank_weights:
        return np.asarray(1 / (1 + np.exp(-rank_features(names, sight) @ np.asarray(gate.rank_weights))), np.float32)
    powers = sight.merged.scores**gate.objectness_exponent * names.max(1, initial=0.0) ** gate.name_exponent
    return np.asarray(powers, np.float32)


def further_names(names: Floats, merged: Detections, count: int) -> Detections:
    """Each box again under the 2nd to (`count` + 1)-th most probable of `names` (N, C), score < FIRST, best first."""
    order = np.argsort(-names, axis=1, kind="stable")[:, 1 : count + 1]  # (N, K)
    box, _ = np.indices(order.shape)
    scores = merged.scores[:, None] * np.take_along_axis(names, order, 1) * np.float32(FIRST * 0.999)  # (N, K)
    found = Detections(merged.boxes[box.ravel()], scores.ravel(), order.ravel().astype(np.int64),
                       None if merged.evidence is None else merged.evidence[box.ravel()])  # fmt: skip
    best = found.take(np.argsort(-found.scores, kind="stable"))
    return best.take(best.scores > 0)
