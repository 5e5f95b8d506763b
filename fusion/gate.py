"""The gate: calibrated detector evidence x calibrated classifier evidence -> a label and a score for each box.

Its input is two distributions over the categories and the objectness of each box; it can always answer "keep the detector's
label". Knows nothing about photos or models. Its numbers are fitted in `stage2_classifier.gate`, on photos that neither model
was trained on. How ties are decided is listed in `docs/design.md`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fusion.boxes import Detections, area, join

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
MIN_PROBABILITY = 1e-9  # chosen: added to a probability before its logarithm is taken
MIN_FIRST_SCORE = 1e-9  # chosen: first names score at least this, further names less, so that every first name ranks above them


@dataclass(frozen=True)
class Gate:
    """The fitted gate, a part of ensemble.json.

    `policy` is one of POLICIES. `detector_floor` > 0 is added to every class score of the detector, so that very low scores
    hardly differ; `detector_temperature` > 0 then flattens (> 1) or sharpens (< 1) them into a calibrated distribution.

    agree: a name is plausible to the detector unless the names it finds more probable hold more than `plausible` of the
    probability. `plausible` is fitted so that the true name is plausible in a share `coverage` of held-out boxes (conformal
    prediction with adaptive sets, Romano et al. 2020, arXiv:2006.02544). The distribution of a weak detector is flat, so that
    every name is plausible to it.
    override: the classifier's name where, for one of the pairs in `overrides`, the detector's class score is below the first
    number and the classifier's probability above the second.
    product: the product of both distributions, the detector's to the power `detector_exponent`, the classifier's to
    `classifier_exponent` (Hinton 2002).
    stacked: the classifier's name where `change_weights` x `change_features`, a logistic regression, is above 0.

    The final score is objectness ^ `objectness_exponent` x name probability ^ `name_exponent`, or, where `rank_weights` is
    given, the logistic function of `rank_weights` x `rank_features`. Each box is listed again under `further` names; see
    `decide`.
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


class GateInput(NamedTuple):
    """The input of a policy for N boxes and C names: both distributions (N, C), float32, and the merged boxes.

    Rows of `detector` sum to 1. Rows of `classifier` sum to at most 1; the rest is its probability of background.
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


def mass_above(probabilities: Floats, names: Labels) -> npt.NDArray[np.float64]:
    """The total probability (N,) of all names that are more probable than `names` (N,), in each row of (N, C).

    >>> mass_above(np.array([[0.5, 0.25, 0.25]] * 2, np.float32), np.array([0, 2])).tolist()
    [0.0, 0.5]
    """
    own = np.take_along_axis(probabilities, names[:, None], 1)  # (N, 1)
    return np.asarray((probabilities * (probabilities > own)).sum(1, dtype=np.float64))


def keep_detector(inputs: GateInput, gate: Gate) -> Floats:
    """Always the detector's name; the classifier, its background included, has no influence."""
    return inputs.detector


def take_classifier(inputs: GateInput, gate: Gate) -> Floats:
    """Always the classifier's name."""
    return inputs.classifier


def override(inputs: GateInput, gate: Gate) -> Floats:
    """The classifier's name where the detector's class score is low and the classifier is sure, by pairs of thresholds."""
    evidence = inputs.merged.evidence
    score = np.zeros(len(inputs.merged)) if evidence is None else evidence.max(1, initial=0.0)  # (N,)
    confidence = inputs.classifier.max(1, initial=0.0)
    change = np.zeros(len(score), bool)
    for below, above in gate.overrides:
        change |= (score < below) & (confidence > above)
    return _take_classifier_where(inputs, change)


def agree(inputs: GateInput, gate: Gate) -> Floats:
    """The classifier's name where the detector finds it plausible and the classifier is at least as sure as the detector.

    How sure: the probability each gives its own best name. A name that the detector was not trained on (probability 0 in its
    distribution) counts as plausible.
    """
    names = inputs.classifier.argmax(1)
    trained_on = _probability_of(inputs.detector, names) > 0
    plausible = ~trained_on | (mass_above(inputs.detector, names) <= gate.plausible)
    as_sure = inputs.classifier.max(1, initial=0.0) >= inputs.detector.max(1, initial=0.0) * _product_mass(inputs)
    return _take_classifier_where(inputs, plausible & as_sure)


def product(inputs: GateInput, gate: Gate) -> Floats:
    """Product of both distributions with an exponent each; background keeps the probability that the classifier gives it."""
    logits = gate.detector_exponent * np.log(_fill_untrained(inputs.detector) + MIN_PROBABILITY)
    logits = logits + gate.classifier_exponent * np.log(inputs.classifier + MIN_PROBABILITY)
    powers = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))  # (N, C)
    return np.asarray(powers / powers.sum(1, keepdims=True) * _product_mass(inputs)[:, None], np.float32)


def stacked(inputs: GateInput, gate: Gate) -> Floats:
    """The classifier's name where a logistic regression on both distributions prefers it to the detector's."""
    features = change_features(inputs)
    weights = np.asarray(gate.change_weights or [0.0] * features.shape[1])
    return _take_classifier_where(inputs, features @ weights > 0)


POLICIES: dict[str, Callable[[GateInput, Gate], Floats]] = {
    "detector": keep_detector, "raw": take_classifier, "override": override, "agree": agree, "product": product,
    "stacked": stacked,
}  # fmt: skip


def _take_classifier_where(inputs: GateInput, change: npt.NDArray[np.bool_]) -> Floats:
    """The classifier's row where `change` (N,); elsewhere the detector's, times the classifier's probability of a product."""
    kept = inputs.detector * _product_mass(inputs)[:, None]
    return np.asarray(np.where(change[:, None], inputs.classifier, kept), np.float32)


def _product_mass(inputs: GateInput) -> Floats:
    """The classifier's probability (N,) that the box holds a product, whichever it is."""
    return np.asarray(np.minimum(inputs.classifier.sum(1), 1), np.float32)


def change_features(inputs: GateInput) -> npt.NDArray[np.float64]:
    """Features (N, 8) of changing the detector's name to the classifier's, for the policy `stacked`.

    They are: 1; log probability of the classifier's name in the classifier's and the detector's distribution; the same of the
    detector's name; difference of the classifier's two highest probabilities; logit of the objectness; log of the box's side.
    """
    c, d = inputs.classifier.argmax(1), inputs.detector.argmax(1)
    detector = _fill_untrained(inputs.detector)
    logs = [np.log(_probability_of(p, names) + MIN_PROBABILITY) for names in (c, d) for p in (inputs.classifier, detector)]
    top = np.sort(inputs.classifier, axis=1)[:, -2:]  # (N, 2), or (N, 1) where there is one name
    margin = top[:, -1] - top[:, 0] if top.shape[1] > 1 else np.ones(len(top))
    return np.stack([np.ones(len(c)), *logs, margin, _logit(inputs.merged.scores), _log_side(inputs.merged)], 1)


def rank_features(posterior: Floats, inputs: GateInput) -> npt.NDArray[np.float64]:
    """Features (N, 6) of a box for its logistic score.

    They are: 1; logit of the objectness; log of the name's probability; log of the probability of any product; whether both
    sources give this name; log of the box's side.
    """
    names = posterior.argmax(1)
    both = (inputs.classifier.argmax(1) == names) & (inputs.detector.argmax(1) == names)
    name = np.log(posterior.max(1, initial=0.0) + MIN_PROBABILITY)
    mass = np.log(np.minimum(posterior.sum(1, dtype=np.float64).round(4), 1.0) + MIN_PROBABILITY)  # log(1) without background
    columns = [np.ones(len(names)), _logit(inputs.merged.scores), name, mass, both.astype(float), _log_side(inputs.merged)]
    return np.stack(columns, 1)


def _fill_untrained(detector: Floats) -> Floats:
    """(N, C) with the row's greatest probability for names the detector was not trained on (probability 0): it abstains."""
    return np.where(detector > 0, detector, detector.max(1, keepdims=True, initial=0.0))


def _probability_of(probabilities: Floats, names: Labels) -> Floats:
    return np.take_along_axis(probabilities, names[:, None], 1)[:, 0]


def _logit(scores: Floats) -> npt.NDArray[np.float64]:
    p = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))


def _log_side(merged: Detections) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(np.sqrt(area(merged.boxes)) + 1.0))


def gate_input(merged: Detections, classifier: Floats | None, gate: Gate) -> GateInput | None:
    """Both distributions, of one width; where one is missing, the other speaks for both. None where both are missing.

    A row of the classifier that is not finite is replaced by the detector's; without one by the first name, as probable as by
    chance, and no further ones. The detector may know only the first of the classifier's names; the others then have
    probability 0. The policy `detector` gets the detector's distribution twice, where there is one. Raises ValueError where the
    detector knows more names than the classifier.
    """
    if merged.evidence is None and classifier is None:
        return None
    if merged.evidence is None:
        assert classifier is not None
        only = _fill_missing(classifier, np.eye(1, classifier.shape[1], dtype=np.float32) / classifier.shape[1])
        return GateInput(only, only, merged)
    detector = detector_probabilities(merged.evidence, gate.detector_temperature, gate.detector_floor)
    if classifier is None:
        return GateInput(detector, detector, merged)
    missing = classifier.shape[1] - detector.shape[1]
    if missing < 0 or len(classifier) != len(detector):
        raise ValueError(f"classifier: got probabilities {classifier.shape}, the detectors' evidence is {detector.shape}")
    if gate.policy == "detector":
        return GateInput(detector, detector, merged)
    padded = np.pad(detector, ((0, 0), (0, missing)))
    return GateInput(padded, _fill_missing(classifier, padded), merged)


def _fill_missing(classifier: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isfinite(classifier).all(1, keepdims=True), classifier, otherwise)


def posterior(inputs: GateInput, gate: Gate) -> Floats:
    """The probability (N, C) of each name under the gate's policy. Raises ValueError for an unknown policy."""
    if gate.policy not in POLICIES:
        raise ValueError(f"gate policy: got {gate.policy!r}, allowed: {', '.join(POLICIES)}")
    return POLICIES[gate.policy](inputs, gate)


def choose_labels(merged: Detections, classifier: Floats | None, gate: Gate) -> tuple[Labels, Floats]:
    """The label (N,) that the gate gives each box, and its probability (N,), in the order of `merged`.

    `merged` are fused boxes, their objectness as scores and the detectors' class evidence (N, C), or none; `classifier` is
    calibrated probabilities (N, C), or None without a classifier: then the detector's label stays. Raises ValueError for an
    unknown policy, or a classifier that knows fewer names than the detectors.
    """
    inputs = gate_input(merged, classifier, gate)
    if inputs is None:
        return merged.labels, np.ones(len(merged), np.float32)
    names = posterior(inputs, gate)
    return names.argmax(1).astype(np.int64), names.max(1, initial=0.0)


def decide(merged: Detections, classifier: Floats | None, gate: Gate, limit: int | None = None) -> Detections:
    """`merged` with the gate's labels and final scores, highest score first; arguments and errors as `choose_labels`.

    With `gate.further` > 0 each box is listed again under its next names, at most `limit` rows in all, the best. By the
    definition of AP they cannot lower it. A first name scores at least MIN_FIRST_SCORE and a further name less, on every photo,
    so each ranking (of all boxes, and of each name) is the old one with a tail; first names below MIN_FIRST_SCORE become ties.
    Matching is greedy from the top, so the tail can match only truth that the old ranking did not, and the final recall can
    only rise. COCO's precision at a recall is the greatest precision at that recall or a higher one: the old values stay, and
    the tail can only add higher ones. A cap on detections per photo, such as COCO's 100, cuts the tail first. Box detection,
    where names do not count, gains nothing but in rare cases: a box that is listed again matches the same truth.
    """
    inputs = gate_input(merged, classifier, gate)
    if inputs is None:
        return merged.take(np.argsort(-merged.scores, kind="stable"))
    return ranked(posterior(inputs, gate), inputs, gate, limit)


def ranked(names: Floats, inputs: GateInput, gate: Gate, limit: int | None = None) -> Detections:
    """`decide` where the posterior `names` (N, C) of `inputs` is known: gates that only order boxes otherwise share it."""
    merged, scores = inputs.merged, final_scores(names, inputs, gate)
    first = Detections(merged.boxes, scores, names.argmax(1).astype(np.int64), merged.evidence)
    first = first.take(np.argsort(-scores, kind="stable"))
    if gate.further < 1:
        return first
    raised = Detections(first.boxes, np.maximum(first.scores, np.float32(MIN_FIRST_SCORE)), first.labels, first.evidence)
    tail = further_names(names, merged, gate.further)
    return join([raised, tail.take(np.arange(len(tail) if limit is None else min(limit, len(tail))))])


def final_scores(names: Floats, inputs: GateInput, gate: Gate) -> Floats:
    """The score (N,) in [0, 1] of each box under its first name."""
    if gate.rank_weights:
        return np.asarray(1 / (1 + np.exp(-rank_features(names, inputs) @ np.asarray(gate.rank_weights))), np.float32)
    powers = inputs.merged.scores**gate.objectness_exponent * names.max(1, initial=0.0) ** gate.name_exponent
    return np.asarray(powers, np.float32)


def further_names(names: Floats, merged: Detections, count: int) -> Detections:
    """Each box again under the 2nd to (`count` + 1)-th most probable of `names` (N, C), score < MIN_FIRST_SCORE, best first."""
    order = np.argsort(-names, axis=1, kind="stable")[:, 1 : count + 1]  # (N, K)
    box, _ = np.indices(order.shape)
    scores = merged.scores[:, None] * np.take_along_axis(names, order, 1) * np.float32(MIN_FIRST_SCORE * 0.999)  # (N, K)
    listed = Detections(merged.boxes[box.ravel()], scores.ravel(), order.ravel().astype(np.int64),
                       None if merged.evidence is None else merged.evidence[box.ravel()])  # fmt: skip
    best = listed.take(np.argsort(-listed.scores, kind="stable"))
    return best.take(best.scores > 0)
