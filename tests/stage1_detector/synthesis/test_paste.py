"""Facings swapped between real photos: boxes stay, labels are what came in, nothing else of the photo changes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from photos.data import Photo
from stage1_detector.synthesis.paste import gather, run_of, swapped, uncovered

COLOURS = ((220, 30, 30), (30, 30, 220))


def photo(folder: Path, number: int, boxes: list[list[int]], labels: list[int]) -> Photo:
    """A grey photo whose facings are of one colour, the photo's own."""
    image = np.full((120, 200, 3), 90 + 20 * number, np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = COLOURS[number]
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), image[..., ::-1])
    n, edges = len(boxes), np.array(boxes, np.float32).reshape(-1, 4)
    return Photo(number, path, 200, 120, edges, np.array(labels, np.int64), np.arange(n), "train")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Photo, Photo]:
    row = [[10 + 40 * i, 20, 45 + 40 * i, 100] for i in range(4)]
    return photo(tmp_path, 0, row, [0, 0, 1, 2]), photo(tmp_path, 1, row, [3, 4, 5, 6])


@pytest.mark.parametrize("seed", range(8))
def test_what_came_in_is_labelled_and_shown_in_the_same_box(pair: tuple[Photo, Photo], seed: int) -> None:
    shot = swapped(pair, gather(pair), np.random.default_rng(seed))
    own = pair[(int(shot.image[0, 0, 0]) - 90) // 20]
    np.testing.assert_array_equal(shot.boxes, own.boxes)
    changed = shot.labels != own.labels
    assert changed.any()
    other = next(p for p in pair if p is not own)
    assert set(shot.labels[changed]) <= set(other.labels)
    before = cv2.cvtColor(cv2.imread(str(own.path)), cv2.COLOR_BGR2RGB)
    inside = np.zeros((120, 200), bool)
    for (x0, y0, x1, y1), new in zip(own.boxes.astype(int), changed, strict=True):
        inside[y0:y1, x0:x1] |= new
        middle = shot.image[(y0 + y1) // 2, (x0 + x1) // 2].astype(int)
        assert (np.argmax(middle) == np.argmax(COLOURS[other.id if new else own.id])) or not new
    np.testing.assert_array_equal(shot.image[~inside], before[~inside])


def test_a_run_of_one_product_changes_as_a_whole(pair: tuple[Photo, Photo]) -> None:
    assert sorted(run_of(pair[0], 0)) == sorted(run_of(pair[0], 1)) == [0, 1]
    assert run_of(pair[0], 2) == [2]
    for seed in range(12):
        shot = swapped(pair, gather(pair), np.random.default_rng(seed))
        if shot.image[0, 0, 0] == 90:
            assert (shot.labels[0] == 0) == (shot.labels[1] == 0)


@pytest.mark.parametrize(
    ("boxes", "free"),
    [
        pytest.param([], [], id="none"),
        pytest.param([[0, 0, 10, 10]], [True], id="one"),
        pytest.param([[0, 0, 10, 10], [9, 0, 19, 10]], [True, True], id="touching"),
        pytest.param([[0, 0, 10, 10], [5, 0, 15, 10]], [False, False], id="overlapping"),
        pytest.param([[0, 0, 100, 100], [5, 5, 15, 15]], [False, False], id="a small one before a large one"),
    ],
)
def test_facings_that_others_cover_stay(boxes: list[list[float]], free: list[bool]) -> None:
    assert uncovered(np.array(boxes, np.float32).reshape(-1, 4)).tolist() == free


def test_one_photo_has_nobody_to_swap_with(pair: tuple[Photo, Photo]) -> None:
    with pytest.raises(ValueError, match="--paste: got 1 train photos, need at least 2"):
        gather(pair[:1])


def test_proportions_that_nobody_has_stay(tmp_path: Path) -> None:
    wide, tall = photo(tmp_path, 0, [[10, 50, 190, 60]], [0]), photo(tmp_path, 1, [[10, 10, 20, 110]], [1])
    for seed in range(4):
        shot = swapped((wide, tall), gather((wide, tall)), np.random.default_rng(seed))
        assert shot.labels.tolist() in ([0], [1])


def test_a_facing_too_small_to_be_painted_keeps_its_name(tmp_path: Path) -> None:
    row = [[10 + 40 * i, 20, 12 + 40 * i, 22] for i in range(4)]
    both = photo(tmp_path, 0, row, [0, 0, 1, 2]), photo(tmp_path, 1, row, [3, 4, 5, 6])
    for seed in range(8):
        shot = swapped(both, gather(both), np.random.default_rng(seed))
        own = both[(int(shot.image[0, 0, 0]) - 90) // 20]
        np.testing.assert_array_equal(shot.labels, own.labels)
