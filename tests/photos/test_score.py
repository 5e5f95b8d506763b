"""The contest's metric is pycocotools' to 1e-9, also of photos that count several times."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from random_truths import FAR, NO_BOXES, NO_LABELS, A, B, boxes_of, case, on_one, truth_of, with_scores

from fusion.boxes import Detections, iou, xyxy_to_xywh
from photos.intervals import bootstrap
from photos.score import Scores, Truth, average_precisions, counted, evaluate, greedy_hits, match, scores

UNCAPPED = 100_000


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


def coco_map(truths: list, predictions: list, n_categories: int, max_dets: int, named: bool, code=(COCO, COCOeval)):
    """AP of each category by COCO's own `code`, which reads and judges; nan where there is no truth."""
    (maker, judge), sides = code, []
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
    low, high = (0, 0) if n_photos else (-np.inf, np.inf)
    assert (none.value, none.low, none.high, none.n_groups) == (0, low, high, n_photos)


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
    code = (faster.COCO, faster.COCOeval_faster)
    with contextlib.redirect_stdout(io.StringIO()):
        parts = [coco_map(truths, predictions, n, UNCAPPED, named, code) for named in (False, True)]
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
