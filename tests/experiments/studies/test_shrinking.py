"""Ways of shrinking do what they say, and a shrunk copy of a data set is the canvas that a detector would have been given."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from labelled_set import content, write

from experiments.studies import shrinking
from experiments.studies.shrunk_photos import (
    WAYS,
    Size,
    area,
    area_then_linear,
    linear,
    resized,
    shrunk,
    size_on_canvas,
    write_set,
)
from fusion.views import letterbox
from photos.data import Dataset, read, read_image


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def mean_of_covered(image: np.ndarray, size: Size) -> np.ndarray:
    """Slow oracle: each pixel is the mean of the photo under it, pixels that it covers in part counting in part."""
    width, height = size

    def shares(many: int, few: int) -> np.ndarray:
        edges, step = np.arange(many), many / few
        low = np.arange(few)[:, None] * step
        return np.clip(np.minimum(low + step, edges + 1) - np.maximum(low, edges), 0, 1) / step  # (few, many)

    rows, columns = shares(image.shape[0], height), shares(image.shape[1], width)
    return np.einsum("hr,rck,wc->hwk", rows, image.astype(float), columns)


@pytest.mark.parametrize("size", [(32, 24), (50, 37)], ids=["by a whole number", "by a fraction"])
def test_area_is_the_mean_of_what_a_pixel_covers(size: Size) -> None:
    image = noise(96, 72)
    assert np.abs(area(image, size) - mean_of_covered(image, size)).max() <= 1


def test_linear_leaves_pixels_out_and_averages_at_a_half() -> None:
    image = noise(96, 72)
    assert np.abs(linear(image, (24, 18)) - mean_of_covered(image, (24, 18))).mean() > 10
    np.testing.assert_array_equal(linear(image, (48, 36)), area(image, (48, 36)))


def test_area_by_whole_numbers_comes_before_linear() -> None:
    image = noise(100, 80)
    np.testing.assert_array_equal(area_then_linear(image, (25, 20)), area(image, (25, 20)))
    np.testing.assert_array_equal(area_then_linear(image, (40, 32)), linear(area(image, (50, 40)), (40, 32)))


@pytest.mark.parametrize(
    ("size", "alike"),
    [((150, 120), set(WAYS)), ((80, 64), set(WAYS) - {"area"}), ((20, 16), {"area", "area_below_half", "area_then_linear"})],
    ids=["enlarged", "to more than a half", "to a whole fraction below a half"],
)
def test_ways_that_are_the_same(size: Size, alike: set[str]) -> None:
    image = noise(100, 80)
    first, *others = (WAYS[way](image, size) for way in sorted(alike))
    assert all(np.array_equal(first, other) for other in others)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    root = write(tmp_path / "data", annotations=content())
    for path in (root / "images").iterdir():
        cv2.imwrite(str(path), noise(48, 32))
    return read(root)


def test_a_shrunk_photo_is_the_canvas(dataset: Dataset) -> None:
    photo = dataset.photos[0]
    view, copy = letterbox(48, 32, 32), shrunk(photo, 32, "linear")
    assert copy.shape[1::-1] == size_on_canvas(photo, 32)
    np.testing.assert_array_equal(
        letterbox(*copy.shape[1::-1], 32).warp(copy), view.warp(read_image(photo.path, photo.width, photo.height))
    )
    boxes = resized(photo, size_on_canvas(photo, 32), photo.path).boxes
    np.testing.assert_allclose(boxes, view.to_canvas(photo.boxes) - (0, 5, 0, 5), atol=1e-5)  # 21 of 32 pixels: 5 above


def test_averaged_canvases_are_those_of_area_then_linear(dataset: Dataset) -> None:
    photo = dataset.photos[0]
    view, copy = replace(letterbox(48, 32, 20), averaged=True), shrunk(photo, 20, "area_then_linear")
    np.testing.assert_array_equal(
        letterbox(*copy.shape[1::-1], 20).warp(copy), view.warp(read_image(photo.path, photo.width, photo.height))
    )


def test_the_copy_of_a_set_holds_the_same_photos_and_boxes_smaller(dataset: Dataset, tmp_path: Path) -> None:
    first, second = dataset.photos
    write_set(dataset, {"train": [first], "test": [second]}, 32, "area", tmp_path / "copy")
    copy = read(tmp_path / "copy")
    assert [(photo.id, photo.part) for photo in copy.photos] == [(1, "train"), (2, "test")]
    for photo, original in zip(copy.photos, dataset.photos, strict=True):
        np.testing.assert_array_equal(read_image(photo.path, photo.width, photo.height), shrunk(original, 32, "area"))
        np.testing.assert_allclose(photo.boxes, original.boxes * np.tile([32 / 48, 21 / 32], 2), atol=1e-5)
        assert photo.labels.tolist() == original.labels.tolist()


def test_no_photos_have_no_copies(dataset: Dataset, tmp_path: Path) -> None:
    write_set(dataset, {"train": dataset.photos, "test": []}, 32, "area", tmp_path / "copy")
    assert len(read(tmp_path / "copy").photos) == 2
    assert len(resized(replace(dataset.photos[0], boxes=np.zeros((0, 4), np.float32)), (3, 2), Path("a.png")).boxes) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "need one of them"),
        (["--train", "x", "--detector", "starter"], "need one of them"),
        (["--train", "x"], "needs --runs"),
        (["--detector", "somewhere/one"], "needs --runs"),
        (["--detector", "starter", "--sizes", "16"], "must be >= 32"),
    ],
    ids=["neither", "both", "trained without folds", "a trained detector without folds", "a canvas too small"],
)
def test_arguments_that_do_not_go_together(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shrinking.main(["--set", "toy", "--data", "d", "--sizes", "64", *words]) == 2
    assert said in capsys.readouterr().err
