"""Augmentation of photos with boxes: a box is where the rectangle painted under it went; nothing else moves or is reseeded."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from fusion.views import PADDING, Image
from stage1_detector.torch_engine import svhn
from stage1_detector.torch_engine.augment import MIN_SIDE, MIN_VISIBLE, augmented, transform, visible_boxes

HEIGHT, WIDTH = 60, 90
COLOUR = (240, 30, 50)
BOX = np.array([[35, 22, 57, 36]], np.float32)
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
LABEL = np.array([7])
OFF = {
    "hsv_p": 0.0, "hue": 0.0, "saturation": 0.0, "value": 0.0, "flip_lr": 0.0, "affine_p": 0.0, "rotate": 0.0,
    "translate": 0.0, "scale": 0.0, "shear": 0.0, "colour_policy": 0.0,
}  # fmt: skip
STRONG = {"hue": 0.3, "saturation": 0.7, "value": 0.5, "rotate": 10.0, "translate": 0.3, "scale": 0.3, "shear": 5.0}
CHANCES = ("hsv_p", "flip_lr", "affine_p", "colour_policy")
ALWAYS = dict.fromkeys(CHANCES, 1.0)
Sample = tuple[Image, np.ndarray, np.ndarray]


def shaken(image: Image, boxes: np.ndarray, seed: int = 0, **strengths: float) -> Sample:
    """`image` with only these strengths on; the boxes are labelled 0, 1, 2..."""
    config = SimpleNamespace(**{**OFF, **strengths})
    return augmented(image, boxes, np.arange(len(boxes)), transform(config), seed)


def painted(*boxes: np.ndarray) -> Image:
    """A grey canvas with a rectangle of COLOUR under each box of whole pixels."""
    canvas = np.full((HEIGHT, WIDTH, 3), PADDING, np.uint8)
    for x0, y0, x1, y1 in np.array(boxes, int).clip(0):
        canvas[y0:y1, x0:x1] = COLOUR
    return canvas


def extent(image: Image) -> list[int]:
    """x0 y0 x1 y1 around the pixels that are more COLOUR than grey."""
    found = [
        (x, y) for y in range(image.shape[0]) for x in range(image.shape[1]) if int(image[y, x, 0]) > (PADDING + COLOUR[0]) / 2
    ]
    xs, ys = zip(*found, strict=True)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def test_a_photo_without_boxes_is_augmented_too() -> None:
    image, boxes, labels = shaken(NOISE, np.zeros((0, 4), np.float32), **STRONG, **ALWAYS)
    assert (image.dtype, image.shape) == (np.uint8, NOISE.shape)
    assert (image != NOISE).any()
    assert (boxes.dtype, boxes.shape) == (np.float32, (0, 4))
    assert (labels.dtype, labels.shape) == (np.int64, (0,))


def test_without_chances_nothing_changes_by_a_bit() -> None:
    boxes = np.array([[0, 0, 90, 60], [0.3, 0.1, 17.7, 59.9], [3, 4, 5, 6]], np.float32)
    made = shaken(NOISE, boxes, **STRONG)
    for before, after in zip((NOISE, boxes, np.arange(3)), made, strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


def test_what_is_given_is_neither_changed_nor_handed_back() -> None:
    image, boxes = NOISE.copy(), BOX.copy()
    image.flags.writeable = boxes.flags.writeable = False
    for strengths in ({}, STRONG | ALWAYS):
        made = shaken(image, boxes, **strengths)
        assert not np.shares_memory(made[0], image)
        assert not np.shares_memory(made[1], boxes)
        assert made[0].flags.c_contiguous
    np.testing.assert_array_equal(image, NOISE)


def test_a_mirror_image_of_a_mirror_image_can_be_given() -> None:
    image, boxes, _ = shaken(NOISE[:, ::-1], BOX, flip_lr=1.0)
    np.testing.assert_array_equal(image, NOISE)
    np.testing.assert_array_equal(boxes, [[33, 22, 55, 36]])


def test_the_mirror_takes_a_box_from_one_side_to_the_other() -> None:
    boxes = np.array([[0, 1, 10, 8], [20.25, 30.5, 41.5, 60]], np.float32)
    image, moved, labels = shaken(NOISE, boxes, flip_lr=1.0)
    np.testing.assert_array_equal(image, NOISE[:, ::-1])
    np.testing.assert_array_equal(moved, [[80, 1, 90, 8], [48.5, 30.5, 69.75, 60]])
    np.testing.assert_array_equal(labels, [0, 1])


@pytest.mark.parametrize("box", [BOX[0], np.array([10, 5, 40, 25], np.float32)], ids=["in the middle", "at the edge"])
def test_a_translated_box_is_exactly_where_its_pixels_went(box: np.ndarray) -> None:
    moves = set()
    for seed in range(12):
        image, boxes, _ = shaken(painted(box), box[None], seed, affine_p=1.0, translate=0.2, flip_lr=0.5)
        np.testing.assert_array_equal(boxes[0], extent(image))
        moves.add(tuple(boxes[0]))
    assert len(moves) > 8


@pytest.mark.parametrize(
    "strengths",
    [
        pytest.param({"rotate": 10.0}, id="rotated"),
        pytest.param({"scale": 0.4}, id="scaled"),
        pytest.param({"shear": 8.0}, id="sheared"),
        pytest.param({"rotate": 10.0, "translate": 0.1, "scale": 0.1, "shear": 2.0, "flip_lr": 0.5}, id="all of it"),
    ],
)
def test_a_box_holds_the_pixels_that_were_in_it(strengths: dict[str, float]) -> None:
    moved = []
    for seed in range(12):
        image, boxes, _ = shaken(painted(*BOX), BOX, seed, affine_p=1.0, **strengths)
        np.testing.assert_allclose(boxes[0], extent(image), atol=2)
        moved.append(np.abs(boxes[0] - BOX[0]).max())
    assert max(moved) > 1.5


MIDDLE, WIDE, HIGH = (30, 20, 60, 40), (20, 29, 70, 31), (44, 10, 46, 50)


@pytest.mark.parametrize(
    ("strength", "most", "box", "found"),
    [
        pytest.param("translate", 0.2, MIDDLE, lambda box: abs(box[0] - 30) / WIDTH, id="moved across"),
        pytest.param("translate", 0.2, MIDDLE, lambda box: abs(box[1] - 20) / HEIGHT, id="moved down"),
        pytest.param("scale", 0.3, MIDDLE, lambda box: (box[2] - box[0]) / 30 - 1, id="enlarged"),
        pytest.param("scale", 0.3, MIDDLE, lambda box: 1 - (box[2] - box[0]) / 30, id="shrunk"),
        pytest.param("shear", 9.0, HIGH, lambda box: np.rad2deg(np.arctan((box[2] - box[0] - 2) / 40)), id="sheared along x"),
        pytest.param("shear", 9.0, WIDE, lambda box: np.rad2deg(np.arctan((box[3] - box[1] - 2) / 50)), id="sheared along y"),
        pytest.param("rotate", 9.0, WIDE, lambda box: np.rad2deg(np.arcsin((box[3] - box[1] - 2) / 50)), id="turned"),
    ],
)
def test_a_strength_is_reached_and_not_passed(
    strength: str, most: float, box: tuple[int, ...], found: Callable[[np.ndarray], float]
) -> None:
    boxes = np.array([box], np.float32)
    reached = max(found(shaken(NOISE, boxes, seed, affine_p=1.0, **{strength: most})[1][0]) for seed in range(60))
    assert 0.85 * most < reached < 1.04 * most


def test_pixels_of_a_turned_photo_are_blended() -> None:
    image, _, _ = shaken(painted(*BOX), BOX, affine_p=1.0, rotate=10.0)
    assert len(np.unique(image[15:45, 25:65, 0])) > 10, "more than the rectangle's and the canvas's"


def test_what_the_affine_map_uncovers_is_grey() -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image, boxes, _ = shaken(black, np.array([[0, 0, WIDTH, HEIGHT]], np.float32), 3, affine_p=1.0, translate=0.3)
    x0, y0, x1, y1 = boxes[0].astype(int)
    assert (x1 - x0) * (y1 - y0) < 0.9 * image[..., 0].size, "there is something uncovered"
    assert not image[y0:y1, x0:x1].any()
    image[y0:y1, x0:x1] = PADDING
    assert (image == PADDING).all()


def test_a_box_goes_when_less_than_its_share_is_left() -> None:
    box = np.array([2, 3, 32, 23], np.float32)
    gone = 0
    for seed in range(40):
        image, boxes, labels = shaken(painted(box), box[None], seed, affine_p=1.0, translate=0.5)
        visible = (image == COLOUR).all(2)
        stays = visible.sum() >= MIN_VISIBLE * 600 and min(visible.any(0).sum(), visible.any(1).sum()) >= MIN_SIDE
        assert len(boxes) == len(labels) == stays
        gone += not stays
    assert 5 < gone < 35


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        pytest.param([10, 10, 12, 12], [10, 10, 12, 12], id="just large enough"),
        pytest.param([10, 10, 11.9, 40], None, id="too narrow"),
        pytest.param([10, 10, 40, 11.9], None, id="too low"),
        pytest.param([10, 10, 10, 10], None, id="without area"),
        pytest.param([-70, 0, 30, 10], [0, 0, 30, 10], id="three tenths left"),
        pytest.param([-71, 0, 29, 10], None, id="less than three tenths left"),
        pytest.param([80, 50, 95, 65], [80, 50, 90, 60], id="over the far corner"),
        pytest.param([95, 10, 120, 40], None, id="outside"),
        pytest.param([-10, -10, 100, 70], [0, 0, 90, 60], id="around the canvas"),
    ],
)
def test_a_box_is_cut_to_the_canvas_or_dropped(box: list[float], cut: list[float] | None) -> None:
    made, kept = visible_boxes(np.array([box], np.float32), WIDTH, HEIGHT)
    assert made.dtype == np.float32
    assert kept.tolist() == [cut is not None]
    if cut is not None:
        assert made.tolist() == [cut]


def test_a_dropped_box_takes_its_own_label_along() -> None:
    boxes = np.array([[5, 5, 6, 30], [10, 10, 30, 30], [89, 0, 91, 9], [40, 40, 60, 55]], np.float32)
    _, kept, labels = shaken(NOISE, boxes)
    np.testing.assert_array_equal(kept, boxes[[1, 3]])
    assert labels.tolist() == [1, 3]


def test_a_seed_gives_one_photo_and_another_seed_another() -> None:
    runs = [shaken(NOISE, BOX, seed, **STRONG, **ALWAYS) for seed in (5, 5, 6)]
    for first, again, other in zip(*(run[:2] for run in runs), strict=True):
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_no_generator_of_others_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    reseeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded.append)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    shaken(NOISE, BOX, 5, **STRONG, **ALWAYS)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    assert reseeded == []


@pytest.mark.parametrize("chance", CHANCES)
def test_a_probability_is_the_share_of_photos_changed(chance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "SUB_POLICIES", ((("Invert", 1.0, None), ("Invert", 0.0, None)),))
    shake = transform(SimpleNamespace(**OFF | STRONG | {chance: 0.3}))
    small = NOISE[:9, :12]
    changed = [(augmented(small, BOX, LABEL, shake, seed)[0] != small).any() for seed in range(300)]
    assert abs(np.mean(changed) - 0.3) < 0.08


def test_colours_do_not_move_boxes() -> None:
    boxes = np.array([[0.5, 1.25, 20, 30]], np.float32)
    for seed in range(10):
        image, kept, _ = shaken(NOISE, boxes, seed, hsv_p=1.0, hue=0.3, saturation=0.7, value=0.5, colour_policy=1.0)
        np.testing.assert_array_equal(kept, boxes)
        assert (image != NOISE).any()


def test_brightness_is_one_factor_for_all() -> None:
    photo = np.full((4, 4, 3), (100, 60, 20), np.uint8)
    factors = [shaken(photo, BOX, seed, hsv_p=1.0, value=0.4)[0] / photo for seed in range(40)]
    assert max(np.ptp(factor) for factor in factors) < 0.06, "rounding"
    means = [factor.mean() for factor in factors]
    assert 0.57 < min(means) < 0.7
    assert 1.3 < max(means) < 1.43


@pytest.mark.parametrize("strength", [{"saturation": 0.7}, {"hue": 0.3}], ids=["saturation", "hue"])
def test_saturation_and_hue_leave_grey_as_it_is(strength: dict[str, float]) -> None:
    grey, red = np.full((4, 4, 3), 90, np.uint8), np.full((4, 4, 3), (200, 40, 30), np.uint8)
    made = {shaken(red, BOX, seed, hsv_p=1.0, **strength)[0].tobytes() for seed in range(10)}
    assert len(made) > 8
    for seed in range(10):
        np.testing.assert_allclose(shaken(grey, BOX, seed, hsv_p=1.0, **strength)[0], grey, atol=1)


def test_the_jitter_comes_before_the_affine_map_and_the_policy_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "SUB_POLICIES", ((("Invert", 1.0, None), ("Invert", 0.0, None)),))
    names = [type(step).__name__ for step in transform(SimpleNamespace(**OFF)).transforms]
    assert names == ["RandomApply", "RandomHorizontalFlip", "RandomApply", "RandomApply"]
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    moved = {"affine_p": 1.0, "translate": 0.3, "hsv_p": 1.0, "value": 0.9}
    assert set(np.unique(shaken(black, BOX, 3, **moved)[0])) == {0, PADDING}
    assert set(np.unique(shaken(black, BOX, 3, **moved, colour_policy=1.0)[0])) == {255, 255 - PADDING}


def test_the_transform_serves_torchvisions_own_samples_too() -> None:
    image = tv_tensors.Image(torch.from_numpy(NOISE).permute(2, 0, 1))
    boxes = tv_tensors.BoundingBoxes(BOX, format="XYXY", canvas_size=(HEIGHT, WIDTH))
    shake = transform(SimpleNamespace(**OFF | STRONG | ALWAYS))
    _, moved, labels = shake(image, boxes, torch.tensor([7]))
    assert isinstance(moved, tv_tensors.BoundingBoxes)
    assert labels.tolist() == [7]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"hue": 0.6}, id="more hue than there is"),
        pytest.param({"flip_lr": 1.5}, id="a probability above 1"),
        pytest.param({"affine_p": -0.1}, id="a probability below 0"),
        pytest.param({"scale": 1.0}, id="shrunk to nothing"),
        pytest.param({"translate": 1.2}, id="moved out"),
        pytest.param({"rotate": -1.0}, id="a negative turn"),
    ],
)
def test_a_strength_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        transform(SimpleNamespace(**OFF | wrong))
