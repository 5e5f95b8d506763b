"""The gate: it can refuse, it can accept, and a weak detector objects to nothing."""

from dataclasses import replace

import numpy as np
import pytest

from fusion.boxes import Detections
from fusion.gate import (
    POLICIES,
    Gate,
    GateInput,
    agree,
    change_features,
    choose_labels,
    decide,
    detector_probabilities,
    gate_input,
    mass_above,
    posterior,
    rank_features,
)

Rows = list[list[float]] | np.ndarray


def merged(evidence: Rows | None, scores: list[float] | np.ndarray) -> Detections:
    n = len(scores)
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (n, 1))
    vectors = None if evidence is None else np.array(evidence, np.float32).reshape(n, -1)
    return Detections(boxes, np.array(scores, np.float32), np.zeros(n, np.int64), vectors)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_boxes_give_no_names(policy: str) -> None:
    nothing = Detections.empty(3)
    assert len(decide(nothing, np.zeros((0, 3), np.float32), Gate(policy))) == 0


@pytest.mark.parametrize("weights", [[], [0.1, 1, 1, 1, 5, 0.2]], ids=["exponents", "regression"])
def test_the_detector_alone_decides_the_same_whatever_the_classifier_says(weights: list[float]) -> None:
    gate = Gate("detector", name_exponent=0.5, rank_weights=weights, further=1)
    boxes = merged([[0.8, 0.2], [0.3, 0.4]], [0.9, 0.8])
    alone = decide(boxes, None, gate)
    for says in ([[0.9, 0.1], [0.1, 0.9]], [[0.1, 0.2], [0.0, 0.1]]):
        beside = decide(boxes, np.array(says, np.float32), gate)
        assert np.array_equal(alone.labels, beside.labels) and np.array_equal(alone.scores, beside.scores)


def test_evidence_becomes_a_distribution_and_temperature_flattens_it() -> None:
    evidence = np.array([[0.6, 0.2, 0.0]], np.float32)
    plain, flat = (detector_probabilities(evidence, t, 1e-6)[0] for t in (1.0, 4.0))
    np.testing.assert_allclose([plain.sum(), flat.sum()], 1, atol=1e-6)
    np.testing.assert_allclose(plain[:2], [0.75, 0.25], atol=1e-3)
    assert flat[0] < plain[0]
    assert flat.argmax() == 0


@pytest.mark.parametrize(
    ("gate", "classifier", "label"),
    [
        pytest.param(Gate("detector"), [0.0, 1.0], 0, id="detector keeps its label whatever the classifier says"),
        pytest.param(Gate("raw"), [0.4, 0.6], 1, id="raw takes the classifier's"),
        pytest.param(Gate("agree", plausible=0.9), [0.05, 0.95], 1, id="plausible and surer: taken"),
        pytest.param(Gate("agree", plausible=0.7), [0.05, 0.95], 0, id="implausible to the detector: refused"),
        pytest.param(Gate("agree", plausible=0.9), [0.3, 0.7], 0, id="plausible but less sure: refused"),
        pytest.param(Gate("agree", plausible=0.9), [0.1, 0.5], 1, id="surer once background is left out: taken"),
        pytest.param(
            Gate("agree", plausible=0.6, detector_temperature=50), [0.4, 0.6], 1, id="a flat detector objects to nothing"
        ),
    ],
)
def test_one_box_whose_detector_says_four_to_one_for_the_first_name(gate: Gate, classifier: list[float], label: int) -> None:
    found = decide(merged([[0.8, 0.2]], [0.9]), np.array([classifier], np.float32), gate)
    assert found.labels.tolist() == [label]


def test_a_floor_makes_faint_evidence_say_little_and_leaves_strong_evidence() -> None:
    faint, strong = detector_probabilities(np.array([[0.02, 0.0], [0.9, 0.0]], np.float32), 1.0, 0.05).max(1)
    assert faint < 0.6
    assert strong > 0.9


def test_score_is_objectness_times_the_power_of_the_names_probability_and_sorts() -> None:
    boxes = merged([[0.9, 0.1], [0.5, 0.5]], [0.4, 0.6])
    found = decide(boxes, np.array([[0.01, 0.99], [0.36, 0.64]], np.float32), Gate("raw", name_exponent=0.5))
    np.testing.assert_allclose(found.scores, [0.6 * 0.8, 0.4 * np.sqrt(0.99)], rtol=1e-4)
    assert (np.diff(found.scores) <= 0).all()


def test_without_a_classifier_every_policy_keeps_the_detectors_label() -> None:
    boxes = merged([[0.1, 0.9]], [0.5])
    assert {policy: int(decide(boxes, None, Gate(policy)).labels[0]) for policy in POLICIES} == dict.fromkeys(POLICIES, 1)


def test_without_class_evidence_the_classifier_names() -> None:
    found = decide(merged(None, [0.5]), np.array([[0.2, 0.8]], np.float32), Gate("agree"))
    assert found.labels.tolist() == [1]


def test_nobody_who_knows_names_leaves_labels_and_scores() -> None:
    found = decide(merged(None, [0.5]), None, Gate("agree", name_exponent=1.0))
    np.testing.assert_allclose(found.scores, [0.5])


def test_a_classifier_that_knows_fewer_names_than_the_detectors_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got probabilities \(1, 2\), the detectors' evidence is \(1, 3\)"):
        choose_labels(merged([[0.5, 0.3, 0.2]], [0.5]), np.full((1, 2), 1 / 2, np.float32), Gate("raw"))


def test_unknown_policy_lists_the_known() -> None:
    with pytest.raises(ValueError, match="got 'vote', allowed: detector, raw, override, agree"):
        decide(merged([[1.0]], [0.5]), None, replace(Gate(), policy="vote"))


def test_a_box_no_class_aware_detector_saw_is_the_classifiers_however_strict_the_set() -> None:
    found = decide(
        merged([[0.0, 0.0], [0.9, 0.1]], [0.9, 0.8]), np.array([[0.2, 0.8]] * 2, np.float32), Gate("agree", plausible=0.0)
    )
    assert found.labels.tolist() == [1, 0]


def test_mass_above_equals_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    rows, names = rng.dirichlet(np.ones(6), 40).astype(np.float32), rng.integers(0, 6, 40)
    slow = [sum(float(p) for p in row if p > row[k]) for row, k in zip(rows, names, strict=True)]
    np.testing.assert_allclose(mass_above(rows, names), slow, atol=1e-6)


# -- override, product, stacked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "sure", "label"),
    [(0.3, 0.9, 1), (0.3, 0.8, 0), (0.6, 0.88, 0), (0.6, 0.95, 1), (0.85, 0.99, 0)],
    ids=["low and sure", "low, not sure", "middling and sure", "middling and very sure", "high"],
)
def test_override_is_the_entrants_pairs(score: float, sure: float, label: int) -> None:
    boxes = merged([[score, 0.0]], [0.5])
    gate = Gate("override", overrides=[[0.4, 0.85], [0.8, 0.9]])
    assert choose_labels(boxes, np.array([[1 - sure, sure]], np.float32), gate)[0].tolist() == [label]


def test_product_is_the_loop_over_names_and_its_ends_are_the_sources() -> None:
    rng = np.random.default_rng(0)
    d, c = rng.dirichlet(np.ones(4), 20).astype(np.float32), rng.dirichlet(np.ones(5), 20).astype(np.float32)[:, :4]
    boxes = merged(d, rng.uniform(size=20))
    inputs = gate_input(boxes, c, Gate("product"))
    assert inputs is not None
    for a, b in ((0.5, 1.0), (1.0, 0.0), (0.0, 1.0)):
        got = posterior(inputs, Gate("product", detector_exponent=a, classifier_exponent=b))
        for i in range(20):
            powers = [float(inputs.detector[i, k]) ** a * float(c[i, k]) ** b for k in range(4)]
            expected = [p / sum(powers) * c[i].sum() for p in powers]
            np.testing.assert_allclose(got[i], expected, rtol=1e-4, atol=1e-6)


def test_stacked_follows_its_weights() -> None:
    boxes = merged([[0.9, 0.1], [0.6, 0.4]], [0.9, 0.2])
    classifier = np.array([[0.3, 0.7], [0.1, 0.9]], np.float32)
    always, never = ([v] + [0.0] * 7 for v in (1.0, -1.0))
    assert choose_labels(boxes, classifier, Gate("stacked", change_weights=always))[0].tolist() == [1, 1]
    assert choose_labels(boxes, classifier, Gate("stacked", change_weights=never))[0].tolist() == [0, 0]
    unsure = [0.0] * 6 + [-1.0, 0.0]  # only where the objectness is below a half
    assert choose_labels(boxes, classifier, Gate("stacked", change_weights=unsure))[0].tolist() == [0, 1]


def test_a_contest_is_told_by_both_sources_on_both_names() -> None:
    boxes = merged([[0.8, 0.2]], [0.5])
    inputs = gate_input(boxes, np.array([[0.1, 0.6]], np.float32), Gate("stacked", detector_floor=1e-9))
    assert inputs is not None
    expected = [1, np.log(0.6), np.log(0.2), np.log(0.1), np.log(0.8), 0.5, 0.0, np.log(11)]
    np.testing.assert_allclose(change_features(inputs)[0], expected, atol=1e-5)


# -- background, names the detector was never taught -----------------------------------------------------


def test_background_lowers_the_score_and_has_no_say_when_the_detector_names() -> None:
    boxes = merged([[0.9, 0.1]] * 2, [0.5, 0.5])
    classifier = np.array([[0.1, 0.9], [0.02, 0.18]], np.float32)  # the second is background with 0.8
    assert np.diff(decide(boxes, classifier, Gate("raw", name_exponent=1.0)).scores)[0] < -0.3
    kept = decide(boxes, classifier, Gate("detector", name_exponent=1.0))
    alone = decide(boxes, None, Gate("detector", name_exponent=1.0))
    assert kept.scores.tolist() == alone.scores.tolist()


def test_a_name_the_detector_was_never_taught_is_not_implausible_to_it() -> None:
    boxes = merged([[0.9, 0.1]] * 2, [0.5, 0.5])
    classifier = np.array([[0.02, 0.0, 0.98], [0.02, 0.98, 0.0]], np.float32)
    assert choose_labels(boxes, classifier, Gate("agree", plausible=0.0))[0].tolist() == [2, 0]


# -- the score -------------------------------------------------------------------------------------------


def test_a_logistic_score_is_the_formula_and_orders_by_it() -> None:
    boxes = merged([[0.9, 0.1], [0.6, 0.4]], [0.3, 0.9])
    classifier = np.array([[0.9, 0.1], [0.4, 0.5]], np.float32)
    gate = Gate("raw", rank_weights=[0.5, 1.0, 2.0, 0.0, 0.25, 0.0])
    found = decide(boxes, classifier, gate)
    logits = [0.5 + np.log(0.3 / 0.7) + 2 * np.log(0.9) + 0.25, 0.5 + np.log(0.9 / 0.1) + 2 * np.log(0.5)]
    np.testing.assert_allclose(np.sort(found.scores)[::-1], np.sort(1 / (1 + np.exp(-np.array(logits))))[::-1], rtol=1e-4)


@pytest.mark.parametrize("gate", [Gate("product"), Gate("stacked", change_weights=[0, 1, 1, -1, -1, 0, 0, 0])])
def test_a_name_the_detector_was_never_taught_is_the_classifiers_to_decide(gate: Gate) -> None:
    boxes = merged([[0.3, 0.6]], [0.9])
    assert choose_labels(boxes, np.array([[0.02, 0.02, 0.96]], np.float32), gate)[0].tolist() == [2]
    assert choose_labels(boxes, np.array([[0.02, 0.96, 0.02]], np.float32), gate)[0].tolist() == [1]


def test_without_a_detector_that_names_the_classifier_does() -> None:
    assert choose_labels(merged(None, [0.9]), np.array([[0.1, 0.9]], np.float32), Gate())[0].tolist() == [1]


def test_rounding_of_a_sum_that_is_one_orders_nothing() -> None:
    inputs = gate_input(merged(None, [0.9, 0.9]), np.array([[0.3, 0.7], [0.3, 0.7 - 6e-7]], np.float32), Gate("raw"))
    assert inputs is not None
    assert np.ptp(rank_features(inputs.classifier, inputs)[:, 3]) == 0


# -- further names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_further_names_come_after_every_first_name(policy: str) -> None:
    rng = np.random.default_rng(0)
    gate = Gate(policy, further=3, overrides=[[0.5, 0.3]], name_exponent=1.0)
    scores = []
    for _ in range(20):
        boxes, classifier = merged(rng.dirichlet(np.ones(6), 5), rng.uniform(size=5)), rng.dirichlet(np.ones(6), 5)
        boxes.boxes[:] += 20 * np.arange(5, dtype=np.float32)[:, None]
        found = decide(boxes, classifier.astype(np.float32), gate)
        scores.append(found.scores)
        assert len(found) == 5 + 15
        assert len({(tuple(b), n) for b, n in zip(found.boxes.tolist(), found.labels.tolist(), strict=True)}) == 20
    assert min(s[:5].min() for s in scores) > max(s[5:].max() for s in scores)
    assert all(s.min() > 0 and s.max() <= 1 for s in scores)


@pytest.mark.parametrize(("most", "expected"), [(0, 2), (1, 3), (3, 5), (99, 6), (None, 6)])
def test_further_names_are_capped_and_first_names_never(most: int | None, expected: int) -> None:
    boxes = merged([[0.5, 0.3, 0.2]] * 2, [0.5, 0.4])
    found = decide(boxes, np.array([[0.6, 0.3, 0.1]] * 2, np.float32), Gate("raw", further=9), most)
    assert len(found) == expected


def test_further_names_of_nothing_are_none() -> None:
    assert len(decide(Detections.empty(3), np.zeros((0, 3), np.float32), Gate("raw", further=2))) == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_without_class_evidence_every_policy_gives_the_classifiers_names(policy: str) -> None:
    rng = np.random.default_rng(0)
    classifier = rng.dirichlet(np.ones(5), 40).astype(np.float32) * np.float32(0.9)
    gate = Gate(policy, overrides=[[0.4, 0.85]], plausible=0.0, change_weights=[-1.0] + [0.0] * 7)
    labels, _ = choose_labels(merged(None, rng.uniform(size=40)), classifier, gate)
    assert labels.tolist() == classifier.argmax(1).tolist()


def test_the_gate_takes_a_name_the_detectors_do_not_know() -> None:
    boxes = np.array([[0, 0, 9, 9]], np.float32)
    merged = Detections(boxes, np.array([0.9], np.float32), np.array([0]), np.array([[0.9, 0.05]], np.float32))
    assert decide(merged, np.array([[0.01, 0.01, 0.98]], np.float32), Gate("agree")).labels.tolist() == [2]


@pytest.mark.parametrize(("sure", "label"), [(0.74, 0), (0.75, 1), (0.76, 1)], ids=["less sure", "as sure", "surer"])
def test_a_classifier_that_is_as_sure_as_the_detector_names(sure: float, label: int) -> None:
    detector, classifier = (np.array([row], np.float32) for row in ([0.75, 0.25], [1 - sure, sure]))
    found = agree(GateInput(detector, classifier, merged([[0.75, 0.25]], [0.9])), Gate("agree", plausible=0.9))
    assert found.argmax(1).tolist() == [label]


def test_of_many_equal_scores_the_first_box_stays_first() -> None:
    """More than the 16 that numpy's unstable sort leaves in order."""
    left = np.arange(100, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 1, 0 * left + 1], 1)
    scores = np.where(left % 3 == 0, 0.9, 0.5).astype(np.float32)
    merged = Detections(boxes, scores, np.zeros(100, np.int64), np.full((100, 2), 0.5, np.float32))
    order = decide(merged, None, Gate()).boxes[:, 0]
    assert order.tolist() == sorted(left.tolist(), key=lambda k: k % 3 > 0)
