"""COCO's figures are pycocotools' to 1e-9, and the contest's where both say the same."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from experiments.performance.coco_metrics import coco_scores
from fusion.boxes import Detections, xyxy_to_xywh
from photos.data import Photo
from photos.score import Truth, evaluate

KEYS = ["map", "map50", "map75", "map_small", "map_medium", "map_large", "recall"]
NAMES = 4
UNCAPPED = 100_000


def photo(boxes: np.ndarray | list[list[float]], labels: np.ndarray | list[int], number: int = 7) -> Photo:
    truth = np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)
    return Photo(number, Path("none.jpg"), 400, 400, *truth, np.arange(len(labels)), None)


def detections(boxes: np.ndarray | list[list[float]], labels: np.ndarray | list[int], scores: np.ndarray | list) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64))


BOX, OTHER = [10, 10, 30, 40], [200, 100, 390, 390]  # a small one and a large one


@pytest.mark.parametrize(
    ("photos", "found", "want"),
    [
        pytest.param([], [], [np.nan] * 7, id="no photos"),
        pytest.param([photo([], [])], [Detections.empty()], [np.nan] * 7, id="nothing on them"),
        pytest.param([photo([], [])], [detections([BOX], [0], [1])], [np.nan] * 7, id="nothing on them, yet something found"),
        pytest.param([photo([BOX], [1])], [Detections.empty()], [0, 0, 0, 0, np.nan, np.nan, 0], id="nothing found"),
        pytest.param(
            [photo([BOX], [1])], [detections([BOX], [1], [0.1])], [1, 1, 1, 1, np.nan, np.nan, 1], id="found as it is"
        ),
        pytest.param(
            [photo([BOX], [1])], [detections([BOX], [2], [0.9])], [0, 0, 0, 0, np.nan, np.nan, 0], id="by another name"
        ),
        pytest.param(  # the large one's name is missed: half of the names, and of what is large none
            [photo([BOX, OTHER], [0, 1])],
            [detections([BOX], [0], [0.9])],
            [0.5, 0.5, 0.5, 1, np.nan, 0, 0.5],
            id="one of two names",
        ),
        pytest.param(  # IoU 0.7: right at 0.5, 0.55, 0.6, 0.65 and 0.7
            [photo([[0, 0, 100, 100]], [0])],
            [detections([[0, 0, 100, 70]], [0], [0.9])],
            [0.5, 1, 0, np.nan, np.nan, 0.5, 0.5],
            id="seven tenths of it",
        ),
    ],
)
def test_by_hand(photos: list[Photo], found: list[Detections], want: list[float]) -> None:
    told = coco_scores(photos, found, NAMES)
    assert list(told) == KEYS
    np.testing.assert_allclose(list(told.values()), want, atol=1e-12)


def case(rng: np.random.Generator, most: int = 15, tied: bool = False) -> tuple[list[Photo], list[Detections]]:
    """Photos of things from 6 to 150 pixels long; found are some of them, shifted, twice or renamed, and things of nothing."""
    photos, found = [], []
    for number in range(6):
        boxes = things(rng, int(rng.integers(0, most)))
        photos.append(photo(boxes, rng.integers(0, NAMES, len(boxes)), 10 * number + 1))
        pick = rng.integers(0, len(boxes), int(rng.integers(0, 2 * most))) if len(boxes) else np.zeros(0, np.int64)
        moved = boxes[pick] + rng.normal(0, 0.05, (len(pick), 4)) * np.tile(boxes[pick, 2:] - boxes[pick, :2], 2)
        guess = np.concatenate([moved, things(rng, int(rng.integers(0, 5)))])
        labels = np.concatenate([photos[-1].labels[pick], rng.integers(0, NAMES, len(guess) - len(pick))])
        labels = np.where(rng.random(len(labels)) < 0.2, rng.integers(0, NAMES, len(labels)), labels)
        scores = rng.integers(0, 4, len(labels)) / 4 if tied else rng.random(len(labels))
        found.append(detections(guess, labels, scores))
    return photos, found


def things(rng: np.random.Generator, n: int) -> np.ndarray:
    start = rng.uniform(0, 250, (n, 2))
    return np.concatenate([start, start + 6 * 25 ** rng.random((n, 2))], 1)


def pycocotools(photos: list[Photo], found: list[Detections], most: int) -> COCOeval:
    """What COCO's own code says of the two as JSON, `most` detections of a photo and name counted."""
    rows: tuple[list[dict], list[dict]] = ([], [])
    for one, guess in zip(photos, found, strict=True):
        for i, side in enumerate((one, guess)):
            for k, (box, label) in enumerate(
                zip(xyxy_to_xywh(side.boxes.astype(np.float64)).tolist(), side.labels, strict=True)
            ):
                row = {"image_id": one.id, "category_id": int(label) + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                rows[i].append(row | {"id": len(rows[i]) + 1} | ({"score": float(guess.scores[k])} if i else {}))
    images = [{"id": one.id, "width": one.width, "height": one.height} for one in photos]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "categories": [{"id": c + 1} for c in range(NAMES)], "annotations": rows[0]}
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(rows[1]), "bbox")
        judge.params.maxDets = [1, 10, most]
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def known(values: np.ndarray) -> float:
    return float(values[values > -1].mean()) if (values > -1).any() else np.nan


@pytest.mark.parametrize("tied", [False, True], ids=["own scores", "tied scores"])
@pytest.mark.parametrize("seed", range(8))
def test_figures_are_pycocotools(seed: int, tied: bool) -> None:
    photos, found = case(np.random.default_rng(seed), tied=tied)
    stats = np.where((told := pycocotools(photos, found, 100).stats) < 0, np.nan, told)
    got = coco_scores(photos, found, NAMES)
    np.testing.assert_allclose(list(got.values()), stats[[0, 1, 2, 3, 4, 5, 8]], rtol=0, atol=1e-9)
    for most, want in ((1, stats[6]), (10, stats[7])):
        np.testing.assert_allclose(coco_scores(photos, found, NAMES, most)["recall"], want, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_a_photo_of_more_than_a_hundred_is_not_cut() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([[8 * (i % 20), 8 * (i // 20), 8 * (i % 20) + 7, 8 * (i // 20) + 7] for i in range(250)], np.float32)
    photos, found = (
        [photo(boxes, np.zeros(250))],
        [detections(boxes + rng.normal(0, 0.4, boxes.shape), [0] * 250, rng.random(250))],
    )
    for most, given in ((UNCAPPED, None), (250, 250), (100, 100)):
        judge = pycocotools(photos, found, most)
        want = [known(judge.eval["precision"][..., 0, -1]), known(judge.eval["recall"][..., 0, -1])]
        told = coco_scores(photos, found, NAMES, given)
        np.testing.assert_allclose([told["map"], told["recall"]], want, rtol=0, atol=1e-9)
    assert coco_scores(photos, found, NAMES)["map50"] > 0.8 > 0.5 > coco_scores(photos, found, NAMES, 100)["map50"]


@pytest.mark.parametrize("seed", range(8))
def test_map50_is_the_contests(seed: int) -> None:
    photos, found = case(np.random.default_rng(seed))
    want = evaluate([Truth(one.boxes, one.labels) for one in photos], found, NAMES).cls_map50
    assert coco_scores(photos, found, NAMES)["map50"] == pytest.approx(want, abs=1e-6)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    coco_scores(*case(np.random.default_rng(0)), NAMES)
    assert capsys.readouterr() == ("", "")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="detections: got 0 photos, must be 1"):
        coco_scores([photo([BOX], [0])], [], NAMES)
    with pytest.raises(ValueError, match=r"labels of photo 0: got 4\.\.4, must be in 0\.\.3"):
        coco_scores([photo([BOX], [0])], [detections([BOX], [4], [1])], NAMES)
