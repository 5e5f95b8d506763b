"""Merging: fusion is ensemble-boxes' bit for bit, evidence is that of a slow loop, and every method keeps what merging says."""

import time

import ensemble_boxes
import numpy as np
import pytest
from random_boxes import LAYOUTS, jittered, random_detections, scattered, some_scores

from fusion.boxes import Detections, iou
from fusion.merge import METHODS, Merge, evidence, merge, weighted_boxes_fusion

NONE = Detections.empty()


# weighted boxes fusion


@pytest.mark.parametrize("models", [0, 1, 3], ids=["no models", "one", "three"])
def test_fusion_of_nothing(models):
    none = [NONE] * models
    boxes, scores, labels = weighted_boxes_fusion(
        [n.boxes for n in none], [n.scores for n in none], [n.labels for n in none], [1.0] * models, 0.5
    )
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)


def random_models(rng: np.random.Generator, layout, tied: bool) -> tuple[list, list, list]:
    """One to four models; some find nothing, some one box, some many."""
    sizes = [int(rng.choice([0, 1, rng.integers(2, 25)])) for _ in range(rng.integers(1, 5))]
    boxes = [layout(rng, n) for n in sizes]
    return boxes, [some_scores(rng, n, tied) for n in sizes], [rng.integers(0, rng.integers(1, 4), n) for n in sizes]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tied", [False, True], ids=["scores differ", "scores tie"])
@pytest.mark.parametrize("even", [False, True], ids=["weights differ", "weights same"])
def test_fusion_is_ensemble_boxes_bit_for_bit(layout, tied, even):
    rng = np.random.default_rng(0)
    for _ in range(100):  # 12 rows: 1,200 cases
        models = random_models(rng, layout, tied)
        weights = [1.0 if even else float(rng.integers(1, 4)) for _ in models[0]]
        limit, skip = float(rng.choice([0.3, 0.5, 0.55, 0.8])), float(rng.choice([0.0, 0.25]))
        want = ensemble_boxes.weighted_boxes_fusion(*models, weights, iou_thr=limit, skip_box_thr=skip)
        got = weighted_boxes_fusion(*models, weights, limit, skip)
        for mine, theirs in zip(got, want, strict=True):
            np.testing.assert_array_equal(mine, np.asarray(theirs).astype(mine.dtype))


def test_fusion_works_in_pixels():
    models = random_models(np.random.default_rng(3), jittered, False)
    weights = [1.0] * len(models[0])
    small, large = (weighted_boxes_fusion([b * k for b in models[0]], *models[1:], weights, 0.5) for k in (1, 4000))
    np.testing.assert_allclose(large[0] / 4000, small[0], rtol=1e-5)
    np.testing.assert_array_equal(large[1], small[1])


def test_fusion_is_as_if_a_model_of_weight_0_were_not_there():
    rng = np.random.default_rng(0)
    boxes, scores = [jittered(rng, 20) for _ in range(3)], [some_scores(rng, 20, False) for _ in range(3)]
    labels = [np.zeros(20, np.int64)] * 3
    got = weighted_boxes_fusion(boxes, scores, labels, [1, 0, 2], 0.5)
    want = weighted_boxes_fusion(boxes[::2], scores[::2], labels[::2], [1, 2], 0.5)
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("box", "score"),
    [
        pytest.param([0.2, 0.2, 0.2, 0.9], 0.9, id="no width"),
        pytest.param([0.2, 0.2, 0.9, 0.2], 0.9, id="no height"),
        pytest.param([0.2, 0.2, 0.9, 0.9], 0.0, id="score 0"),
    ],
)
def test_fusion_drops_what_is_no_box(box, score):
    rng = np.random.default_rng(0)
    boxes, scores, labels = scattered(rng, 5), some_scores(rng, 5, False), np.zeros(6, np.int64)
    odd = np.concatenate([boxes, np.array([box], np.float32)]), np.append(scores, np.float32(score))
    got = weighted_boxes_fusion([odd[0]], [odd[1]], [labels], [1], 0.5)
    want = weighted_boxes_fusion([boxes], [scores], [labels[:5]], [1], 0.5)
    np.testing.assert_array_equal(got[0], want[0])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")]], ids=["one short", "negative", "nan"])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights: got .* must be one number >= 0 for each of 2 members"):
        weighted_boxes_fusion([NONE.boxes] * 2, [NONE.scores] * 2, [NONE.labels] * 2, weights, 0.5)


def shelf(rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` products in rows of 30, neighbours overlapping a little."""
    corner = np.stack([np.arange(n) % 30, np.arange(n) // 30], 1) * [1.0, 1.2]
    return (np.concatenate([corner, corner + np.array([1.07, 1.0])], 1) / 36).astype(np.float32)


@pytest.mark.slow
def test_fusion_is_faster_than_ensemble_boxes():
    """`experiments.benchmark wbf` measures the ratio; this only notices when it is lost."""
    rng = np.random.default_rng(0)
    boxes = [np.clip(shelf(rng, 600) + rng.normal(0, 0.001, (600, 4)), 0, 1).astype(np.float32) for _ in range(3)]
    models = [b.tolist() for b in boxes], [some_scores(rng, 600, False).tolist() for _ in range(3)], [[0] * 600] * 3
    arrays = [[np.array(part) for part in parts] for parts in models]
    start = time.perf_counter()
    weighted_boxes_fusion(*arrays, [1, 1, 1], 0.55)
    middle = time.perf_counter()
    ensemble_boxes.weighted_boxes_fusion(*models, [1, 1, 1], iou_thr=0.55)
    assert middle - start < (time.perf_counter() - middle) / 4


# evidence


def test_evidence_on_nothing_and_of_nothing():
    some = random_detections(np.random.default_rng(0), 4, 3)
    assert evidence(NONE.boxes, [some], [1], 0.5).shape == (0, 3)
    assert evidence(some.boxes, [], [], 0.5).shape == (4, 0)
    assert evidence(some.boxes, [NONE], [1], 0.5).shape == (4, 0)
    np.testing.assert_array_equal(evidence(some.boxes, [Detections.empty(3)], [1], 0.5), np.zeros((4, 3), np.float32))


def slow_evidence(boxes: np.ndarray, members: list[Detections], weights: list[float], limit: float) -> np.ndarray:
    rows = []
    for box in boxes:
        total, mass = np.zeros(7), 0.0
        for member, weight in zip(members, weights, strict=True):
            for k in range(len(member) if member.evidence is not None else 0):
                overlap = iou(box[None], member.boxes[[k]])[0, 0]
                if overlap >= limit:
                    total += weight * member.scores[k] * overlap * member.evidence[k]
                    mass += weight * member.scores[k] * overlap
        rows.append(total / mass if mass else total)
    return np.array(rows)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [2, 0.5, 1, 1], [0, 1, 1, 0]], ids=["even", "uneven", "some silent"])
def test_evidence_is_that_of_a_slow_loop(weights):
    rng = np.random.default_rng(0)
    members = [random_detections(rng, 30, 7), random_detections(rng, 20, 7), random_detections(rng, 10), Detections.empty(7)]
    boxes = np.concatenate([random_detections(rng, 15).boxes, [[5000, 5000, 5001, 5001]]]).astype(np.float32)
    got = evidence(boxes, members, weights, 0.5)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, slow_evidence(boxes, members, weights, 0.5), rtol=1e-5, atol=1e-7)
    assert not got[-1].any()  # nobody speaks for it


def test_evidence_refuses_members_that_count_categories_differently():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"got members with \[3, 4\] categories"):
        evidence(NONE.boxes, [random_detections(rng, 2, 3), random_detections(rng, 2, 4)], [1, 1], 0.5)


# merge

ALL_METHODS = pytest.mark.parametrize("method", list(METHODS))


@ALL_METHODS
@pytest.mark.parametrize(
    ("members", "weights"),
    [
        pytest.param([], [], id="no members"),
        pytest.param([NONE], [1], id="one that found nothing"),
        pytest.param([NONE, Detections.empty(3)], [1, 1], id="two that found nothing, one with classes"),
        pytest.param([random_detections(np.random.default_rng(0), 5, 3)], [0], id="one of weight 0"),
    ],
)
def test_merge_of_nothing(method, members, weights):
    got = merge(members, weights, [1] * len(members), Merge(method))
    assert len(got) == 0
    assert (got.evidence is None) == all(member.evidence is None for member in members)


@ALL_METHODS
def test_merge_is_sorted_capped_and_ignores_labels(method):
    rng = np.random.default_rng(0)
    members = [random_detections(rng, 40), random_detections(rng, 30)]
    got = merge(members, [1, 3], [0, 0], Merge(method, max_det=4))
    assert len(got) == 4
    assert (np.diff(got.scores) <= 0).all() and got.scores.max() <= 1
    assert got.evidence is None and not got.labels.any()
    renamed = [Detections(m.boxes, m.scores, m.labels + 1) for m in members]
    np.testing.assert_array_equal(merge(renamed, [1, 3], [0, 0], Merge(method, max_det=4)).boxes, got.boxes)


def test_soft_wbf_lowers_the_neighbour_in_each_view_before_views_are_joined():
    """Two products that overlap by a third, seen in two views, the second shifted by a pixel."""
    boxes = np.float32([[0, 0, 30, 10], [15, 0, 45, 10]])
    views = [Detections(boxes + shift, np.float32([0.9, 0.8]), np.zeros(2, np.int64)) for shift in (0, 1)]
    lowered = 0.8 * np.exp(-((1 / 3) ** 2) / 0.5)
    softened = [Detections(view.boxes, np.float32([0.9, lowered]), view.labels) for view in views]
    got, want = merge(views, [1, 1], [0, 0], Merge("soft_wbf")), merge(softened, [1, 1], [0, 0], Merge("wbf"))
    np.testing.assert_allclose(got.boxes, want.boxes, atol=1e-5)
    np.testing.assert_allclose(got.scores, want.scores, atol=1e-6)
    assert abs(got.scores[1] - lowered) < 1e-6 < merge(views, [1, 1], [0, 0], Merge("wbf")).scores[1] - lowered


@ALL_METHODS
def test_member_of_weight_0_gives_evidence_but_no_boxes(method):
    rng = np.random.default_rng(0)
    finder, namer = random_detections(rng, 30), random_detections(rng, 30, 6)
    alone = merge([finder], [1], [0], Merge(method))
    got = merge([finder, namer], [1, 0], [0, 1], Merge(method))
    np.testing.assert_array_equal(got.boxes, alone.boxes)
    np.testing.assert_array_equal(got.scores, alone.scores)
    np.testing.assert_array_equal(got.evidence, evidence(got.boxes, [namer], [1], 0.5))
    np.testing.assert_array_equal(got.labels, got.evidence.argmax(axis=1))


@ALL_METHODS
def test_evidence_weight_0_is_silence(method):
    assert merge([random_detections(np.random.default_rng(0), 9, 6)], [1], [0], Merge(method)).evidence is None


def test_merge_by_nms_lowers_the_scores_of_a_lesser_member():
    boxes = np.array([[0, 0, 10, 10]], np.float32), np.array([[0, 0, 10, 11]], np.float32)
    members = [Detections(b, np.array([s], np.float32), np.zeros(1, np.int64)) for b, s in zip(boxes, (0.6, 0.9), strict=True)]
    got = merge(members, [2, 1], [0, 0], Merge("nms"))
    np.testing.assert_array_equal(got.boxes, boxes[0])
    np.testing.assert_allclose(got.scores, [0.6])


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="merge method: got 'nmw', must be one of nms, soft_nms, wbf, soft_wbf"):
        merge([NONE], [1], [1], Merge("nmw"))


@pytest.mark.parametrize(
    ("boxes", "scores", "fused"),
    [
        pytest.param(
            [[0, 0, 10, 10], [8, 0, 18, 10], [4, 0, 14, 10]], [0.9, 0.6, 0.5], [[1.4286, 0, 11.4286, 10], [8, 0, 18, 10]],
            id="as near to two: it joins the first",
        ),
        pytest.param(
            [[0, 0, 30, 10], [0, 0, 10, 10], [18, 0, 28, 10]], [0.9, 0.1, 0.05], [[0.857, 0, 28.0, 10]],
            id="two that lie apart meet in one",
        ),
    ],
)  # fmt: skip
def test_fusion_by_hand(boxes, scores, fused):
    boxes, scores = np.array(boxes, np.float32), np.array(scores, np.float32)
    got, _, _ = weighted_boxes_fusion([boxes / 40], [scores], [np.zeros(3, np.int64)], [1.0], 0.3)
    np.testing.assert_allclose(got * 40, fused, atol=1e-3)
    want = ensemble_boxes.weighted_boxes_fusion([boxes / 40], [scores], [np.zeros(3)], [1.0], iou_thr=0.3)[0]
    np.testing.assert_array_equal(got, want.astype(np.float32))
