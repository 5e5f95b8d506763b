"""A resample is what scoring the drawn photos again would say, and intervals hold the truth as often as they say."""

import time

import numpy as np
import pytest
from random_truths import FAR, A, case, guess, on_one, truth_of, with_scores
from scipy.stats import binomtest, ttest_1samp

from fusion.boxes import Detections
from photos import intervals as subject
from photos.intervals import bootstrap, exact_interval, gain_interval, interval, least_interval, tail
from photos.score import Truth, match, scores


def test_an_interval_is_scipys_t_interval_over_pseudo_values_around_the_value():
    truths, predictions, n = case(np.random.default_rng(1), n_photos=30)
    whole, groups = match(truths, predictions, n), np.repeat([7, 3, 9, 1, 4, 2], 5)
    found = interval(whole, groups)
    for name in ("det_map50", "cls_map50", "score"):
        one, value = getattr(found, name), getattr(scores(whole), name)
        pseudo = [6 * value - 5 * getattr(scores(whole, groups != group), name) for group in np.unique(groups)]
        expected = ttest_1samp(pseudo, 0).confidence_interval(0.95)
        assert one.value == value and one.n_groups == 6
        half = (expected.high - expected.low) / 2
        assert (one.low, one.high) == pytest.approx((max(value - half, 0), min(value + half, 1)))
        assert one.low < one.value < one.high


def test_a_gain_has_scipys_t_interval_over_its_pseudo_values_around_the_value():
    truths, predictions, n = case(np.random.default_rng(1), n_photos=30)
    a, groups = match(truths, predictions, n), np.repeat([7, 3, 9, 1, 4, 2], 5)
    b = match(truths, [p.take(np.arange(len(p)) % 3 != 0) for p in predictions], n)
    found, value = gain_interval(a, b, groups), scores(a).score - scores(b).score
    left_out = [scores(a, groups != group).score - scores(b, groups != group).score for group in np.unique(groups)]
    expected = ttest_1samp([6 * value - 5 * without for without in left_out], 0).confidence_interval(0.95)
    assert found.value == value and found.n_groups == 6 and value != 0
    half = (expected.high - expected.low) / 2
    assert (found.low, found.high) == pytest.approx((value - half, value + half))
    itself = gain_interval(a, a, groups)
    assert (itself.low, itself.high) == (0, 0)


@pytest.mark.parametrize("n_photos", [0, 2], ids=["no photo", "one scene"])
def test_of_fewer_than_two_scenes_nothing_is_known(n_photos):
    one = interval(match([on_one([0], [A])] * n_photos, [Detections.empty()] * n_photos, 1), np.zeros(n_photos, int)).score
    assert (one.value, one.low, one.high) == (0, 0, 1)


def test_more_scenes_than_are_left_out_one_by_one_are_pooled(monkeypatch):
    monkeypatch.setattr(subject, "MOST_LEFT_OUT", 5)
    whole, scenes = match(*case(np.random.default_rng(1), n_photos=12)), np.arange(12) * 7
    pooled, five = interval(whole, scenes).score, interval(whole, np.arange(12) % 5).score
    assert (pooled.low, pooled.high, pooled.n_groups) == (five.low, five.high, 12)


def test_bootstrap_draws_whole_groups():
    """Two groups, one all found and one all missed: half the resamples hold both, and the rest hold one of them twice."""
    truths = [on_one([0], [A])] * 6
    predictions = [with_scores(on_one([0], [box]), [0.9]) for box in [A] * 3 + [FAR] * 3]
    found, nothing = match(truths, predictions, 1), match(truths, [Detections.empty()] * 6, 1)
    values = {
        round(scores(found, w).score, 6) for w in subject._resamples(np.repeat([0, 1], 3), 6, np.random.default_rng(0), 99)
    }
    assert len(values) == 3 and {0.0, 1.0} < values
    assert bootstrap(found, nothing, np.repeat([0, 1], 3), np.random.default_rng(0), 99).high == pytest.approx(1)


def test_bootstrap_is_paired():
    """Against itself there is no difference in any resample; against a slightly worse one it is far from its own spread."""
    rng = np.random.default_rng(2)
    truths, predictions, n = case(rng, n_photos=40)
    worse = [p.take(np.arange(len(p)) % 7 != 0) for p in predictions]
    a, b, groups = match(truths, predictions, n), match(truths, worse, n), np.arange(40)
    itself = bootstrap(a, a, groups, rng, 50)
    assert itself.value == itself.low == itself.high == 0
    other = bootstrap(a, b, groups, np.random.default_rng(0), 300)
    alone = interval(a, groups).score
    assert other.value == scores(a).score - scores(b).score
    assert other.low <= other.value <= other.high
    assert other.high - other.low < 0.7 * (alone.high - alone.low)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    """60 samples of 40 photos, of which half are found on average: 95 intervals in 100 should hold that half."""
    rng, held = np.random.default_rng(3), 0
    hit, miss = with_scores(on_one([0], [A]), [0.9]), Detections.empty()
    for _ in range(60):
        found = match([on_one([0], [A])] * 40, [hit if rng.random() < 0.5 else miss for _ in range(40)], 1)
        one = interval(found, np.arange(40)).score
        held += one.low <= 0.505 and one.high >= 0.495  # 101 recalls: steps of 1 %
    assert 51 <= held <= 60


@pytest.mark.slow
@pytest.mark.parametrize("n_names", [1, 3], ids=["one name a box", "three names a box"])
def test_a_thousand_resamples_of_a_full_test_part_are_fast(n_names):
    rng = np.random.default_rng(0)
    truths = [truth_of(rng, 100, 356) for _ in range(30)]
    predictions = [guess(rng, truth, 356, False) for truth in truths]
    predictions = [p.take(np.tile(np.arange(len(p)), n_names)) for p in predictions]
    whole, start = match(truths, predictions, 356), time.process_time()
    bootstrap(whole, whole, np.arange(30), rng, 500)
    assert time.process_time() - start < 10


def test_groups_that_do_not_fit_are_refused():
    whole = match(*case(np.random.default_rng(0)))
    with pytest.raises(ValueError, match="groups: got 3, must be one for each of 5 photos"):
        interval(whole, np.arange(3))
    with pytest.raises(ValueError, match="matches: got 5 and 6 photos"):
        gain_interval(whole, match(*case(np.random.default_rng(0), n_photos=6)), np.arange(5))
    with pytest.raises(ValueError, match="matches: got 5 and 6 photos"):
        bootstrap(whole, match(*case(np.random.default_rng(0), n_photos=6)), np.arange(5), np.random.default_rng(0), 5)


def test_the_interval_over_two_groups_leaves_nothing_out() -> None:
    assert tail(2) < 1e-6


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (3, 40), (40, 40)])
def test_shares_have_scipys_exact_interval(hits: int, n: int) -> None:
    exact = binomtest(hits, n).proportion_ci(method="exact")
    assert np.allclose(exact_interval(hits, n), exact)


def apart(boxes: int, found: np.ndarray, label: int = 0) -> tuple[Truth, Detections]:
    """A photo of so many boxes beside each other, of which those at `found` are found under their name."""
    corners = np.stack([np.arange(boxes) * 20.0, np.zeros(boxes)], 1)
    places, labels = np.concatenate([corners, corners + 15], 1).astype(np.float32), np.full(boxes, label)
    return Truth(places, labels), Detections(places[found], np.full(len(found), 0.9, np.float32), labels[found])


@pytest.mark.parametrize("scenes", [2, 3, 25])
def test_all_right_in_every_scene_leaves_something_open(scenes: int) -> None:
    truths, predictions = zip(*(apart(9, np.arange(9)) for _ in range(scenes)), strict=True)
    found = interval(match(truths, predictions, 1), np.arange(scenes))
    expected = least_interval(1.0, 9 * scenes, scenes)[0]
    for one in (found.det_map50, found.cls_map50, found.score):
        assert (one.value, one.high) == (pytest.approx(1), 1)
        assert one.low == pytest.approx(expected) and one.low < 1 - 1 / (9 * scenes)


def test_as_many_missed_in_every_scene_leave_something_open_on_both_sides() -> None:
    truths, predictions = zip(*(apart(10, np.arange(5)) for _ in range(4)), strict=True)
    found = interval(match(truths, predictions, 1), np.arange(4)).score
    assert found.low < 0.4 and found.high > 0.6 and 0.49 < found.value < 0.51


def test_a_part_that_does_not_vary_widens_the_score_of_one_that_does() -> None:
    """All found, and one of 45 named wrong: that no box was missed here does not mean that none will be."""
    truths, predictions = zip(*(apart(9, np.arange(9), k % 2) for k in range(5)), strict=True)
    wrong = predictions[0].labels.copy()
    wrong[0] = 1
    first = Detections(predictions[0].boxes, predictions[0].scores, wrong)
    found = interval(match(truths, [first, *predictions[1:]], 2), np.arange(5))
    below = found.det_map50.value - found.det_map50.low
    assert 0.08 < below < 0.13 and found.cls_map50.low < found.cls_map50.value < 1
    assert found.score.value - found.score.low > 0.7 * below + 0.25 * (found.cls_map50.value - found.cls_map50.low)


def test_names_of_few_boxes_leave_more_open() -> None:
    many, rare = apart(20, np.arange(20)), apart(1, np.arange(1), 1)
    truths, predictions = zip(*([many] * 4 + [rare]), strict=True)
    found = interval(match(truths, predictions, 2), np.array([0, 1, 2, 3, 3]))
    assert found.cls_map50.low == pytest.approx(least_interval(1.0, 4 / (1 / 80 + 1), 4)[0])
    assert found.cls_map50.low < found.score.low < found.det_map50.low


def test_the_gain_of_one_perfect_answer_over_another_is_not_known_to_be_none() -> None:
    truths, predictions = zip(*(apart(9, np.arange(9)) for _ in range(5)), strict=True)
    ranked = [Detections(p.boxes, p.scores - np.float32(0.1 * k), p.labels) for k, p in enumerate(predictions)]
    first, other = match(truths, predictions, 1), match(truths, ranked[::-1], 1)
    found = gain_interval(first, other, np.arange(5))
    assert found.value == pytest.approx(0) and -0.13 < found.low < -0.08 and 0.08 < found.high < 0.13
    itself = gain_interval(first, match(truths, predictions, 1), np.arange(5))
    assert (itself.value, itself.low, itself.high) == (0, 0, 0)


def test_where_few_boxes_are_missed_the_interval_holds_the_mean() -> None:
    """5 scenes of 9 boxes, 2 % of which are missed: in four of ten sets all is right."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        truths, predictions = zip(*(apart(9, np.flatnonzero(rng.random(9) < 0.98)) for _ in range(5)), strict=True)
        found.append(interval(match(truths, predictions, 1), np.arange(5)).score)
    mean = np.mean([one.value for one in found])
    assert np.mean([one.low <= mean <= one.high for one in found]) >= 0.95
    assert np.mean([one.value > 1 - 1e-9 for one in found]) > 0.3
