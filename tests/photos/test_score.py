"""The contest's metric is pycocotools' to 1e-9, and a resample is what scoring the drawn photos again would say."""

import contextlib
import io
import time
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import ttest_1samp

from fusion.boxes import Detections, iou, xyxy_to_xywh
from photos import intervals as subject
from photos.intervals import bootstrap, interval
from photos.score import Scores, Truth, average_precisions, counted, evaluate, greedy_hits, match, scores

NO_BOXES, NO_LABELS = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
UNCAPPED = 100_000


def boxes_of(rng: np.random.Generator, n: int) -> np.ndarray:
    start = rng.uniform(0, 80, (n, 2))
    return np.concatenate([start, start + rng.uniform(5, 30, (n, 2))], axis=1).astype(np.float32)


def truth_of(rng: np.random.Generator, n: int, n_categories: int) -> Truth:
    return Truth(boxes_of(rng, n), rng.integers(0, n_categories, n))


def guess(rng: np.random.Generator, truth: Truth, n_categories: int, tied: bool) -> Detections:
    """Some of the truth, shifted, some of it twice or renamed, and some boxes of nothing."""
    pick = rng.integers(0, len(truth.boxes), rng.integers(0, 2 * len(truth.boxes))) if len(truth.boxes) else NO_LABELS
    extra = int(rng.integers(0, 6))
    boxes = np.concatenate([truth.boxes[pick] + rng.normal(0, 2, (len(pick), 4)), boxes_of(rng, extra)]).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    labels = np.concatenate([truth.labels[pick], rng.integers(0, n_categories, extra)])
    labels = np.where(rng.random(len(labels)) < 0.3, rng.integers(0, n_categories, len(labels)), labels)
    values = rng.integers(0, 5, len(labels)) / 4 if tied else rng.uniform(0, 1, len(labels))
    return Detections(boxes, values.astype(np.float32), labels)


def case(rng: np.random.Generator, n_photos: int = 5, n_categories: int = 4, tied: bool = False) -> tuple[list, list, int]:
    truths = [truth_of(rng, int(rng.integers(0, 12)), n_categories) for _ in range(n_photos)]
    return truths, [guess(rng, truth, n_categories, tied) for truth in truths], n_categories


def coco(photos: list, labels: list, n_categories: int) -> dict:
    """Records of COCO's JSON, of truth or of predictions."""
    records = [
        {"image_id": i + 1, "category_id": int(name) + 1, "bbox": xyxy_to_xywh(box.astype(np.float64)).tolist(), "iscrowd": 0}
        | ({"score": float(photo.scores[k])} if isinstance(photo, Detections) else {})
        for i, photo in enumerate(photos)
        for k, (box, name) in enumerate(zip(photo.boxes, labels[i], strict=True))
    ]
    if photos and isinstance(photos[0], Truth):  # the products in a region to ignore may be of any name
        records += [
            {"image_id": i + 1, "category_id": c + 1, "bbox": xyxy_to_xywh(box.astype(np.float64)).tolist(), "iscrowd": 1}
            for i, photo in enumerate(photos)
            for box in photo.ignored
            for c in range(n_categories)
        ]
    records = [{**r, "id": k + 1, "area": r["bbox"][2] * r["bbox"][3]} for k, r in enumerate(records)]
    images = [{"id": i + 1, "width": 100, "height": 100} for i in range(len(photos))]
    return {"images": images, "categories": [{"id": c + 1} for c in range(n_categories)], "annotations": records}


def coco_map(truths: list, predictions: list, n_categories: int, max_dets: int, named: bool, maker=COCO, judge=COCOeval):
    """AP of each category by COCO's own code, nan where there is no truth."""
    sides = []
    for photos in (truths, predictions):
        labels = [photo.labels if named else np.zeros_like(photo.labels) for photo in photos]
        sides.append(maker())
        sides[-1].dataset = coco(photos, labels, n_categories if named else 1)
        sides[-1].createIndex()
    verdict = judge(*sides, "bbox")
    verdict.params.iouThrs, verdict.params.maxDets = np.array([0.5]), [max_dets]
    verdict.evaluate()
    verdict.accumulate()
    precision = verdict.eval["precision"][0, :, :, 0, -1]  # (recalls, categories)
    return np.where(precision[0] > -1, precision.mean(axis=0), np.nan)


def pycocotools_scores(truths: list, predictions: list, n_categories: int, max_dets: int = UNCAPPED) -> Scores:
    with contextlib.redirect_stdout(io.StringIO()):
        parts = [coco_map(truths, predictions, n_categories, max_dets, named) for named in (False, True)]
    return Scores(*(float(np.nanmean(part)) if not np.isnan(part).all() else 0.0 for part in parts))


def same(got: Scores, want: Scores) -> None:
    np.testing.assert_allclose([got.det_map50, got.cls_map50], [want.det_map50, want.cls_map50], rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_photos", [0, 3], ids=["no photos", "photos of nothing"])
def test_nothing(n_photos):
    whole = match([Truth(NO_BOXES, NO_LABELS)] * n_photos, [Detections.empty()] * n_photos, 4)
    assert scores(whole) == Scores(0.0, 0.0)
    assert np.isnan(average_precisions(whole.classification)).tolist() == [True] * 4
    none = bootstrap(whole, whole, np.arange(n_photos), np.random.default_rng(0), n=5)
    assert (none.value, none.low, none.high, none.n_groups) == (0, 0, 0, n_photos)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("tied", [False, True], ids=["scores differ", "scores tie"])
def test_scores_are_pycocotools(seed, tied):
    truths, predictions, n = case(np.random.default_rng(seed), tied=tied)
    same(evaluate(truths, predictions, n), pycocotools_scores(truths, predictions, n))


@pytest.mark.parametrize("max_dets", [1, 3, 100])
@pytest.mark.parametrize("tied", [False, True], ids=["scores differ", "scores tie"])
def test_capped_scores_are_pycocotools(max_dets, tied):
    truths, predictions, n = case(np.random.default_rng(max_dets), n_categories=2, tied=tied)
    want = pycocotools_scores(truths, predictions, n, max_dets)
    same(evaluate(truths, predictions, n, max_dets), want)


@pytest.mark.parametrize("seed", range(8))
def test_regions_to_ignore_are_pycocotools_crowds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths, predictions, n = case(rng, tied=seed % 2 == 1)
    crowded = [replace(truth, ignored=boxes_of(rng, int(rng.integers(1, 4))) * (1, 1, 1.5, 1.5)) for truth in truths]
    same(evaluate(crowded, predictions, n), pycocotools_scores(crowded, predictions, n))
    capped = evaluate(crowded, predictions, n, max_dets=3)
    same(capped, pycocotools_scores(crowded, predictions, n, 3))
    assert len(match(crowded, predictions, n).detection.hits) < len(match(truths, predictions, n).detection.hits)


def test_a_box_half_in_a_region_to_ignore_counts_as_nothing() -> None:
    truth = Truth(np.array([[0, 0, 10, 10]], np.float32), np.zeros(1, np.int64), np.array([[50, 0, 100, 100]], np.float32))
    boxes = np.array([[45, 0, 55, 10], [44, 0, 54, 10], [0, 0, 10, 10]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.zeros(3, np.int64))
    assert counted(truth, found, greedy_hits(truth, found)).tolist() == [False, True, True]


def on_one(labels: list[int], boxes: list[list[float]]) -> Truth:
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))


def with_scores(truth: Truth, values: list[float]) -> Detections:
    return Detections(truth.boxes, np.array(values, np.float32), truth.labels)


A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [60, 60, 70, 70]
HALF = [0, 0, 10, 5]  # overlaps A by exactly 0.5
EMPTY = on_one([], [])


@pytest.mark.parametrize(
    ("truths", "predictions"),
    [
        pytest.param([on_one([0], [A])], [with_scores(EMPTY, [])], id="nothing predicted"),
        pytest.param([EMPTY], [with_scores(on_one([0], [A]), [0.9])], id="nothing there"),
        pytest.param([EMPTY, on_one([0], [A])], [with_scores(on_one([0], [A]), [0.9])] * 2, id="nothing on one photo"),
        pytest.param([on_one([0, 1], [A, B])], [with_scores(on_one([0, 3], [A, B]), [0.9, 0.8])], id="absent category"),
        pytest.param([on_one([0], [A])], [with_scores(on_one([0, 0], [A, A]), [0.9, 0.9])], id="the same box twice"),
        pytest.param([on_one([0, 0], [A, A])], [with_scores(on_one([0, 0], [A, A]), [0.9, 0.8])], id="the same truth twice"),
        pytest.param([on_one([0], [A])], [with_scores(on_one([0], [HALF]), [0.9])], id="overlap of exactly one half"),
        pytest.param([on_one([0], [A])], [with_scores(on_one([0], [[0, 0, 10, 4.99]]), [0.9])], id="overlap below one half"),
        pytest.param([on_one([0], [A])], [with_scores(on_one([1, 0], [A, FAR]), [0.9, 0.8])], id="right box, wrong name"),
        pytest.param([on_one([0], [A])], [with_scores(on_one([0, 0], [FAR, A]), [0.9, 0.1])], id="a miss ranked first"),
        pytest.param(
            [on_one([0, 0], [A, [0, 0, 10, 8]])],
            [with_scores(on_one([0, 0], [[0, 0, 10, 9], A]), [0.9, 0.8])],
            id="the better one takes what the other overlaps most",
        ),
        pytest.param(
            [on_one([0, 0], [[0, 0, 10, 10], [0, 2, 10, 12]])],
            [with_scores(on_one([0, 0], [[0, 1, 10, 11], [0, 0, 10, 7]]), [0.9, 0.8])],
            id="of equal overlaps the later truth",
        ),
        pytest.param([on_one([0], [A])], [with_scores(on_one([0], [[5, 5, 5, 9]]), [0.9])], id="a box without area"),
    ],
)
def test_situations_are_scored_as_by_pycocotools(truths, predictions):
    same(evaluate(truths, predictions, 4), pycocotools_scores(truths, predictions, 4))


def test_average_precisions_of_each_category_are_pycocotools():
    truths, predictions, n = case(np.random.default_rng(5), n_photos=12, n_categories=30)
    with contextlib.redirect_stdout(io.StringIO()):
        want = coco_map(truths, predictions, n, UNCAPPED, named=True)
    np.testing.assert_allclose(average_precisions(match(truths, predictions, n).classification), want, rtol=0, atol=1e-9)


def test_scores_are_faster_coco_evals():
    faster = pytest.importorskip("faster_coco_eval")
    truths, predictions, n = case(np.random.default_rng(7), n_photos=20, n_categories=6)
    kind = {"maker": faster.COCO, "judge": faster.COCOeval_faster}
    with contextlib.redirect_stdout(io.StringIO()):
        parts = [coco_map(truths, predictions, n, UNCAPPED, named, **kind) for named in (False, True)]
    same(evaluate(truths, predictions, n), Scores(*(float(np.nanmean(part)) for part in parts)))


def test_one_name_for_all_can_reach_seven_tenths():
    truths = [truth_of(np.random.default_rng(k), 9, 50) for k in range(4)]
    unnamed = [Detections(t.boxes, np.ones(9, np.float32), np.full(9, 49)) for t in truths]
    got = evaluate(truths, unnamed, 50)
    assert got.det_map50 == pytest.approx(1) and got.score == pytest.approx(0.7, abs=0.02)
    assert evaluate(truths, [Detections(t.boxes, np.ones(9, np.float32), t.labels) for t in truths], 50).score == pytest.approx(
        1
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_photo_of_weight_k_is_k_photos(seed):
    """Also: what weight 0 takes from the truth no longer counts."""
    rng = np.random.default_rng(seed)
    truths, predictions, n = case(rng, n_photos=6, n_categories=8)
    weights = rng.integers(0, 4, 6)
    drawn = [k for k in range(6) for _ in range(weights[k])]
    want = pycocotools_scores([truths[k] for k in drawn], [predictions[k] for k in drawn], n)
    same(scores(match(truths, predictions, n), weights), want)


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda t, p: (t, p[:-1], 4), "got 4 photos, must be 5", id="a photo missing"),
        pytest.param(
            lambda t, p: ([on_one([4], [A]), *t[1:]], p, 4), r"labels of truth 0: got 4\.\.4", id="truth out of range"
        ),
        pytest.param(
            lambda t, p: (t, [*p[:-1], with_scores(on_one([-1], [A]), [1])], 4),
            r"labels of prediction 4: got -1\.\.-1, must be in 0\.\.3",
            id="prediction out of range",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    truths, predictions, _ = case(np.random.default_rng(0))
    with pytest.raises(ValueError, match=said):
        match(*change(truths, predictions))


def test_groups_that_do_not_fit_are_refused():
    whole = match(*case(np.random.default_rng(0)))
    with pytest.raises(ValueError, match="groups: got 3, must be one for each of 5 photos"):
        interval(whole, np.arange(3))
    with pytest.raises(ValueError, match="matches: got 5 and 6 photos"):
        bootstrap(whole, match(*case(np.random.default_rng(0), n_photos=6)), np.arange(5), np.random.default_rng(0), 5)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_hits_are_those_of_a_plain_loop(seed: int) -> None:
    """Crowded boxes on a coarse grid: many candidates for each prediction, and equal overlaps."""
    rng = np.random.default_rng(seed)
    boxes = [np.concatenate([xy, xy + 4], 1).astype(np.float32) for xy in (rng.integers(0, 4, (n, 2)) for n in (25, 15))]
    truth = Truth(boxes[1], rng.integers(0, 2, 15))
    predictions = Detections(boxes[0], np.linspace(1, 0.1, 25, dtype=np.float32), rng.integers(0, 2, 25))
    taken: set[int] = set()
    for k, hit in enumerate(greedy_hits(truth, predictions).tolist()):
        overlap = iou(predictions.boxes[k : k + 1], truth.boxes)[0]
        free = [m for m in range(15) if m not in taken and truth.labels[m] == predictions.labels[k] and overlap[m] >= 0.5]
        assert hit == bool(free)
        taken |= {max(free, key=lambda m: (overlap[m], m))} if free else set()
    assert taken
