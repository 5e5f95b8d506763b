"""The gate: it can refuse, it can accept, and a weak detector objects to nothing."""

from dataclasses import replace

import numpy as np
import pytest

from fusion.boxes import Detections
from fusion.gate import POLICIES, Gate, decide, detector_probabilities, mass_ahead, name


def merged(evidence: list[list[float]] | None, scores: list[float]) -> Detections:
    n = len(scores)
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (n, 1))
    vectors = None if evidence is None else np.array(evidence, np.float32).reshape(n, -1)
    return Detections(boxes, np.array(scores, np.float32), np.zeros(n, np.int64), vectors)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_boxes_give_no_names(policy: str) -> None:
    nothing = Detections.empty(3)
    assert len(decide(nothing, np.zeros((0, 3), np.float32), Gate(policy))) == 0


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
        name(merged([[0.5, 0.3, 0.2]], [0.5]), np.full((1, 2), 1 / 2, np.float32), Gate("raw"))


def test_unknown_policy_lists_the_known() -> None:
    with pytest.raises(ValueError, match="got 'vote', allowed: detector, raw, override, agree"):
        decide(merged([[1.0]], [0.5]), None, replace(Gate(), policy="vote"))


def test_a_box_no_class_aware_detector_saw_is_the_classifiers_however_strict_the_set() -> None:
    found = decide(
        merged([[0.0, 0.0], [0.9, 0.1]], [0.9, 0.8]), np.array([[0.2, 0.8]] * 2, np.float32), Gate("agree", plausible=0.0)
    )
    assert found.labels.tolist() == [1, 0]


def test_mass_ahead_equals_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    rows, names = rng.dirichlet(np.ones(6), 40).astype(np.float32), rng.integers(0, 6, 40)
    slow = [sum(float(p) for p in row if p > row[k]) for row, k in zip(rows, names, strict=True)]
    np.testing.assert_allclose(mass_ahead(rows, names), slow, atol=1e-6)
