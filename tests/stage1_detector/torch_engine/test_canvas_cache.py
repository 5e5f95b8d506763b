"""Canvases that are kept are those that were made, by whichever process; photos decoded smaller land where their boxes do."""

import pickle
import traceback
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_photos import photo
from torchvision_nets import SMALL, noise

from fusion.views import letterbox
from photos.data import DataError, Photo
from stage1_detector.torch_engine.canvas_cache import CanvasCache
from stage1_detector.torch_engine.canvases import Canvases, EpochBatches, drawn, load_batches

CONFIG = replace(SMALL, size=64, rotate=10.0)
BATCHES = [[0, 1], [2, 3], [4]]


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Photo, ...]:
    return tuple(noise(photo(tmp_path, i, [[4, 4, 60, 40], [0, 0, 9, 20]][: i % 3])) for i in range(5))


def batches(canvases: Canvases, epoch: int, plain: bool) -> list[torch.Tensor]:
    dataset = EpochBatches(canvases, BATCHES, epoch, plain)
    return [images for images, _ in load_batches(dataset, torch.device("cpu"), workers=2)]


def test_without_photos_nothing_is_kept() -> None:
    assert not CanvasCache((), 100).slots


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "augmented"])
def test_later_epochs_need_no_photo_and_show_the_same_pixels(photos: tuple[Photo, ...], plain: bool) -> None:
    """What workers made stays for the workers of later epochs, and augmentation does not change what is kept."""
    kept, anew = Canvases(photos, (), CONFIG, True), Canvases(photos, (), replace(CONFIG, cache_mb=0), True)
    expected = [batches(anew, epoch, plain) for epoch in range(3)]
    first = batches(kept, 0, plain)
    for one in photos:
        one.path.unlink()
    for got, wanted in zip([first, *(batches(kept, epoch, plain) for epoch in (1, 2))], expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    with pytest.raises(DataError) as failed:
        batches(anew, 0, plain)
    traceback.clear_frames(failed.tb)  # they hold the loader; workers of one that is collected are waited for, 5 s each


def test_what_exceeds_the_budget_is_made_anew() -> None:
    made: list[int] = []

    def make(index: int) -> np.ndarray:
        made.append(index)
        return np.full((500, 500, 3), index, np.uint8)

    cache = CanvasCache([((i, 500), (500, 500)) for i in range(4)], budget_mb=2)  # a canvas is of 0.75 MB
    assert len(cache.slots) == 2
    for _ in range(3):
        assert [int(cache.canvas(i, 500, lambda i=i: make(i))[0, 0, 0]) for i in range(4)] == [0, 1, 2, 3]
    assert made == [0, 1, 2, 3, 2, 3, 2, 3]


def test_a_process_that_was_not_forked_makes_canvases_anew() -> None:
    cache = pickle.loads(pickle.dumps(CanvasCache([((0, 2), (2, 2))], 1)))
    assert [cache.canvas(0, 2, lambda v=v: np.full((2, 2, 3), v, np.uint8)).max() for v in (1, 2)] == [1, 2]


def test_all_scales_of_a_schedule_have_their_slots(photos: tuple[Photo, ...]) -> None:
    config = replace(SMALL, size=256, schedule="ms3x")
    sizes = {size for _, size in Canvases(photos, (), config, True).cache.slots}
    assert sizes == {128, 160, 192, 224, 256}


@pytest.mark.parametrize("size", [(1001, 1499), (800, 1203), (2047, 645)], ids=str)
def test_boxes_do_not_move_where_photos_are_decoded_smaller(size: tuple[int, int], tmp_path: Path) -> None:
    """The middle of a bright product, in edges: the mean of its pixels' middles weighed by their brightness."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    x0, y0, x1, y1 = width // 3, height // 4, width // 3 + 301, height // 4 + 203
    pixels[y0:y1, x0:x1] = 255
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 98])
    box = np.array([[x0, y0, x1, y1]], np.float32)
    one = Photo(1, path, width, height, box, np.zeros(1, np.int64), np.zeros(1, np.int64), None)
    view = letterbox(width, height, 160, "square", 32)
    full, reduced = drawn(one, view), drawn(one, view, max_shrink=8)
    assert reduced.shape == full.shape
    assert not np.array_equal(reduced, full)
    edges = view.to_canvas(box)[0]
    left, top, right, bottom = (int(edge) for edge in edges + np.array([-4, -4, 5, 5]))
    bright = reduced[top:bottom, left:right, 0].astype(float)  # without the grey around the photo
    middle = [left + bright.sum(0) @ (np.arange(right - left) + 0.5) / bright.sum(),
              top + bright.sum(1) @ (np.arange(bottom - top) + 0.5) / bright.sum()]  # fmt: skip
    np.testing.assert_allclose(middle, edges.reshape(2, 2).mean(0), atol=0.1)  # half a decoded pixel would be 0.2 or more
    assert abs(reduced.astype(int) - full).mean() < 3


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp"])
@pytest.mark.parametrize("size", [(1001, 751), (1000, 760)], ids=["odd", "even"])
def test_other_photos_than_jpegs_are_decoded_smaller_only_where_nothing_is_left_over(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    """OpenCV drops the last row and column of others."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), pixels)
    none = np.zeros((0, 4), np.float32)
    one = Photo(1, tmp_path / f"a{suffix}", width, height, none, np.zeros(0, np.int64), np.zeros(0, np.int64), None)
    view = letterbox(width, height, 160, "square", 32)
    assert drawn(one, view, max_shrink=4).shape == drawn(one, view).shape
