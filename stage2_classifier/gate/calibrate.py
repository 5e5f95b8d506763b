"""The numbers of a gate, fitted on photos that no model was trained on: conformal threshold, regressions, exponents.

How one source of names is calibrated is in `scaling`; which policy is adopted, and whether any is, in `choose`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fusion.boxes import Detections, iou
from fusion.ensemble import Ensemble
from fusion.gate import (
    Gate,
    change_features,
    decide,
    detector_probabilities,
    gate_input,
    mass_above,
    posterior,
    rank_features,
    ranked,
)
from photos.score import CLASSIFICATION_SHARE, DETECTION_SHARE, Truth, counted, greedy_hits, match, scores
from stage2_classifier.gate.evidence import Evidence, models_of
from stage2_classifier.gate.ranks import scores_by_rank
from stage2_classifier.scaling import detector_scale

# Of the values below the first within WITHIN of the best is taken. Where all held-out photos are of one shop they hardly
# tell values apart, and noise would choose; in another shop the choice counts (experiments/LOG.md).
WITHIN = 0.002  # taken: the noise the project allows a gate (issue 3); what departs from the simplest must earn more than that
# Chosen: of the name's probability in the final score; 1 first, the probability that a product is there and has this name. Only
# the ratio of both exponents orders boxes, so that of the objectness stays 1. A regression in its place comes last.
EXPONENTS = (1.0, 2.0, 0.5, 0.25, 0.0)
COVERAGES = (1.0, 0.99, 0.95, 0.9)  # chosen: shares of boxes whose true name the plausible set holds; the first excludes none
OVERRIDES = ([[0.4, 0.85], [0.8, 0.9]], [[0.4, 0.85]], [[0.8, 0.9]])  # taken: the pairs that a contestant found (CONTEST.md)
EXPERTS = (0.5, 0.25, 1.0, 2.0)  # chosen: the detector's exponent in the product, the classifier's being 1
RULES = [WITHIN, EXPONENTS, COVERAGES, OVERRIDES, EXPERTS, "by rank"]  # what a gate that is kept was chosen by
FEWEST = 20  # chosen: with fewer rows no regression is fitted
# Fields that order boxes and name none: gates that differ in no other share a posterior.
ORDERS = {"objectness_exponent": 1.0, "name_exponent": 0.0, "rank_weights": [], "further": 0}


def conformal_threshold(ahead: np.ndarray, coverage: float) -> float:
    """The q such that a new box's true name has at most q of the probability ahead of it in a share `coverage` at least.

    Split conformal: of n held-out boxes' values in [0, 1] the ceil(coverage (n + 1))-th smallest, and 1 where that is none.

    >>> conformal_threshold(np.arange(1, 100) / 100, 0.95), conformal_threshold(np.array([0.1]), 0.95)
    (0.95, 1.0)
    """
    k = int(np.ceil(coverage * (len(ahead) + 1) - 1e-9))
    return float(np.sort(ahead)[k - 1]) if k <= len(ahead) else 1.0


def true_names(truth: Truth, boxes: np.ndarray) -> np.ndarray:
    """The label (N,) of the true box that each of `boxes` (N, 4) overlaps most, by half or more; -1 where there is none."""
    if len(truth.boxes) == 0 or len(boxes) == 0:
        return np.full(len(boxes), -1)
    overlap = iou(boxes, truth.boxes)  # (N, T)
    return np.where(overlap.max(1) >= 0.5, truth.labels[overlap.argmax(1)], -1)


def named_boxes(evidence: Sequence[Evidence]) -> tuple[np.ndarray, np.ndarray]:
    """Class evidence (M, C) and true labels (M,) of the merged boxes on true ones: for each true box the best-scored."""
    rows, labels = [], []
    for e in evidence:
        if e.merged.evidence is None or len(e.merged) == 0 or len(e.photo.boxes) == 0:
            continue
        overlap = iou(e.photo.boxes, e.merged.boxes)  # (T, N)
        value = np.where(overlap >= 0.5, e.merged.scores, -1.0)
        hit = value.max(1) >= 0
        rows.append(e.merged.evidence[value.argmax(1)[hit]])
        labels.append(e.photo.labels[hit])
    return (np.concatenate(rows), np.concatenate(labels)) if rows else (np.zeros((0, 1), np.float32), np.zeros(0, np.int64))


def fit_policy(policy: str, evidence: Sequence[Evidence]) -> Gate:
    """The gate of this `policy`, fitted on `evidence`; as `fit_policies`."""
    return fit_policies((policy,), evidence)[policy]


def fit_policies(policies: Sequence[str], evidence: Sequence[Evidence]) -> dict[str, Gate]:
    """The gate of each policy, fitted on `evidence`: the temperature by likelihood, the rest by the contest's score.

    All share the detector's temperature and floor, which are fitted once.
    """
    rows, labels = named_boxes(evidence)
    scale = detector_scale(rows, labels)
    return {policy: _fitted(Gate(policy, *scale), rows, labels, evidence) for policy in policies}


def _fitted(scaled: Gate, rows: np.ndarray, labels: np.ndarray, evidence: Sequence[Evidence]) -> Gate:
    """The gate of the policy of `scaled`, whose temperature and floor are fitted.

    First what decides names, at the first exponent: for `agree` the coverage of the plausible set (each threshold is conformal,
    and how much coverage pays depends on how much the detector knows), for `override` the pairs, for `product` the detector's
    exponent, for `stacked` a regression. Then what orders boxes: the name's exponent, or a regression in its place.
    """
    base = replace(scaled, coverage=1.0, name_exponent=EXPONENTS[0])
    named = _best([replace(base, **values) for values in _variants(base, rows, labels, evidence)], evidence)
    orders = [replace(named, name_exponent=exponent) for exponent in EXPONENTS]
    weights = rank_weights(named, evidence)
    return _best(orders + ([replace(named, rank_weights=weights)] if weights else []), evidence)


def _best(gates: Sequence[Gate], evidence: Sequence[Evidence]) -> Gate:
    """The first of `gates` that scores no more than WITHIN below the best.

    They differ neither in policy nor in the detector's temperature and floor.
    """
    if len(gates) == 1:
        return gates[0]
    by_photo = [decisions(e, gates, Ensemble.most // max(1, len(evidence))) for e in evidence]
    truths, n = [e.truth for e in evidence], n_categories(evidence)
    models = models_of(evidence)
    values = [scores(match(truths, ranked_apart(of_gate, truths, models), n)).score for of_gate in zip(*by_photo, strict=True)]
    return gates[first_near_best(values)]


def first_near_best(values: Sequence[float]) -> int:
    """The position of the first of `values` that is no more than WITHIN below the best.

    >>> first_near_best([0.899, 0.9, 0.901]), first_near_best([0.898, 0.9, 0.901])
    (0, 1)
    """
    return next(i for i, value in enumerate(values) if value >= max(values) - WITHIN)


def decisions(evidence: Evidence, gates: Sequence[Gate], limit: int) -> list[Detections]:
    """`decide` on one photo by each of `gates`, without class evidence: equal inputs and posteriors are computed once.

    The gates are of one policy, and of one temperature and floor of the detector.
    """
    merged = evidence.merged
    inputs = gate_input(merged, evidence.probabilities, gates[0])
    if inputs is None:
        return [decide(merged, evidence.probabilities, gate, limit) for gate in gates]
    boxes_alone = inputs._replace(merged=Detections(merged.boxes, merged.scores, merged.labels))
    listed: list[Detections] = []
    naming = names = None
    for gate in gates:
        if names is None or naming != replace(gate, **ORDERS):
            naming, names = replace(gate, **ORDERS), posterior(inputs, gate)
        listed.append(ranked(names, boxes_alone, gate, limit))
    return listed


def _variants(base: Gate, rows: np.ndarray, labels: np.ndarray, evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """The values that `base.policy` is tried with."""
    if base.policy == "agree":
        ahead = mass_above(detector_probabilities(rows, base.detector_temperature, base.detector_floor), labels)
        return [{"coverage": c, "plausible": conformal_threshold(ahead, c)} for c in COVERAGES]
    if base.policy == "override":
        return [{"overrides": pairs} for pairs in OVERRIDES]
    if base.policy == "product":
        return [{"detector_exponent": exponent} for exponent in EXPERTS]
    return [{"change_weights": change_weights(base, evidence)}] if base.policy == "stacked" else [{}]


def change_weights(gate: Gate, evidence: Sequence[Evidence]) -> list[float]:
    """The stacked policy's weights: a logistic regression on boxes whose two names differ and one of which is right (1: the
    classifier's).

    Where there are fewer than FEWEST such boxes, or one source is always the right one, a constant: that source.
    """
    features, right = [], []
    for e in evidence:
        sight = gate_input(e.merged, e.probabilities, gate)
        if sight is None or len(e.merged) == 0:
            continue
        c, d, truth = sight.classifier.argmax(1), sight.detector.argmax(1), true_names(e.truth, e.merged.boxes)
        contest = (c != d) & (truth >= 0) & ((c == truth) | (d == truth))
        features.append(change_features(sight)[contest])
        right.append((c == truth)[contest])
    x, y = (np.concatenate(features), np.concatenate(right)) if features else (np.zeros((0, 1)), np.zeros(0, bool))
    if len(y) >= FEWEST and 0 < y.mean() < 1:
        return regression(x, y, np.ones(len(y)))
    return [1.0 if len(y) and y.mean() > 0.5 else -1.0] + [0.0] * 7


def rank_weights(gate: Gate, evidence: Sequence[Evidence]) -> list[float]:
    """Weights of a logistic score: P(a product) and P(this product), weighed as the contest weighs its two parts.

    Empty where there are fewer than FEWEST boxes, or all are hits, or none.
    """
    features, hits, named = [], [], []
    for e in evidence:
        sight = gate_input(e.merged, e.probabilities, gate)
        if sight is None or len(e.merged) == 0:
            continue
        names = posterior(sight, gate)
        hit = first_hits(e.truth, e.merged)
        counts = counted(e.truth, e.merged, hit)
        features.append(rank_features(names, sight)[counts])
        hits.append(hit[counts])
        named.append((hit & (names.argmax(1) == true_names(e.truth, e.merged.boxes)))[counts])
    if not features:
        return []
    x, y = np.concatenate(features * 2), np.concatenate(hits + named)
    share = np.repeat([DETECTION_SHARE, CLASSIFICATION_SHARE], len(y) // 2)
    return regression(x, y, share) if len(y) >= 2 * FEWEST and 0 < y.mean() < 1 else []


def first_hits(truth: Truth, detections: Detections) -> np.ndarray:
    """Which of `detections` (N,) are the first on a product, whatever its name, by descending score: bool (N,)."""
    order = np.argsort(-detections.scores, kind="stable")
    nameless = Detections(detections.boxes[order], detections.scores[order], np.zeros(len(order), np.int64))
    hit = np.zeros(len(order), bool)
    hit[order] = greedy_hits(truth.nameless(), nameless)
    return hit


def regression(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> list[float]:
    """Logistic regression of y (M,) on x (M, F), whose first column is 1: weights (F,) for x as it is, standardised inside."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x[:, 1:])
    fitted = LogisticRegression(max_iter=1000).fit(scaler.transform(x[:, 1:]), y, sample_weight=weights)
    slopes = fitted.coef_[0] / scaler.scale_  # (F - 1,)
    return [float(fitted.intercept_[0] - slopes @ scaler.mean_), *(float(v) for v in slopes)]


def predictions(evidence: Sequence[Evidence], gates: Sequence[Gate]) -> list[Detections]:
    """The decision on every photo, each under its own gate, with its share of the further names of one run."""
    share = Ensemble.most // max(1, len(evidence))
    return [decide(e.merged, e.probabilities, gate, share) for e, gate in zip(evidence, gates, strict=True)]


def n_categories(evidence: Sequence[Evidence]) -> int:
    """How many names there are, as far as the models and the annotations know."""
    widths = [1] + [e.merged.evidence.shape[1] for e in evidence if e.merged.evidence is not None]
    return max(
        widths
        + [e.probabilities.shape[1] for e in evidence if e.probabilities is not None]
        + [int(e.photo.labels.max(initial=0)) + 1 for e in evidence]
    )


def score(evidence: Sequence[Evidence], gates: Sequence[Gate]) -> float:
    """0.7 det + 0.3 cls mAP50 of the decisions; photos that different models speak of are each ranked among their own."""
    truths = [e.truth for e in evidence]
    decided = ranked_apart(predictions(evidence, gates), truths, models_of(evidence))
    return scores(match(truths, decided, n_categories(evidence))).score


def ranked_apart(decided: Sequence[Detections], truths: Sequence[Truth], models: np.ndarray) -> Sequence[Detections]:
    """The decisions on P photos, those of each of `models` (P,) ranked among their own; of one model as they are."""
    return scores_by_rank(decided, truths, models) if models.any() else decided
