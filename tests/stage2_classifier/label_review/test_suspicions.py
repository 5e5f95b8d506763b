"""Planted label errors are the first doubts of their kind, and right labels are hardly doubted."""

from dataclasses import replace

import numpy as np
import pytest
from labelled_grid import GRID, grid_evidence

from fusion.boxes import Detections
from stage2_classifier.label_review.suspicions import chances, good_fit, joined_names, pair, suspicions


def test_no_photos_and_an_empty_photo_give_no_doubts() -> None:
    nothing = np.zeros((0, 4), np.float32)
    assert suspicions([]) == []
    assert suspicions([grid_evidence(nothing, np.zeros(0, np.int64), nothing)]) == []
    assert suspicions([grid_evidence(nothing)])[0].score < 0.01  # nothing found: the classifier still knows the names


def test_right_labels_are_hardly_doubted() -> None:
    assert max(s.score for s in suspicions([grid_evidence()])) < 0.05


def test_another_name_is_the_first_doubt_and_the_right_one_proposed() -> None:
    wrong = np.arange(12) % 3
    wrong[5] = 0
    first = suspicions([grid_evidence(labels=wrong)])[0]
    assert (first.kind, first.annotation, first.label) == ("mislabelled", 5, 2)
    assert np.array_equal(first.box, GRID[5])


def test_the_name_s_score_is_the_posterior_of_a_uniform_swap() -> None:
    wrong = np.arange(12) % 3
    wrong[5] = 0
    p, prior = 0.02, 0.05  # p(label): written out by Bayes' rule over the three names that may be true
    names = np.array([p, 0.02, 0.96])
    joint = names * np.array([1 - prior, prior / 2, prior / 2])  # true name k, label 0 observed
    assert suspicions([grid_evidence(labels=wrong)])[0].score == pytest.approx(1 - joint[0] / joint.sum(), abs=1e-6)


def test_a_box_beside_its_product_is_shifted_not_misnamed() -> None:
    boxes = GRID.copy()
    boxes[6] += np.array([6, 4, 6, 4], np.float32)
    beside = grid_evidence(boxes=boxes)
    beside.names_at_annotations[6] = [0.5, 0.45, 0.05]  # half of a neighbour is in the crop
    first = suspicions([beside])[0]
    assert (first.kind, first.annotation, first.label) == ("shifted", 6, 0)
    assert np.array_equal(first.box, GRID[6])


def test_a_product_without_a_box_is_missing_and_a_covered_found_box_is_not() -> None:
    keep = np.arange(12) != 7
    missing = grid_evidence(labels=(np.arange(12) % 3)[keep], boxes=GRID[keep])
    first = suspicions([missing])[0]
    assert (first.kind, first.annotation, first.label) == ("missing", None, 1)
    assert np.array_equal(first.box, GRID[7])
    twice = np.vstack([GRID, GRID[7] + 1])  # a second found box on an annotated product
    assert not [s for s in suspicions([grid_evidence(detected=twice)]) if s.kind == "missing"]


def test_a_second_box_on_one_product_is_to_go_and_a_product_behind_another_stays() -> None:
    second = np.vstack([GRID, GRID[3] + np.float32(1)])
    first = suspicions([grid_evidence(boxes=second)])[0]
    assert (first.kind, first.annotation, first.box) == ("duplicate", 12, None)
    corner = np.vstack([GRID, GRID[3] - np.array([0, 0, 10, 10], np.float32)])  # a small box in it, of the same name
    first = suspicions([grid_evidence(boxes=corner)])[0]
    assert (first.kind, first.annotation, first.box) == ("duplicate", 12, None)
    behind = np.vstack([GRID, GRID[3] + np.array([0, 4, 0, 4], np.float32)])
    assert not [
        s for s in suspicions([grid_evidence(detected=behind, boxes=behind)]) if s.kind == "duplicate" and s.score > 0.1
    ]


def test_pairs_are_one_to_one_and_a_sure_box_beats_a_faint_better_fit() -> None:
    boxes = np.array([[0, 0, 10, 10]], np.float32)
    both = np.array([[0, 0, 10, 9], [0, 0, 10, 8]], np.float32)
    found = Detections(both, np.array([0.05, 0.9], np.float32), np.zeros(2, np.int64))
    assert pair(boxes, found).tolist() == [1]
    assert pair(np.vstack([boxes, boxes]), found.take(np.array([0]))).tolist().count(-1) == 1
    assert pair(boxes, Detections.empty()).tolist() == [-1]


def test_chances_are_fitted_to_the_annotations_or_are_the_scores_where_there_are_few() -> None:
    assert [c.tolist() for c in chances([grid_evidence()], [np.arange(12)])] == [
        [pytest.approx(0.9)] * 12
    ]  # no box without a product
    rng = np.random.default_rng(0)
    faint = np.vstack([GRID, rng.uniform(100, 300, (12, 2))[:, [0, 1, 0, 1]] + np.array([0, 0, 16, 16])]).astype(np.float32)
    both = grid_evidence(detected=faint)
    detections = replace(both.detections, scores=np.repeat(np.array([0.3, 0.1], np.float32), 12))
    (fitted,) = chances([replace(both, detections=detections)], [np.arange(12)])
    assert fitted[:12].min() > 0.9 > 0.1 > fitted[12:].max()


def test_a_good_fit_is_what_the_detector_reaches_here() -> None:
    loose = (GRID + np.array([0, 0, 0, 4], np.float32)).astype(np.float32)  # 16 of 20 rows: IoU 0.8
    assert good_fit([grid_evidence(detected=loose)], [np.arange(12)]) == pytest.approx(0.8)
    assert good_fit([], []) == 1.0


def test_names_the_detector_was_not_taught_are_no_worse_for_it() -> None:
    names = np.array([[0.2, 0.3, 0.5]], np.float32)
    assert joined_names(names, None) is names
    untaught = joined_names(names, np.array([[0.0, 0.5]], np.float32))
    assert untaught.sum() == pytest.approx(1.0)
    assert untaught[0, 2] / untaught[0, 1] == pytest.approx(0.5 / 0.3)
    assert untaught[0, 0] / untaught[0, 1] < 0.2 / 0.3
