"""The numbers of a gate: coverage that holds, regressions that find what is there, policies fitted at the edges."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated_evidence import C, simulated_photo, simulated_photos

from fusion.boxes import Detections, join
from fusion.gate import POLICIES, Gate, decide, detector_probabilities, mass_above
from photos.data import Photo
from photos.score import Truth
from stage2_classifier.gate import calibrate
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.scaling import detector_scale


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_conformal_coverage_holds_on_new_data(coverage: float) -> None:
    rng = np.random.default_rng(0)
    covered = [(rng.beta(2, 2, 100) <= calibrate.conformal_threshold(rng.beta(2, 2, 60), coverage)).mean() for _ in range(400)]
    assert np.mean(covered) >= coverage - 0.005


def test_too_few_boxes_refuse_nothing() -> None:
    assert calibrate.conformal_threshold(np.array([]), 0.95) == 1.0
    assert calibrate.conformal_threshold(np.full(10, 0.5), 0.95) == 1.0


@pytest.mark.parametrize(
    ("share", "names"), [pytest.param(0.2, C - 1, id="weak: nearly all"), pytest.param(0.97, 1, id="strong: one")]
)
def test_how_many_names_are_plausible_follows_from_what_the_detector_knows(share: float, names: int) -> None:
    evidence = simulated_photos(np.random.default_rng(0), 40, share, 0.8)
    rows, labels = calibrate.named_boxes(evidence)
    probabilities = detector_probabilities(rows, *detector_scale(rows, labels))
    threshold = calibrate.conformal_threshold(mass_above(probabilities, labels), 0.95)
    sizes = sum(mass_above(probabilities, np.full(len(rows), c)) <= threshold for c in range(C))
    assert (sizes.mean() >= names) if share < 0.5 else (sizes.mean() < names + 0.5)


def test_agree_keeps_nearly_all_that_raw_gains_over_a_weak_detector() -> None:
    rng = np.random.default_rng(3)
    fit, test = simulated_photos(rng, 30, 0.2, 0.85), simulated_photos(rng, 30, 0.2, 0.85)
    of = {p: calibrate.score(test, [calibrate.fit_policy(p, fit)] * 30) for p in ("detector", "raw", "agree")}
    assert of["agree"] - of["detector"] >= 0.9 * (of["raw"] - of["detector"]) > 0


def test_photos_without_boxes_or_detections_do_not_disturb() -> None:
    empty = Photo(99, Path("e.jpg"), 10, 10, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64), None)
    nothing = Evidence(empty, Detections.empty(C), np.zeros((0, C), np.float32))
    evidence = [nothing, *simulated_photos(np.random.default_rng(0), 6, 0.5, 0.9)]
    assert calibrate.fit_policy("agree", evidence).policy == "agree"
    assert calibrate.fit_policy("agree", [nothing]).plausible == 1.0


def test_the_regression_stands_for_x_as_it_is() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([np.ones((4000, 1)), rng.normal(3, [0.1, 10], (4000, 2))], 1)
    logits = x @ [-32.0, 10.0, 0.5]
    y = rng.uniform(size=4000) < 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(calibrate.regression(x, y, np.ones(4000)), [-32, 10, 0.5], rtol=0.2)


def test_the_stacked_policy_learns_whom_to_believe() -> None:
    rng = np.random.default_rng(0)
    photos = simulated_photos(rng, 30, 0.5, 0.8)
    gate = calibrate.fit_policy("stacked", photos)
    of = {p: calibrate.score(photos, [calibrate.fit_policy(p, photos)] * 30) for p in ("detector", "raw")}
    assert len(gate.change_weights) == 8
    assert calibrate.score(photos, [gate] * 30) >= max(of.values()) - 1e-9


@pytest.mark.parametrize(("classifier", "constant"), [(1.0, 1.0), (0.17, -1.0)])
def test_too_few_contests_to_learn_from_believe_the_source_that_won_them(classifier: float, constant: float) -> None:
    photos = simulated_photos(np.random.default_rng(0), 1, 0.9 if classifier < 0.5 else 0.2, classifier)
    weights = calibrate.fit_policy("stacked", photos).change_weights
    assert weights == [constant] + [0.0] * 7


def test_only_the_first_box_on_a_product_is_a_hit_whatever_its_name() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    found = Detections(boxes, np.array([0.5, 0.9, 0.8], np.float32), np.array([1, 2, 3]))
    truth = Truth(boxes[:1], np.array([4]))
    assert calibrate.first_hits(truth, found).tolist() == [False, True, False]
    assert calibrate.first_hits(Truth(boxes[:0], np.zeros(0, np.int64)), found).tolist() == [False] * 3


def test_of_the_boxes_on_a_product_the_best_scored_gives_the_evidence_not_the_closest() -> None:
    product = np.array([[0, 0, 10, 10]], np.float32)
    photo = Photo(1, Path("1.jpg"), 20, 20, product, np.array([1]), np.array([0]), None)
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8]], np.float32)
    evidence = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    merged = Detections(boxes, np.array([0.3, 0.9], np.float32), np.zeros(2, np.int64), evidence)
    rows, labels = calibrate.named_boxes([Evidence(photo, merged, None)])
    np.testing.assert_array_equal(rows, evidence[1:])
    assert labels.tolist() == [1]


def test_the_logistic_score_learns_first_hits_and_rightly_named_ones_as_the_contest_weighs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every product is found twice: the second box on it is no hit, and no named hit either, however rightly it is named."""
    photo = simulated_photo(np.random.default_rng(0), 0, 12, 1.0, 0.6)
    second = replace(photo.merged, scores=photo.merged.scores / 2)
    twice = Evidence(photo.photo, join([photo.merged, second]), np.concatenate([photo.probabilities] * 2))
    given: list[np.ndarray] = []
    monkeypatch.setattr(calibrate, "regression", lambda *arrays: given.extend(arrays) or [1.0])
    assert calibrate.rank_weights(Gate("raw"), [twice]) == [1.0]
    _, hits, weights = given
    right = photo.probabilities.argmax(1) == photo.photo.labels
    assert 0 < right.sum() < 12
    assert hits.tolist() == [True] * 12 + [False] * 12 + right.tolist() + [False] * 12
    np.testing.assert_allclose(weights, [0.7] * 24 + [0.3] * 24)


def test_a_logistic_score_ranks_products_above_what_is_none() -> None:
    rng = np.random.default_rng(1)
    photos = [with_ghosts(e, rng) for e in simulated_photos(rng, 20, 0.3, 0.8)]
    gate = calibrate.fit_policy("raw", photos)
    weights = calibrate.rank_weights(gate, photos)
    objectness = Gate("raw", name_exponent=0.0)
    ranked = replace(objectness, rank_weights=weights)
    assert len(weights) == 6
    assert calibrate.score(photos, [ranked] * 20) > calibrate.score(photos, [objectness] * 20) + 0.02


def test_boxes_are_ordered_by_the_product_of_both_probabilities_unless_another_order_earns_more_than_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    alike = [with_varied_confidence(e, rng) for e in simulated_photos(rng, 20, 0.5, 0.8)]
    gates = [Gate("raw", name_exponent=exponent) for exponent in calibrate.EXPONENTS]
    values = [calibrate.score(alike, [gate] * 20) for gate in gates]
    assert 0 < max(values) - values[0] < calibrate.WITHIN  # another one scores more, by chance
    with monkeypatch.context() as without_regression:
        without_regression.setattr(calibrate, "rank_weights", lambda *_: [])
        assert calibrate.fit_policy("raw", alike).name_exponent == 1.0
    assert calibrate.fit_policy("raw", alike).rank_weights
    misled = [with_sure_ghosts(e) for e in simulated_photos(rng, 20, 0.5, 0.95)]  # the surer of a name, the less a product
    gate = calibrate.fit_policy("raw", misled)
    assert gate.rank_weights or gate.name_exponent < 1.0


def with_varied_confidence(e: Evidence, rng: np.random.Generator) -> Evidence:
    """The photo with names that the classifier is more and less sure of."""
    assert e.probabilities is not None
    return replace(e, probabilities=e.probabilities * rng.uniform(0.3, 1.0, (len(e.merged), 1)).astype(np.float32))


def with_sure_ghosts(e: Evidence) -> Evidence:
    """The photo with as many faint boxes again where nothing is, whose names the classifier is sure of."""
    n = len(e.merged)
    boxes = e.merged.boxes + np.float32(200) * np.array([0, 1, 0, 1], np.float32)
    ghosts = Detections(boxes, e.merged.scores * np.float32(0.6), e.merged.labels, np.full((n, C), 0.15, np.float32))
    assert e.probabilities is not None
    sure = np.zeros((n, C), np.float32)
    sure[:, 0] = 1.0
    return Evidence(e.photo, join([e.merged, ghosts]), np.concatenate([e.probabilities * np.float32(0.6), sure]))


def with_ghosts(e: Evidence, rng: np.random.Generator) -> Evidence:
    """The photo with as many boxes again where nothing is, as sure of themselves, whose names are spread."""
    n = len(e.merged)
    boxes = e.merged.boxes + np.float32(200) * np.array([0, 1, 0, 1], np.float32)
    ghosts = Detections(boxes, e.merged.scores[rng.permutation(n)], e.merged.labels, np.full((n, C), 0.15, np.float32))
    assert e.probabilities is not None
    return Evidence(e.photo, join([e.merged, ghosts]), np.concatenate([e.probabilities, np.full((n, C), 1 / C, np.float32)]))


@pytest.mark.parametrize(
    "missing", [pytest.param("", id="both sources"), pytest.param("classifier", id="photos without a classifier")]
)
def test_what_the_fits_share_changes_no_number(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same gates as where each policy is fitted alone, and each gate decides and is matched for itself."""
    photos = simulated_photos(np.random.default_rng(5), 8, 0.5, 0.7, per_photo=12)
    photos = [replace(e, probabilities=None) if missing and i % 3 == 0 else e for i, e in enumerate(photos)]
    shared = calibrate.fit_policies(POLICIES, photos)

    def best_of_each_alone(gates: Sequence[Gate], evidence: Sequence[Evidence]) -> Gate:
        values = [calibrate.score(evidence, [gate] * len(evidence)) for gate in gates]
        return gates[calibrate.first_near_best(values)]

    monkeypatch.setattr(calibrate, "_best", best_of_each_alone)
    assert shared == {policy: calibrate.fit_policy(policy, photos) for policy in POLICIES}


def test_decisions_of_several_gates_are_those_of_each() -> None:
    (e,) = simulated_photos(np.random.default_rng(1), 1, 0.5, 0.7, per_photo=30)
    gates = [Gate("product", 0.7, 0.01, detector_exponent=d, name_exponent=n, further=f)
             for d in (0.5, 2.0) for n in (0.0, 1.0) for f in (0, 3)]  # fmt: skip
    for gate, shared in zip(gates, calibrate.decisions(e, gates, 40), strict=True):
        alone = decide(e.merged, e.probabilities, gate, 40)
        for name in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))
