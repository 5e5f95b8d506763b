"""Augmentation: nothing shaken is exactly the judge's crop, one warp is what two would be, studio goods get a shelf behind."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fusion.views import FITS, PADDING, crop
from photos.studio import content_box
from stage2_classifier import augment, crops
from stage2_classifier.config import ClassifierConfig

STILL = ClassifierConfig(size=48, colour=0.0, blur=0.0, erase=0.0, rotate=0.0, jitter=0.0)
NOISE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8), (9, 9), 3)
BOX = np.array([50, 60, 90, 120], np.float32)
NONE = np.zeros(4)
EYE = np.eye(2, 3)


def studio(side: int = 100) -> crops.Region:
    """A blue product with a white window, on white."""
    picture = np.full((side, side, 3), 255, np.uint8)
    picture[20:80, 30:70] = (20, 40, 200)
    picture[40:60, 40:60] = 255
    return crops.cut(picture, content_box(picture), 0, 48, studio=True)


def test_no_picks_give_no_crops() -> None:
    made = augment.augmented([], np.zeros(0, np.int64), NONE, STILL, [])
    assert made.shape == (0, 48, 48, 3)


@pytest.mark.parametrize("fit", FITS)
def test_nothing_shaken_is_exactly_the_judges_crop(fit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "TILT_PROBABILITY", 0.0)
    region = crops.cut(NOISE, BOX, 0, 48)
    made = augment.augmented([region], np.array([0]), NONE, replace(STILL, fit=fit), [np.random.default_rng(0)])
    np.testing.assert_array_equal(made[0], crop(NOISE, BOX, 48, STILL.margin, fit))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("side", [64, 48, 32], ids=["enlarged", "about as large", "shrunk"])
def test_a_turn_by_nothing_is_the_judges_crop_up_to_interpolation(fit: str, side: int) -> None:
    config = replace(STILL, size=side, fit=fit)
    off = augment.warped(NOISE, BOX, config, EYE).astype(int) - crop(NOISE, BOX, side, config.margin, fit)
    assert np.abs(off).mean() < 1.0


def test_one_warp_turns_as_two_would() -> None:
    config = replace(STILL, size=96)
    turn = cv2.getRotationMatrix2D((48, 48), 15, 1.0)
    inside = turn.copy()
    inside[:, 2] += inside[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV's matrix maps centres, ours edges
    two = cv2.warpAffine(crop(NOISE, BOX, 96, config.margin), inside, (96, 96), borderValue=(PADDING,) * 3)
    assert np.abs(augment.warped(NOISE, BOX, config, turn).astype(int) - two)[16:80, 16:80].mean() < 1.5


def test_a_box_without_area_is_grey() -> None:
    made = augment.warped(NOISE, np.array([400, 10, 420, 20], np.float32), STILL, EYE)
    assert (made == PADDING).all()


def test_crops_differ_between_draws_and_not_between_runs() -> None:
    region, config = crops.cut(NOISE, BOX, 0, 48), ClassifierConfig(size=48)
    runs = [
        augment.augmented(
            [region], np.zeros(4, np.int64), np.full(4, 0.05), config, [np.random.default_rng(i) for i in range(4)]
        )
        for _ in "ab"
    ]
    np.testing.assert_array_equal(*runs)
    assert len({crop.tobytes() for crop in runs[0]}) == 4


def test_colour_keeps_grey_grey_when_only_hue_and_saturation_change() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = augment.colour_matrix(0.5, rng)
        grey = matrix[:, :3] @ np.ones(3)
        np.testing.assert_allclose(grey, grey.mean(), atol=2e-3)


def test_an_erased_patch_is_grey_and_of_its_size() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        canvas = np.zeros((40, 40, 3), np.uint8)
        augment.erase(canvas, rng)
        share = (canvas == PADDING).all(2).mean()
        assert 0.01 < share < 0.25


def test_a_bridged_product_stands_before_a_shelf_and_keeps_its_own_white(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "CLUTTER_PROBABILITY", 0.0)
    shelf = crops.Region(np.full((50, 50, 3), (0, 90, 0), np.uint8), np.array([0, 0, 50, 50], np.float32), 1)
    config, rng = replace(STILL, bridge=1.0), np.random.default_rng(0)
    for _ in range(10):
        made = augment.bridged(studio(), config, shelf, rng)
        x0, y0, x1, y1 = np.rint(made.box).astype(int)
        corners = made.image[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
        assert (corners[:, 1] > corners[:, 0] + 20).all(), "the shelf's green"
        middle = made.image[(y0 + y1) // 2, (x0 + x1) // 2].astype(int)
        assert np.ptp(middle) < 40, "the window stays white"
        assert 0 <= x0 < x1 <= made.image.shape[1]


def test_a_bridged_box_is_that_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "CLUTTER_PROBABILITY", 0.0)
    shelf = crops.Region(np.full((50, 50, 3), (0, 200, 0), np.uint8), np.array([0, 0, 50, 50], np.float32), 1)
    made = augment.bridged(studio(), replace(STILL, bridge=0.999), shelf, np.random.default_rng(1))
    blue = made.image[..., 2].astype(int) - made.image[..., 1] > 30
    ys, xs = np.nonzero(blue)
    side = max(made.box[2:] - made.box[:2])
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], made.box, atol=0.12 * side + 1)


def test_behind_a_product_are_two_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "CLUTTER_PROBABILITY", 0.0)
    other = studio()
    x0, y0, x1, y1 = other.box.astype(int)
    made = augment.behind(other, np.random.default_rng(0))
    np.testing.assert_array_equal(made, np.tile(other.image[y0:y1, x0:x1], (1, 2, 1)))


def test_without_a_shelf_goods_are_made_up() -> None:
    config, rng = replace(STILL, bridge=1.0), np.random.default_rng(0)
    made = [augment.augmented([studio()], np.array([0]), NONE, config, [rng])[0] for _ in range(6)]
    assert len({one.tobytes() for one in made}) == 6
    assert all((one == 255).all(2).mean() < 0.3 for one in made), "the white ground is gone"
