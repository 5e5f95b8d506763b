"""Raw graph outputs become boxes: against ultralytics' own conversions, and the empty photo first."""

import numpy as np
import pytest
import torch

from fusion.boxes import Detections, clip, iou, nms
from fusion.decode import FAMILIES, decode, stitch
from fusion.views import make_views


def raw_yolo(rng: np.random.Generator, anchors: int, classes: int) -> np.ndarray:
    boxes = rng.uniform(10, 300, (4, anchors))
    return np.concatenate([boxes, rng.uniform(0, 1, (classes, anchors))]).astype(np.float32)


def test_no_anchors_give_no_detections() -> None:
    found = decode("yolo", np.zeros((9, 0), np.float32), 0.001, agnostic=False)
    assert len(found) == 0
    assert found.evidence is not None
    assert found.evidence.shape == (0, 5)


def test_yolo_corners_and_best_class_equal_ultralytics() -> None:
    from ultralytics.utils.ops import xywh2xyxy

    raw = raw_yolo(np.random.default_rng(0), 50, 7)
    found = decode("yolo", raw, 0.0, agnostic=False)
    expected = xywh2xyxy(torch.from_numpy(raw[:4].T)).numpy()
    np.testing.assert_allclose(found.boxes, expected, atol=1e-4)
    np.testing.assert_array_equal(found.labels, raw[4:].argmax(0))
    np.testing.assert_array_equal(found.evidence, raw[4:].T)


def test_class_agnostic_carries_no_evidence() -> None:
    found = decode("yolo", raw_yolo(np.random.default_rng(1), 20, 1), 0.5, agnostic=True)
    assert found.evidence is None
    assert set(found.labels) <= {0}
    assert (found.scores > 0.5).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_box_that_is_no_number_is_left_out(value: float) -> None:
    raw = raw_yolo(np.random.default_rng(2), 3, 2)
    raw[2, 1] = value
    found = decode("yolo", raw, 0.0, agnostic=False)
    np.testing.assert_array_equal(found.evidence, raw[4:, [0, 2]].T)


def test_unknown_family_lists_the_known() -> None:
    with pytest.raises(ValueError, match=f"got 'ssd', allowed: {', '.join(FAMILIES)}"):
        decode("ssd", np.zeros((5, 1), np.float32), 0.0, agnostic=True)


# --- stitch


def tiles_of(boxes: list[list[float]], spec: dict, size: tuple[int, int]) -> tuple[list[Detections], np.ndarray]:
    """What tiles show of `boxes`: each tile's parts, and what it sees of the photo."""
    seen = np.concatenate([clip(view.to_image(view.canvas_box), *size) for view in make_views(spec, *size)])
    parts = []
    for x0, y0, x1, y1 in seen:
        cut = np.array([[max(a, x0), max(b, y0), min(c, x1), min(d, y1)] for a, b, c, d in boxes], np.float32)
        cut = cut[((cut[:, 2:] - cut[:, :2]) > 4).all(1)]
        parts.append(Detections(cut, np.linspace(0.9, 0.5, len(cut), dtype=np.float32), np.zeros(len(cut), np.int64)))
    return parts, seen


ALONE = {"across the middle": [[150, 60, 250, 120]], "through most tiles": [[20, 20, 380, 280]], "uncut": [[10, 10, 60, 60]]}
CLOSE = {
    "a row of neighbours": [[40 * i, 100, 40 * i + 38, 190] for i in range(10)],
    "a shelf": [[39 * i, 70 * j, 39 * i + 36, 70 * j + 60] for i in range(10) for j in range(4)],
}


@pytest.mark.parametrize("tiles", [[1, 2], [2, 2], [3, 3]], ids=["two tiles", "four", "nine"])
@pytest.mark.parametrize(
    ("boxes", "overlap"),
    [pytest.param(boxes, overlap, id=f"{name}, {overlap}") for name, boxes in ALONE.items() for overlap in (0.0, 0.1, 0.3)]
    + [pytest.param(boxes, overlap, id=f"{name}, {overlap}") for name, boxes in CLOSE.items() for overlap in (0.1, 0.3)],
)
def test_a_box_that_borders_of_tiles_cut_comes_back_whole(boxes: list[list[float]], overlap: float, tiles: list[int]) -> None:
    parts, seen = tiles_of(boxes, {"size": 256, "tiles": tiles, "overlap": overlap}, (400, 300))
    found = stitch(parts, seen, 400, 300)
    kept = found.take(nms(found.boxes, found.scores, 0.7))
    assert len(kept) == len(boxes)
    assert iou(np.array(boxes, np.float32), kept.boxes).max(1).min() > 0.99


def test_tiles_that_found_nothing_stitch_to_nothing() -> None:
    assert len(stitch([Detections.empty()] * 2, np.zeros((2, 4)), 400, 300)) == 0


def test_boxes_away_from_borders_are_left_as_they_are() -> None:
    parts, seen = tiles_of([[10, 10, 60, 60], [300, 200, 360, 280]], {"size": 256, "tiles": [2, 2]}, (400, 300))
    found = stitch(parts, seen, 400, 300)
    assert sorted(found.boxes.tolist()) == sorted(np.concatenate([p.boxes for p in parts]).tolist())


def test_numbers_that_are_not_finite_cost_the_box_or_the_class_that_they_belong_to() -> None:
    raw = np.tile(np.array([[10.0], [10], [4], [4], [0.5], [0.9]]), (1, 5))  # (4 + 2, 5)
    raw[0, 1], raw[2, 2], raw[5, 3], raw[5, 4] = np.nan, np.inf, np.nan, np.inf
    found = decode("yolo", raw.astype(np.float32), 0.1, agnostic=False)
    assert found.boxes.tolist() == [[8, 8, 12, 12]] * 3
    assert found.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found.evidence, [[0.5, 0.9], [0.5, 0], [0.5, 0]])


def test_a_box_that_reaches_beyond_any_canvas_is_left_out() -> None:
    raw = np.array([[10.0, 1e30], [10, 10], [4, 4], [4, 4], [0.5, 0.5]], np.float32)
    assert len(decode("yolo", raw, 0.1, agnostic=True)) == 1


@pytest.mark.parametrize("shape", [(5,), (4, 3), (1, 5, 3)])
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="raw output of yolo: got shape"):
        decode("yolo", np.zeros(shape, np.float32), 0.1, agnostic=True)


def test_a_box_that_ends_just_before_a_border_was_cut_by_it_too() -> None:
    """A detector ends such a box a few pixels short of the border: here 2 of the 220 that each tile is wide."""
    seen = np.array([[0, 0, 220, 300], [180, 0, 400, 300]], np.float32)
    parts = [
        Detections(np.array([box], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64))
        for box in ([100, 60, 218, 120], [182, 60, 300, 120])
    ]
    assert stitch(parts, seen, 400, 300).boxes.tolist() == [[100, 60, 300, 120]]
