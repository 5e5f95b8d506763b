"""Temperatures, coverage, and a gate that adopts what gains and refuses what does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from fusion.boxes import Detections
from fusion.gate import detector_probabilities, mass_ahead
from stage1_detector.data import Photo
from stage2_classifier import calibrate
from stage2_classifier.evidence import Evidence

C = 6


def world(rng: np.random.Generator, n_photos: int, detector: float, classifier: float, per_photo: int = 12) -> list[Evidence]:
    """Photos whose boxes are found rightly, and whose detector and classifier name a share of them rightly."""
    return [one_photo(rng, i, per_photo, detector, classifier) for i in range(n_photos)]


def one_photo(rng: np.random.Generator, i: int, n: int, detector: float, classifier: float) -> Evidence:
    corners = np.stack([np.arange(n) * 20, np.zeros(n)], 1)
    boxes = np.concatenate([corners, corners + 15], 1).astype(np.float32)
    labels = rng.integers(0, C, n)
    photo = Photo(i, Path(f"{i}.jpg"), 400, 400, boxes, labels, np.arange(n), None)
    merged = Detections(
        boxes, rng.uniform(0.5, 1, n).astype(np.float32), np.zeros(n, np.int64), guess(rng, labels, detector, 0.9)
    )
    return Evidence(photo, merged, guess(rng, labels, classifier, 1.0))


def guess(rng: np.random.Generator, labels: np.ndarray, share_right: float, total: float) -> np.ndarray:
    """Distributions (N, C) whose best name is right in `share_right` of the rows, and which say so (they are calibrated)."""
    right = rng.uniform(size=len(labels)) < share_right
    named = np.where(right, labels, (labels + rng.integers(1, C, len(labels))) % C)
    rows = np.full((len(labels), C), (1 - share_right) / (C - 1))
    rows[np.arange(len(labels)), named] = share_right
    return (total * rows).astype(np.float32)


def test_no_data_leaves_the_temperature_at_one() -> None:
    assert calibrate.temperature(np.zeros((0, 3)), np.zeros(0, np.int64)) == 1.0


@pytest.mark.parametrize("true_t", [0.5, 1.0, 3.0])
def test_temperature_is_recovered_and_ece_falls(true_t: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, C))
    labels = np.array([rng.choice(C, p=p) for p in softmax(logits, axis=1)])
    t = calibrate.temperature(logits * true_t, labels)
    assert t == pytest.approx(true_t, rel=0.08)
    assert calibrate.ece(logits * true_t, labels, t) <= calibrate.ece(logits * true_t, labels, 1.0) + 0.005


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
    probabilities = detector_probabilities(rows, *calibrate.detector_scale(rows, labels))
    threshold = calibrate.conformal_threshold(mass_ahead(probabilities, labels), 0.95)
    sizes = sum(mass_ahead(probabilities, np.full(len(rows), c)) <= threshold for c in range(C))
    assert (sizes.mean() >= names) if share < 0.5 else (sizes.mean() < names + 0.5)


def test_the_floor_is_found_where_faint_evidence_is_often_wrong() -> None:
    rng = np.random.default_rng(0)
    strength = rng.choice([0.02, 0.9], 3000)
    right = rng.uniform(size=3000) < np.where(strength > 0.5, 0.98, 0.3)
    labels = rng.integers(0, C, 3000)
    rows = np.full((3000, C), 0.001)
    rows[np.arange(3000), np.where(right, labels, (labels + 1) % C)] = strength
    probabilities = detector_probabilities(rows, *calibrate.detector_scale(rows, labels)).max(1)
    assert probabilities[strength < 0.5].mean() == pytest.approx(0.3, abs=0.1)
    assert probabilities[strength > 0.5].mean() == pytest.approx(0.98, abs=0.03)


def test_held_out_crops_without_a_mistake_do_not_make_it_infinitely_sure() -> None:
    labels = np.arange(60) % C
    t = calibrate.temperature(4.0 * np.eye(C)[labels], labels)
    assert softmax(4.0 * np.eye(C)[labels] / t, axis=1).max() == pytest.approx(61 / 62, abs=0.002)


def test_the_gate_adopts_a_classifier_that_names_better() -> None:
    choice = calibrate.choose_gate(world(np.random.default_rng(0), 24, 0.3, 0.9), np.arange(24), np.random.default_rng(0))
    assert choice.gate.policy == "agree"
    assert choice.gain is not None
    assert choice.gain.low > 0


@pytest.mark.parametrize(
    ("detector", "classifier"),
    [pytest.param(0.9, 0.17, id="a classifier that knows nothing"), pytest.param(0.95, 0.5, id="a classifier that is worse")],
)
def test_the_gate_keeps_the_detector_where_changing_does_not_pay(detector: float, classifier: float) -> None:
    evidence = world(np.random.default_rng(0), 24, detector, classifier)
    assert calibrate.choose_gate(evidence, np.arange(24), np.random.default_rng(0)).gate.policy == "detector"


def test_a_classifier_that_is_sure_and_wrong_is_refused() -> None:
    evidence = world(np.random.default_rng(0), 24, 0.8, 0.17)
    loud = [replace(e, probabilities=np.eye(C, dtype=np.float32)[e.probabilities.argmax(1)]) for e in evidence]
    assert calibrate.choose_gate(loud, np.arange(24), np.random.default_rng(0)).gate.policy == "detector"


def test_agree_keeps_nearly_all_that_raw_gains_over_a_weak_detector() -> None:
    rng = np.random.default_rng(3)
    fit, test = world(rng, 30, 0.2, 0.85), world(rng, 30, 0.2, 0.85)
    of = {p: calibrate.score(test, [calibrate.fit_policy(p, fit)] * 30) for p in ("detector", "raw", "agree")}
    assert of["agree"] - of["detector"] >= 0.9 * (of["raw"] - of["detector"]) > 0


def test_without_a_classifier_there_is_nothing_to_choose() -> None:
    evidence = [replace(e, probabilities=None) for e in world(np.random.default_rng(0), 8, 0.5, 0.5)]
    choice = calibrate.choose_gate(evidence, np.arange(8), np.random.default_rng(0))
    assert (choice.gate.policy, choice.gain) == ("detector", None)


def test_photos_are_resampled_where_scenes_are_too_few_and_it_says_so() -> None:
    assert calibrate.resampling_groups(np.array([0, 0, 1, 1]))[1] == "photos"
    groups, word = calibrate.resampling_groups(np.arange(5))
    assert (word, groups.tolist()) == ("scenes", [0, 1, 2, 3, 4])


def test_photos_of_one_scene_share_their_turn() -> None:
    groups = np.repeat(np.arange(9), 4)
    turn = calibrate.turns(groups, np.random.default_rng(0))
    assert all(len(set(turn[groups == g])) == 1 for g in range(9))
    assert len(set(turn)) == calibrate.TURNS


def test_photos_without_boxes_or_detections_do_not_disturb() -> None:
    empty = Photo(99, Path("e.jpg"), 10, 10, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64), None)
    nothing = Evidence(empty, Detections.empty(C), np.zeros((0, C), np.float32))
    evidence = [nothing, *world(np.random.default_rng(0), 6, 0.5, 0.9)]
    assert calibrate.fit_policy("agree", evidence).policy == "agree"
    assert calibrate.fit_policy("agree", [nothing]).plausible == 1.0
