"""Views: the letterbox is ultralytics', a mark in a photo lands where its box says, and every view can be undone."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from fusion.reading import Canvases
from fusion.views import PADDING, View, average, flip, letterbox, make_views, spans, tile

SIZES = [
    pytest.param((640, 640), id="as large as the canvas"),
    pytest.param((333, 333), id="square, enlarged"),
    pytest.param((1280, 720), id="wide"),
    pytest.param((720, 1281), id="tall, odd"),
    pytest.param((1001, 37), id="a strip"),
    pytest.param((3000, 1), id="one pixel high"),
    pytest.param((1, 1), id="one pixel"),
    pytest.param((7, 5), id="tiny"),
    pytest.param((640, 427), id="as wide as the canvas"),
]


def photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def boxes() -> np.ndarray:
    start = np.random.default_rng(1).uniform(0, 3000, (200, 2))
    return np.concatenate([start, start + np.random.default_rng(2).uniform(1, 900, (200, 2))], axis=1).astype(np.float32)


def every_view(width: int, height: int) -> list[View]:
    turned = View(np.array([[0.2, 0.1, 3.0], [-0.1, 0.3, 5.0]]), 100, 90)
    plain = [letterbox(width, height, 640), letterbox(width, height, 96, "rectangle"), tile((11, 22, 777, 555), 320)]
    return [*plain, *map(flip, plain), turned]


def test_empty_boxes():
    for view in every_view(4032, 3024)[:-1]:
        assert view.to_canvas(np.zeros((0, 4), np.float32)).shape == (0, 4)
        assert view.to_image(np.zeros((0, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("shape", ["square", "rectangle"])
@pytest.mark.parametrize("canvas", [640, 96])
@pytest.mark.parametrize("size", SIZES)
def test_letterbox_is_ultralytics_bit_for_bit(size, canvas, shape):
    from ultralytics.data.augment import LetterBox

    image = photo(*size)
    want = LetterBox(canvas, auto=shape == "rectangle", stride=32)(image=image)
    view = letterbox(*size, canvas, shape)
    np.testing.assert_array_equal(view.warp(image), want)
    np.testing.assert_array_equal(flip(view).warp(image), want[:, ::-1])


def block_means(image: np.ndarray, number: int) -> np.ndarray:
    """Slow oracle: the mean of each number x number pixels."""
    height, width = image.shape[0] // number, image.shape[1] // number
    return image.reshape(height, number, width, number, 3).mean((1, 3))


def averaging(view: View) -> View:
    return replace(view, averaged=True)


@pytest.mark.parametrize(("size", "number"), [((400, 200), 4), ((300, 210), 3)], ids=["by a half twice", "by a third"])
def test_an_averaged_canvas_is_the_mean_of_what_a_pixel_covers(size, number):
    image, view = photo(*size), averaging(letterbox(*size, 100, "rectangle", 1))
    assert view.whole_shrink == number
    assert np.abs(view.warp(image) - block_means(image, number)).max() <= 1
    assert np.abs(replace(view, averaged=False).warp(image) - block_means(image, number)).mean() > 10


def test_what_is_left_of_a_fraction_is_interpolated():
    from ultralytics.data.augment import LetterBox

    image, view = photo(500, 300), averaging(letterbox(500, 300, 200))
    assert view.whole_shrink == 2
    assert np.abs(average(image, 2) - block_means(image, 2)).max() <= 1
    np.testing.assert_array_equal(view.warp(image), LetterBox(200)(image=average(image, 2)))
    np.testing.assert_array_equal(flip(view).warp(image), view.warp(image)[:, ::-1])


@pytest.mark.parametrize("size", SIZES)
def test_photos_of_less_than_twice_the_canvas_are_not_averaged(size):
    view = letterbox(*size, 720)
    np.testing.assert_array_equal(averaging(view).warp(photo(*size)), view.warp(photo(*size)))


@pytest.mark.parametrize("size", [(1001, 703), (1000, 700)], ids=["no multiples", "multiples"])
@pytest.mark.parametrize("shape", ["square", "stretch"])
@pytest.mark.parametrize("mirrored", [False, True], ids=["plain", "mirrored"])
def test_a_block_on_an_averaged_canvas_lands_where_its_box_says(size, shape, mirrored):
    image = np.full((size[1], size[0], 3), PADDING, np.uint8)
    image[600:690, 900:990] = 255
    view = averaging(letterbox(*size, 160, shape))
    view = flip(view) if mirrored else view
    weight = view.warp(image)[:, :, 0].astype(float) - PADDING
    rows, columns = np.indices(weight.shape) + 0.5
    centre = [(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()]
    box = view.to_canvas(np.array([[900, 600, 990, 690]], np.float32))[0]
    np.testing.assert_allclose(centre, [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], atol=0.05)


def test_tiles_between_pixels_are_averaged_too():
    smooth = cv2.GaussianBlur(photo(1000, 800), (0, 0), 6)
    plain = tile((101, 53, 804, 700), 160)
    inner = np.s_[20:-20, 4:-4]
    assert np.abs(averaging(plain).warp(smooth)[inner].astype(int) - plain.warp(smooth)[inner]).max() <= 4
    noisy = photo(1000, 800)
    assert averaging(plain).warp(noisy)[inner].std() < 0.5 * plain.warp(noisy)[inner].std()


def test_averaged_and_other_canvases_of_one_photo_are_told_apart():
    image, view = photo(300, 200), letterbox(300, 200, 100)
    canvases = Canvases(image, [view, averaging(view)])
    assert (
        len(canvases.made) == 2
        and len(Canvases(image, [letterbox(300, 200, 200), averaging(letterbox(300, 200, 200))]).made) == 1
    )
    np.testing.assert_array_equal(canvases.on(averaging(view)), averaging(view).warp(image))
    assert not np.array_equal(canvases.on(view), canvases.on(averaging(view)))


@pytest.mark.parametrize("shrinking", ["linear", "average"])
def test_views_of_a_spec_shrink_as_the_sidecar_says(shrinking):
    views = make_views({"size": 64, "tiles": [1, 2], "flip": True}, 300, 200, shrinking)
    assert [view.averaged for view in views] == [shrinking == "average"] * 2
    with pytest.raises(ValueError, match="shrinking of a sidecar: got 'cubic', must be one of linear, average"):
        make_views({"size": 64}, 300, 200, "cubic")


def test_boxes_come_back(boxes):
    for view in every_view(4032, 3024)[:-1]:
        back = view.to_image(view.to_canvas(boxes))
        assert back.dtype == np.float32
        assert np.abs(back - boxes).max() < 1e-3


def test_boxes_stay_upright_and_hold_their_image(boxes):
    for view in every_view(4032, 3024):
        mapped = view.to_canvas(boxes)
        assert (mapped[:, :2] <= mapped[:, 2:]).all()
        for x in (0, 2):
            for y in (1, 3):
                corner = boxes[:, [x, y]] @ view.matrix[:, :2].T + view.matrix[:, 2]
                assert (corner > mapped[:, :2] - 1e-3).all() and (corner < mapped[:, 2:] + 1e-3).all()


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(View(np.array([[8.0, 0, 0], [0, 8, 0]]), 256, 256), id="eight times, on whole pixels"),
        pytest.param(View(np.array([[7.3, 0, 2.6], [0, 6.7, 4.1]]), 256, 256), id="between pixels"),
        pytest.param(flip(View(np.array([[7.3, 0, 2.6], [0, 6.7, 4.1]]), 256, 256)), id="between pixels, mirrored"),
        pytest.param(tile((5, 6, 21, 20), 160), id="a tile"),
        pytest.param(View(np.array([[0, 8.0, 0], [8, 0, 0]]), 256, 256), id="transposed"),
    ],
)
def test_a_mark_of_one_pixel_lands_where_its_box_says(view):
    """The half-pixel shift: without it the mark is off by half its own width, less half a pixel."""
    image = np.full((32, 32, 3), PADDING, np.uint8)
    image[12, 10] = 255
    where = np.argwhere(view.warp(image)[:, :, 0] > PADDING).astype(float)
    weight = view.warp(image)[:, :, 0][view.warp(image)[:, :, 0] > PADDING].astype(float) - PADDING
    centre = (where * weight[:, None]).sum(0)[::-1] / weight.sum() + 0.5  # x, y in edge coordinates
    box = view.to_canvas(np.array([[10, 12, 11, 13]], np.float32))[0]
    np.testing.assert_allclose(centre, [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], atol=0.1)


def test_warp_between_pixels_agrees_with_the_paste():
    """A whole-pixel view and the same view by the general warp show the same photo."""
    smooth = cv2.GaussianBlur(photo(400, 300), (0, 0), 4)
    view = letterbox(400, 300, 640)
    general = View(view.matrix + np.array([[0, 0, 1e-5]]), 640, 640).warp(smooth)
    inner = np.s_[90:550, 10:-10]
    assert np.abs(general[inner].astype(int) - view.warp(smooth)[inner]).max() <= 2


@pytest.mark.parametrize("size", [pytest.param((300, 200), id="wide"), pytest.param((128, 320), id="tall")])
def test_mirrored_view_is_the_plain_view_of_the_mirrored_photo(size):
    image, view = photo(*size), letterbox(*size, 160)
    plain = view.warp(np.ascontiguousarray(image[:, ::-1]))
    assert np.abs(flip(view).warp(image).astype(int) - plain).max() <= 1  # the resize rounds at 11 bits
    np.testing.assert_array_equal(flip(flip(view)).matrix, view.matrix)


def test_mirrored_boxes():
    view = flip(letterbox(200, 100, 100))
    np.testing.assert_allclose(view.to_canvas(np.array([[0, 0, 20, 100]], np.float32)), [[90, 25, 100, 75]])


@pytest.mark.parametrize("corner", [(30, 20), (0, 0), (136, 86)], ids=["inside", "top left", "bottom right"])
def test_tile_at_its_own_size_is_the_crop(corner):
    image, (x, y) = photo(200, 150), corner
    np.testing.assert_array_equal(tile((x, y, x + 64, y + 64), 64).warp(image), image[y : y + 64, x : x + 64])


def test_tile_of_the_whole_photo_is_the_letterbox():
    np.testing.assert_array_equal(
        tile((0, 0, 200, 150), 64).warp(photo(200, 150)), letterbox(200, 150, 64).warp(photo(200, 150))
    )


def test_a_stretched_photo_fills_its_square():
    view = letterbox(200, 100, 64, "stretch")
    assert (view.width, view.height) == (64, 64)
    np.testing.assert_allclose(view.to_canvas(np.array([[0.0, 0.0, 200.0, 100.0]])), [[0, 0, 64, 64]])
    boxes = np.array([[10.0, 20.0, 60.0, 90.0]], np.float32)
    np.testing.assert_allclose(view.to_image(view.to_canvas(boxes)), boxes, atol=1e-3)
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    np.testing.assert_array_equal(view.warp(image), cv2.resize(image, (64, 64)))
    np.testing.assert_array_equal(flip(view).warp(image), view.warp(image)[:, ::-1])


@pytest.mark.parametrize(
    ("spec", "number", "canvas"),
    [
        pytest.param({"size": 96}, 1, (96, 96), id="size alone"),
        pytest.param({"size": 96, "shape": "rectangle"}, 1, (96, 64), id="rectangle"),
        pytest.param({"size": 96, "shape": "rectangle", "stride": 8}, 1, (96, 56), id="another stride"),
        pytest.param({"size": 96, "tiles": [2, 3]}, 6, (96, 96), id="tiles"),
    ],
)
@pytest.mark.parametrize("mirrored", [False, True], ids=["plain", "mirrored"])
def test_views_of_a_spec(spec, number, canvas, mirrored):
    views = make_views({**spec, "flip": mirrored}, 180, 100)
    assert len(views) == number
    assert {(view.width, view.height) for view in views} == {canvas}
    assert {view.matrix[0, 0] < 0 for view in views} == {mirrored}


@pytest.mark.parametrize("size", [(1000, 700), (997, 1301), (50, 3)], ids=["wide", "primes", "tiny"])
@pytest.mark.parametrize("tiles", [[1, 1], [2, 2], [3, 5]], ids=["one", "four", "fifteen"])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_tiles_show_every_pixel(size, tiles, overlap):
    seen = np.zeros(size[::-1], bool)
    for view in make_views({"size": 320, "tiles": tiles, "overlap": overlap}, *size):
        box = view.to_image(np.array([[0, 0, view.width, view.height]], np.float32))[0]
        x0, y0 = np.maximum(np.ceil(box[:2] - 1e-3), 0).astype(int)
        x1, y1 = np.floor(box[2:] + 1e-3).astype(int)
        seen[y0:y1, x0:x1] = True
    assert seen.all()


@pytest.mark.parametrize("overlap", [0.0, 0.3])
def test_spans_overlap_as_asked(overlap):
    cut = spans(10_000, 4, overlap)
    assert cut[0][0] == 0 and cut[-1][1] == 10_000
    shared = [(a[1] - b[0]) / (b[1] - b[0]) for a, b in pairwise(cut)]
    np.testing.assert_allclose(shared, overlap, atol=1e-3)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param({}, "must have size", id="no size"),
        pytest.param({"size": 640, "mirror": True}, "mirror.*nothing but size, shape, flip, stride", id="unknown field"),
        pytest.param({"size": 640, "shape": "round"}, "'round', must be one of square, rectangle", id="unknown shape"),
        pytest.param({"size": 0}, "size 0", id="size 0"),
        pytest.param({"size": 640, "tiles": [0, 1]}, "tiles: got 0", id="no tiles"),
        pytest.param({"size": 640, "overlap": 1.0}, "overlap 1.0", id="overlap of all"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(spec, said):
    with pytest.raises(ValueError, match=said):
        make_views(spec, 100, 100)


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.zeros((2, 3)), np.full((2, 3), np.nan)], ids=["three rows", "singular", "not a number"]
)
def test_a_matrix_that_is_no_view_is_refused(matrix):
    with pytest.raises(ValueError, match=r"must be \(2, 3\) and invertible"):
        View(matrix, 10, 10)
