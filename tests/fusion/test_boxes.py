"""Boxes: the record refuses what does not fit together, and the arithmetic agrees with torchvision."""

import numpy as np
import pytest
import torch
from torchvision import ops

from fusion.boxes import Detections, area, clip, close_pairs, iou, xywh_to_xyxy, xyxy_to_xywh


def random_boxes(rng: np.random.Generator, n: int, span: float = 100.0) -> np.ndarray:
    start = rng.uniform(0, span, (n, 2))
    return np.concatenate([start, start + rng.uniform(0.1, span / 3, (n, 2))], axis=1).astype(np.float32)


def test_empty_boxes_go_through_everything():
    none = np.zeros((0, 4), np.float32)
    assert iou(none, none).shape == (0, 0)
    assert iou(none, np.ones((3, 4), np.float32)).shape == (0, 3)
    assert area(none).shape == (0,)
    assert clip(none, 10, 10).shape == xyxy_to_xywh(none).shape == xywh_to_xyxy(none).shape == (0, 4)


@pytest.mark.parametrize("n_classes", [None, 0, 5], ids=["no classes", "no columns", "five classes"])
def test_empty_detections(n_classes):
    found = Detections.empty(n_classes)
    assert len(found) == 0
    assert (found.evidence is None) if n_classes is None else (found.evidence.shape == (0, n_classes))
    assert len(found.take(np.zeros(0, np.int64))) == len(found.take(np.zeros(0, bool))) == 0


@pytest.mark.parametrize("seed", range(5))
def test_iou_is_torchvisions(seed):
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, 40), random_boxes(rng, 30)
    want = ops.box_iou(torch.from_numpy(a).double(), torch.from_numpy(b).double()).numpy()
    assert iou(a, b).dtype == np.float64
    np.testing.assert_allclose(iou(a, b), want, atol=1e-12)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([2, 2, 2, 8], id="no width"),
        pytest.param([2, 2, 8, 2], id="no height"),
        pytest.param([5, 5, 5, 5], id="a point"),
        pytest.param([8, 2, 2, 8], id="left and right swapped"),
        pytest.param([8, 8, 2, 2], id="both swapped"),
    ],
)
def test_degenerate_box_overlaps_nothing(box):
    degenerate, whole = np.array([box], np.float32), np.array([[0, 0, 10, 10]], np.float32)
    assert iou(degenerate, whole) == iou(whole, degenerate) == iou(degenerate, degenerate) == 0
    assert area(degenerate) == 0


def test_touching_boxes_do_not_overlap():
    assert iou(np.array([[0, 0, 2, 2]], np.float32), np.array([[2, 0, 4, 2]], np.float32)) == 0


def test_clip_is_torchvisions():
    boxes = random_boxes(np.random.default_rng(0), 200) * 2 - 60
    want = ops.clip_boxes_to_image(torch.from_numpy(boxes), (50, 70)).numpy()
    np.testing.assert_array_equal(clip(boxes, width=70, height=50), want)
    assert clip(boxes.astype(np.float64), 70, 50).dtype == np.float32


def test_box_forms_are_torchvisions_and_come_back():
    boxes = random_boxes(np.random.default_rng(0), 50)
    want = ops.box_convert(torch.from_numpy(boxes), "xyxy", "xywh").numpy()
    np.testing.assert_array_equal(xyxy_to_xywh(boxes), want)
    np.testing.assert_allclose(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes, rtol=1e-6)
    assert xyxy_to_xywh(boxes).dtype == np.float32
    assert xyxy_to_xywh(boxes.astype(np.float64)).dtype == np.float64


def arrays(n: int = 3) -> dict[str, np.ndarray]:
    return {
        "boxes": np.arange(4 * n, dtype=np.float32).reshape(n, 4),
        "scores": np.linspace(0, 1, n, dtype=np.float32),
        "labels": np.arange(n, dtype=np.int64),
        "evidence": np.arange(2 * n, dtype=np.float32).reshape(n, 2),
    }


@pytest.mark.parametrize(
    ("index", "want"),
    [
        pytest.param(np.array([2, 0], np.int64), [2, 0], id="positions in another order"),
        pytest.param(np.array([False, True, True]), [1, 2], id="a mask"),
        pytest.param(np.array([1, 1], np.int64), [1, 1], id="one twice"),
    ],
)
def test_take(index, want):
    taken = Detections(**arrays()).take(index)
    for name, array in arrays().items():
        np.testing.assert_array_equal(getattr(taken, name), array[want])
    assert Detections(**{**arrays(), "evidence": None}).take(index).evidence is None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        pytest.param("boxes", np.zeros((3, 4)), "got an array of float64", id="boxes in double"),
        pytest.param("boxes", np.zeros((3, 5), np.float32), r"got shape \(3, 5\)", id="five numbers a box"),
        pytest.param("boxes", np.zeros(4, np.float32), r"got shape \(4,\)", id="one bare box"),
        pytest.param("boxes", [[0, 0, 1, 1]] * 3, "got list", id="a list"),
        pytest.param("scores", np.zeros(2, np.float32), r"got shape \(2,\)", id="a score missing"),
        pytest.param("labels", np.zeros(3, np.int32), "got an array of int32", id="labels in 32 bits"),
        pytest.param("evidence", np.zeros((2, 2), np.float32), r"got shape \(2, 2\)", id="a row of evidence missing"),
        pytest.param("evidence", np.zeros(3, np.float32), r"got shape \(3,\)", id="evidence without columns"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(field, value, said):
    with pytest.raises(ValueError, match=f"{field}: {said}" if field != "boxes" else said):
        Detections(**{**arrays(), field: value})


@pytest.mark.parametrize("least", [0.0, 0.1, 0.55, 0.9])
@pytest.mark.parametrize("kind", ["scattered", "one large", "on a grid", "one row", "the same", "no area"])
def test_no_close_pair_is_missed_and_none_comes_twice(kind, least):
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 30, 120):
        boxes = random_boxes(rng, n)
        if kind == "one large":
            boxes[:1] = [0, 0, 1000, 1000]
        elif kind == "on a grid":
            boxes = np.round(boxes / 10) * 10
        elif kind == "one row":
            boxes[:, 1], boxes[:, 3] = 5, 6
        elif kind == "the same":
            boxes[:] = [3, 4, 50, 60]
        elif kind == "no area":
            boxes[::2, 2] = boxes[::2, 0]
        i, j = close_pairs(boxes, least)
        pairs = list(zip(i.tolist(), j.tolist(), strict=True))
        assert len(pairs) == len(set(pairs)) and (i < j).all()
        assert set(zip(*np.nonzero(np.triu(iou(boxes, boxes) > least, 1)), strict=True)) <= set(pairs)


@pytest.mark.parametrize("reach", [0.5, 2.0, 10.0])
def test_boxes_within_reach_are_close(reach):
    boxes = random_boxes(np.random.default_rng(1), 80, span=1000.0)
    sides = (boxes[:, 2:] - boxes[:, :2]) * reach
    touching = iou(*[np.concatenate([boxes[:, :2] - sides, boxes[:, 2:] + sides], 1)] * 2) > 0
    i, j = close_pairs(boxes, 0.0, reach)
    assert set(zip(*np.nonzero(np.triu(touching, 1)), strict=True)) <= set(zip(i.tolist(), j.tolist(), strict=True))


def test_far_boxes_are_not_compared():
    """What the sweep is for: of 2,000 products on a long shelf each meets a few."""
    corner = np.stack([np.arange(2000) % 100 * 10.0, np.arange(2000) // 100 * 10.0], 1)
    i, _ = close_pairs(np.concatenate([corner, corner + 11], 1), 0.1)
    assert len(i) < 2000 * 10
