"""Composed photos: boxes lie where packages are seen, layouts keep to their shelves, packages behind others have none."""

from dataclasses import replace

import numpy as np
import pytest

from stage1_detector.synthesis.backgrounds import random_surface, remove_products
from stage1_detector.synthesis.layout import KINDS as LAYOUTS
from stage1_detector.synthesis.layout import PlacedPackage, Scene, ShelfAppearance, arrange
from stage1_detector.synthesis.random_packs import ASPECT, KINDS, draw_random_pack
from stage1_detector.synthesis.rendering import Stock, expose, paint, read_png, render

PLAIN = ShelfAppearance(
    sizes=((320, 240),), rows=(2, 3), keystone=0.0, turn=0.0, blur=(0.01, 0.02), noise=(0.0, 0.01), lean=0.0, deep=0.0,
    visible=0.0,
)  # fmt: skip


def plain_stock(colour: tuple[int, int, int] = (250, 20, 20), n: int = 3) -> Stock:
    picture = np.full((60, 40, 4), (*colour, 255), np.uint8)
    return Stock(((picture,),) * n, np.full(n, 40 / 60), np.ones(n), np.arange(n) + 7)


def grey() -> np.ndarray:
    return np.full((30, 40, 3), 118, np.uint8)


def test_a_stock_without_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="stock: got 0 products, need at least 1"):
        Stock((), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="each with a picture"):
        Stock(((),), np.ones(1), np.ones(1), np.zeros(1, np.int64))


def test_a_file_that_is_no_cutout_is_refused(tmp_path) -> None:
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"x.png: not a cut-out"):
        read_png(tmp_path / "x.png")


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_where_the_packages_are(seed: int) -> None:
    shot = render(PLAIN, plain_stock(), grey(), np.random.default_rng(seed))
    assert shot.image.shape == (240, 320, 3) and shot.image.dtype == np.uint8
    assert len(shot.boxes) == len(shot.labels) > 3
    assert set(shot.labels) <= {7, 8, 9}  # the stock's categories
    red = (shot.image[..., 0].astype(int) - shot.image[..., 1]) > 60
    covered = np.zeros_like(red)
    for x0, y0, x1, y1 in shot.boxes.astype(int):
        assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 240
        assert red[y0:y1, x0:x1].mean() > 0.7
        covered[y0:y1, x0:x1] = True
    assert (red & ~covered).sum() < 0.15 * red.sum()  # the rest are slivers at the edges of the photo


def test_a_photo_depends_on_its_generator_alone() -> None:
    first, again, other = (render(PLAIN, plain_stock(), grey(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert not np.array_equal(first.image, other.image)


def test_packages_behind_others_own_no_pixels() -> None:
    stock = plain_stock()
    front, behind = PlacedPackage(0, 60, 60, 40, 60, 0.0), PlacedPackage(1, 60, 40, 40, 60, 0.0, behind=1)
    scene = Scene((160, 120), (160, 120), (), (behind, front))
    _, owner, areas = paint(scene, stock, grey(), np.random.default_rng(0))
    assert set(np.unique(owner)) == {0, 2}
    assert np.count_nonzero(owner == 2) == areas[1]
    _, apart, _ = paint(replace_placed(scene, behind), stock, grey(), np.random.default_rng(0))
    assert not apart.any()


def replace_placed(scene: Scene, *placed: PlacedPackage) -> Scene:
    return scene._replace(placed=placed)


def test_a_board_hides_what_is_behind_its_edge() -> None:
    scene = Scene((160, 120), (160, 120), ((70.0, 80.0),), (PlacedPackage(0, 60, 60, 40, 60, 0.0),))
    _, owner, _ = paint(scene, plain_stock(), grey(), np.random.default_rng(0))
    assert not owner[70:80].any() and owner[60, 60] == 1


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("seed", range(5))
def test_layouts_keep_to_their_shelves(kind: str, seed: int) -> None:
    appearance = replace(PLAIN, kinds=tuple(float(k == kind) for k in LAYOUTS), deep=0.5)
    rng = np.random.default_rng(seed)
    scene = arrange(appearance, np.array([0.5, 1.0, 2.0] * 5), np.ones(15), rng)
    assert scene.photo == (320, 240)
    if kind == "loose":
        assert not scene.boards and 0 < len(scene.placed) <= appearance.loose[1]
        return
    tops = np.array([top for top, _ in scene.boards])
    for one in scene.placed:
        assert one.width > 0 and one.height > 0
        gap = tops - (one.y + one.height / 2)  # to the board it stands on, above which it ends, or on what lies below it
        assert (gap > -1e-6).any() and one.height <= np.diff(tops).max()
    behind = [one.behind for one in scene.placed]
    assert kind == "facings" or not any(behind)


def test_an_empty_scene_has_no_boxes() -> None:
    appearance = replace(PLAIN, kinds=(0, 0, 0, 1), loose=(1, 1), visible=1.1)
    shot = render(appearance, plain_stock(), grey(), np.random.default_rng(0))
    assert shot.boxes.shape == (0, 4) and shot.boxes.dtype == np.float32 and shot.labels.shape == (0,)


@pytest.mark.parametrize("size", [(240, 320), (63, 97), (16, 16)])
def test_exposing_keeps_the_form(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 100, np.uint8)
    out = expose(ShelfAppearance(), image, np.random.default_rng(0))
    assert out.shape == image.shape and out.dtype == np.uint8


@pytest.mark.parametrize("seed", range(60))
def test_every_made_up_package_can_be_seen(seed: int) -> None:
    picture = draw_random_pack(np.random.default_rng(seed), 80)
    least, most = min(low for low, _ in ASPECT.values()), max(high for _, high in ASPECT.values())
    assert len(picture) == 80 and picture.shape[2] == 4
    assert least * 80 - 1 <= picture.shape[1] <= most * 80 + 1
    assert (picture[..., 3] > 127).mean() > 0.2


def test_made_up_packages_are_of_every_kind() -> None:
    assert set(KINDS) == set(ASPECT)
    wide = [draw_random_pack(np.random.default_rng(s), 60).shape[1] for s in range(80)]
    assert max(wide) > 2 * min(wide)


@pytest.mark.parametrize("seed", range(6))
def test_ground_is_an_image_of_its_size(seed: int) -> None:
    image = random_surface((97, 64), np.random.default_rng(seed))
    assert image.shape == (64, 97, 3) and image.dtype == np.uint8


def test_a_background_loses_its_products_and_nothing_else() -> None:
    photo = np.full((200, 300, 3), 90, np.uint8)
    photo[60:120, 100:160] = (255, 0, 0)
    out = remove_products(photo, np.array([[100, 60, 160, 120]], np.float32))
    assert np.abs(out[60:120, 100:160].astype(int) - 90).max() < 30
    np.testing.assert_allclose(out[:40], 90, atol=2)
    np.testing.assert_array_equal(remove_products(photo, np.zeros((0, 4), np.float32))[150:], photo[150:])
