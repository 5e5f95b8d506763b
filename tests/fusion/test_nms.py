"""nms is torchvision's, and soft nms that of the paper's slow loop."""

import numpy as np
import pytest
import torch
from random_boxes import LAYOUTS, jittered, scattered, some_scores
from torchvision import ops

from fusion.boxes import Detections, iou, nms
from fusion.merge import soft_nms

NONE = Detections.empty()


def test_nms_of_nothing():
    keep = nms(NONE.boxes, NONE.scores, 0.5)
    assert keep.shape == (0,) and keep.dtype == np.int64


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tied", [False, True], ids=["scores differ", "scores tie"])
@pytest.mark.parametrize("limit", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_nms_is_torchvisions(layout, tied, limit):
    rng = np.random.default_rng(0)
    for n in range(1, 100, 4):
        boxes, scores = layout(rng, n), some_scores(rng, n, tied)
        scores[rng.random(n) < 0.1] = 0
        want = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), limit).numpy()
        np.testing.assert_array_equal(nms(boxes, scores, limit), want)


@pytest.mark.parametrize(
    ("boxes", "limit"),
    [
        pytest.param([[0, 0, 0, 4], [0, 0, 0, 4], [0, 0, 4, 4], [2, 2, 2, 2]], 0.5, id="no area"),
        pytest.param([[0, 0, 10, 1], [0, 0, 3, 1]], 0.3, id="overlap of 0.3, which float32 rounds up"),
        pytest.param([[0, 0, 10, 1], [0, 0, 5, 1]], 0.5, id="overlap of exactly one half"),
    ],
)
def test_nms_is_torchvisions_at_the_limits(boxes, limit):
    boxes, scores = np.array(boxes, np.float32), np.linspace(0.9, 0.1, len(boxes), dtype=np.float32)
    want = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), limit).numpy()
    np.testing.assert_array_equal(nms(boxes, scores, limit), want)


@pytest.mark.parametrize("most", [1, 5, 300])
def test_nms_of_the_best_few_is_the_beginning_of_all(most):
    rng = np.random.default_rng(0)
    for layout in (scattered, jittered):
        boxes, scores = layout(rng, 3000), some_scores(rng, 3000, False)  # more than nms looks at together
        whole = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.6).numpy()
        np.testing.assert_array_equal(nms(boxes, scores, 0.6), whole)
        np.testing.assert_array_equal(nms(boxes, scores, 0.6, most), whole[:most])


def test_soft_nms_of_nothing():
    keep, faded = soft_nms(NONE.boxes, NONE.scores, 0.5, 0.0)
    assert keep.shape == faded.shape == (0,) and keep.dtype == np.int64 and faded.dtype == np.float32


def slow_soft_nms(boxes: np.ndarray, scores: np.ndarray, sigma: float, min_score: float) -> tuple[list, list]:
    """The paper's figure 2, line by line."""
    left, kept = {i: float(s) for i, s in enumerate(scores)}, []
    while left:
        best = max(left, key=lambda i: left[i])
        kept.append((best, left.pop(best)))
        for i in left:
            left[i] *= np.exp(-(iou(boxes[[best]], boxes[[i]])[0, 0] ** 2) / sigma)
    return [i for i, s in kept if s > min_score], [s for _, s in kept if s > min_score]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("sigma", "min_score"), [(0.5, 0.0), (0.1, 0.2)], ids=["keep all", "drop faded"])
def test_soft_nms_is_the_papers(layout, sigma, min_score):
    rng = np.random.default_rng(0)
    boxes, scores = layout(rng, 40), some_scores(rng, 40, False)
    keep, faded = soft_nms(boxes, scores, sigma, min_score)
    want, want_faded = slow_soft_nms(boxes, scores, sigma, min_score)
    np.testing.assert_array_equal(keep, want)
    np.testing.assert_allclose(faded, want_faded, rtol=1e-5)


def test_soft_nms_refuses_sigma_0():
    with pytest.raises(ValueError, match="sigma of soft nms: got 0, must be > 0"):
        soft_nms(NONE.boxes, NONE.scores, 0, 0.0)
