"""Anchors: torchvision's by default, fitted ones overlap the boxes better than those."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision_nets import SMALL

from photos.data import Photo
from stage1_detector.nets import anchors
from stage1_detector.nets.anchors import Anchors

STRIDES = (4, 8, 16, 32, 64)


def of(sides: list[tuple[float, float]], width: int = 640, height: int = 320) -> Photo:
    boxes = np.array([[0, 0, w, h] for w, h in sides], np.float32).reshape(-1, 4)
    n = len(boxes)
    return Photo(1, Path("1.jpg"), width, height, boxes, np.zeros(n, np.int64), np.arange(n), None)


def best_overlap(sides: np.ndarray, anchors: Anchors) -> np.ndarray:
    """For each box of `sides` (N, 2) the best IoU (N,) that an anchor centred on it has."""
    sizes = np.array([size for level in anchors.sizes for size in level])
    ratios = np.sqrt(np.array(anchors.ratios))
    wide, high = (sizes[:, None] / ratios).ravel(), (sizes[:, None] * ratios).ravel()  # (A,)
    shared = np.minimum(sides[:, :1], wide) * np.minimum(sides[:, 1:], high)  # (N, A)
    return np.asarray((shared / (sides.prod(1)[:, None] + wide * high - shared)).max(1))


def test_without_boxes_nothing_can_be_fitted() -> None:
    assert anchors.shapes((), 320).shape == anchors.shapes((of([]),), 320).shape == (0, 2)
    with pytest.raises(ValueError, match="--anchors fitted: got no box"):
        anchors.make(replace(SMALL, anchors="fitted"), STRIDES, (of([]),))


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        pytest.param(replace(SMALL, anchor_size=0.0), [(32,), (64,), (128,), (256,), (512,)], id="rcnn, torchvision's"),
        pytest.param(replace(SMALL, anchor_size=4.0), [(16,), (32,), (64,), (128,), (256,)], id="rcnn, half as large"),
    ],
)
def test_default_anchors_go_with_the_stride(config: object, sizes: list[tuple[float, ...]]) -> None:
    made = anchors.make(config, STRIDES, ())  # type: ignore[arg-type]
    assert list(made.sizes) == sizes and made.ratios == (0.5, 1.0, 2.0)


def test_a_retinanets_have_three_sizes_an_octave() -> None:
    made = anchors.make(replace(SMALL, family="retinanet", head="plain", anchor_size=0.0), (8, 16, 32, 64, 128), ())
    np.testing.assert_allclose(made.sizes[0], [32, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)])
    assert made.generator((8, 16, 32, 64, 128)).num_anchors_per_location() == [9] * 5


def test_boxes_are_measured_on_the_canvas() -> None:
    np.testing.assert_allclose(anchors.shapes((of([(64, 32)]), of([(10, 20)], 320, 640)), 320), [[32, 16], [5, 10]])


def test_fitted_anchors_overlap_unusual_boxes_better_than_the_default_ones() -> None:
    """Tall facings: three times as high as wide, of 12 to 80 pixels."""
    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(np.log(12), np.log(80), 300))
    sides = np.column_stack([wide, wide * rng.normal(3, 0.2, 300)])
    default = anchors.make(replace(SMALL, anchor_size=0.0), STRIDES, ())
    fitted = anchors.fitted(sides, STRIDES)
    assert best_overlap(sides, fitted).mean() > best_overlap(sides, default).mean() + 0.1
    assert all(2.3 < ratio < 3.7 for ratio in fitted.ratios)
    assert all(size >= stride for (size,), stride in zip(fitted.sizes, STRIDES, strict=True))


@pytest.mark.parametrize("thin", [1, 400], ids=["one", "most"])
def test_thin_boxes_leave_the_anchors_finite_and_usual(thin: int) -> None:
    """Boxes of 3000 x 1 pixels on a photo of 3000 x 2000, and one that is narrower than float32 can tell."""
    photo = of([(120.0, 240.0)] * 500 + [(3000.0, 1.0)] * thin + [(1e-9, 50.0)], 3000, 2000)
    fitted = anchors.make(replace(SMALL, anchors="fitted", size=640), STRIDES, (photo,))
    assert all(0.1 <= ratio <= 10.0 for ratio in fitted.ratios)
    assert 2.0 in fitted.ratios and (thin > 1 or fitted.ratios == (2.0,))
    maps = [torch.zeros(1, 8, 8, 8)] * len(STRIDES)
    laid = fitted.generator(STRIDES).by_level(torch.zeros(1, 3, 64, 64), maps)
    assert all(torch.isfinite(level).all() for level in laid)


def test_anchors_lie_a_stride_apart_whatever_the_canvas() -> None:
    """A map of 3 x 2 cells, rounded up from 2.5 x 1.5: torchvision's steps would be 53 and 48."""
    generator = Anchors(((10.0,),), (1.0,)).generator((64,))
    (laid,) = generator.by_level(torch.zeros(1, 3, 96, 160), [torch.zeros(1, 8, 2, 3)])
    assert laid[:, :2].tolist() == [[x - 5, y - 5] for y in (0, 64) for x in (0, 64, 128)]


def test_best_overlap_is_iou_of_centred_boxes() -> None:
    made = anchors.Anchors(((10.0,),), (1.0, 4.0))  # 10 x 10, and 5 x 20
    np.testing.assert_allclose(best_overlap(np.array([[10, 10], [5, 20], [10, 20]]), made), [1.0, 1.0, 0.5])
