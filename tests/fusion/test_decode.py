"""Raw graph outputs become boxes: against ultralytics' own conversions, and the empty photo first."""

import numpy as np
import pytest
import torch
from ultralytics.utils.ops import xywh2xyxy

from fusion.decode import FAMILIES, decode


def raw_yolo(rng: np.random.Generator, anchors: int, classes: int) -> np.ndarray:
    boxes = rng.uniform(10, 300, (4, anchors))
    return np.concatenate([boxes, rng.uniform(0, 1, (classes, anchors))]).astype(np.float32)


def test_no_anchors_give_no_detections() -> None:
    found = decode("yolo", np.zeros((9, 0), np.float32), 0.001, agnostic=False)
    assert len(found) == 0
    assert found.evidence is not None
    assert found.evidence.shape == (0, 5)


def test_yolo_corners_and_best_class_equal_ultralytics() -> None:
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
