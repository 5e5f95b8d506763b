"""Pictures of packs: cut to the scene as by a loop over pixels, with a border that hides nothing."""

import numpy as np
import pytest

from stage1_detector.synthesis.pack import cut_to_scene, with_border


@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param(2, 1, id="within"),
        pytest.param(-2, -1, id="beyond the upper left"),
        pytest.param(6, 4, id="beyond the lower right"),
        pytest.param(-5, 2, id="outside on the left"),
        pytest.param(3, 9, id="outside below"),
    ],
)
def test_a_picture_lies_in_the_scene_as_a_loop_puts_it(x: int, y: int) -> None:
    picture = np.arange(1, 4 * 3 * 4 + 1, dtype=np.uint8).reshape(4, 3, 4)
    scene, want = np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8, 3), np.uint8)
    for row in range(4):
        for column in range(3):
            if 0 <= y + row < 6 and 0 <= x + column < 8:
                want[y + row, x + column] = picture[row, column, :3]
    inside, part = cut_to_scene(picture, x, y, scene)
    scene[inside] = part[..., :3]
    np.testing.assert_array_equal(scene, want)


def test_a_border_is_transparent_and_of_the_colours_beside_it() -> None:
    picture = np.full((2, 3, 4), (10, 20, 30, 255), np.uint8)
    framed = with_border(picture, 2)
    assert framed.shape == (6, 7, 4) and (framed[..., :3] == (10, 20, 30)).all()
    assert (framed[2:4, 2:5, 3] == 255).all() and framed[..., 3].sum() == 6 * 255
