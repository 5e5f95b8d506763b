"""The numbers of a gate: coverage that holds, regressions that find what is there, policies fitted at the edges."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from imagined import C, world

from fusion.boxes import Detections, join
from fusion.gate import Gate, detector_probabilities, mass_above
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
    evidence = world(np.random.default_rng(0), 40, share, 0.8)
    rows, labels = calibrate.named_boxes(evidence)
    probabilities = detector_probabilities(rows, *detector_scale(rows, labels))
    threshold = calibrate.conformal_threshold(mass_above(probabilities, labels), 0.95)
    sizes = sum(mass_above(probabilities, np.full(len(rows), c)) <= threshold for c in range(C))
    assert (sizes.mean() >= names) if share < 0.5 else (sizes.mean() < names + 0.5)


def test_agree_keeps_nearly_all_that_raw_gains_over_a_weak_detector() -> None:
    rng = np.random.default_rng(3)
    fit, test = world(rng, 30, 0.2, 0.85), world(rng, 30, 0.2, 0.85)
    of = {p: calibrate.score(test, [calibrate.fit_policy(p, fit)] * 30) for p in ("detector", "raw", "agree")}
    assert of["agree"] - of["detector"] >= 0.9 * (of["raw"] - of["detector"]) > 0


def test_photos_without_boxes_or_detections_do_not_disturb() -> None:
    empty = Photo(99, Path("e.jpg"), 10, 10, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64), None)
    nothing = Evidence(empty, Detections.empty(C), np.zeros((0, C), np.float32))
    evidence = [nothing, *world(np.random.default_rng(0), 6, 0.5, 0.9)]
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
    photos = world(rng, 30, 0.5, 0.8)
    gate = calibrate.fit_policy("stacked", photos)
    of = {p: calibrate.score(photos, [calibrate.fit_policy(p, photos)] * 30) for p in ("detector", "raw")}
    assert len(gate.change_weights) == 8
    assert calibrate.score(photos, [gate] * 30) >= max(of.values()) - 1e-9


@pytest.mark.parametrize(("classifier", "constant"), [(1.0, 1.0), (0.17, -1.0)])
def test_too_few_contests_to_learn_from_believe_the_source_that_won_them(classifier: float, constant: float) -> None:
    photos = world(np.random.default_rng(0), 1, 0.9 if classifier < 0.5 else 0.2, classifier)
    weights = calibrate.fit_policy("stacked", photos).change_weights
    assert weights == [constant] + [0.0] * 7


def test_only_the_first_box_on_a_product_is_a_hit_whatever_its_name() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    found = Detections(boxes, np.array([0.5, 0.9, 0.8], np.float32), np.array([1, 2, 3]))
    truth = Truth(boxes[:1], np.array([4]))
    assert calibrate.first_hits(truth, found).tolist() == [False, True, False]
    assert calibrate.first_hits(Truth(boxes[:0], np.zeros(0, np.int64)), found).tolist() == [False] * 3


def test_a_logistic_score_ranks_products_above_what_is_none() -> None:
    rng = np.random.default_rng(1)
    photos = [with_ghosts(e, rng) for e in world(rng, 20, 0.3, 0.8)]
    gate = calibrate.fit_policy("raw", photos)
    weights = calibrate.rank_weights(gate, photos)
    objectness = Gate("raw", name_exponent=0.0)
    ranked = replace(objectness, rank_weights=weights)
    assert len(weights) == 6
    assert calibrate.score(photos, [ranked] * 20) > calibrate.score(photos, [objectness] * 20) + 0.02


def with_ghosts(e: Evidence, rng: np.random.Generator) -> Evidence:
    """The photo with as many boxes again where nothing is, as sure of themselves, whose names are spread."""
    n = len(e.merged)
    boxes = e.merged.boxes + np.float32(200) * np.array([0, 1, 0, 1], np.float32)
    ghosts = Detections(boxes, e.merged.scores[rng.permutation(n)], e.merged.labels, np.full((n, C), 0.15, np.float32))
    assert e.probabilities is not None
    return Evidence(e.photo, join([e.merged, ghosts]), np.concatenate([e.probabilities, np.full((n, C), 1 / C, np.float32)]))
