"""What is drawn: sisters and strangers, shelves with the contest's runs, gaps and densities, boxes of what is seen."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from stage1_detector.synthesis import make_photos
from stage1_detector.synthesis.camera import Shot, photograph, visible_boxes
from stage1_detector.synthesis.catalogue import ACCENTS, BASES, Catalogue, make_catalogue
from stage1_detector.synthesis.pack import ICONS, SHAPES, draw_pack
from stage1_detector.synthesis.shelf import ShelfConfig, arrange, paint


def catalogue(seed: int = 0, categories: int = 24, families: int = 5) -> Catalogue:
    return make_catalogue(categories, families, 0.3, np.random.default_rng(seed))


def shots(config: ShelfConfig, count: int) -> list[Shot]:
    """One photo of each of `count` scenes, without files."""
    shop, photos = make_photos.catalogue(config, 0), []
    for scene in range(count):
        rng = np.random.default_rng(scene)
        shelf = arrange(config, shop, rng)
        photos.append(photograph(config, shelf, paint(shelf, shop, rng), rng))
    return photos


@pytest.fixture(scope="module")
def demo() -> list[Shot]:
    return shots(make_photos.RECIPES["demo"], 14)


def test_nothing_seen_gives_empty_boxes_of_the_right_form() -> None:
    boxes, facings = visible_boxes(np.zeros((8, 8), np.uint16), np.zeros(0), 0.3)
    assert (boxes.shape, boxes.dtype, facings.shape, facings.dtype) == ((0, 4), np.float32, (0,), np.int64)


# --- the products


def test_names_and_codes_are_unique_and_frequencies_have_a_long_tail() -> None:
    shop = make_photos.catalogue(make_photos.RECIPES["contest"], 0)
    assert len({p.name for p in shop.products}) == len({p.code for p in shop.products}) == 356
    assert all(p.name.isascii() for p in shop.products)
    falling = sorted(shop.weights, reverse=True)
    assert sum(falling[:50]) == pytest.approx(0.5, abs=0.1)  # the contest's first 50 hold half of all boxes
    assert falling[0] / falling[100] == pytest.approx(422 / 85, rel=0.3)


def test_every_ground_leaves_eight_colours_for_sisters() -> None:
    for base in BASES:
        assert sum(np.abs(np.subtract(a, base)).sum() > 110 for a in ACCENTS) >= 8


def test_sisters_differ_but_less_than_strangers() -> None:
    products = catalogue(categories=24, families=6).products
    fronts = [cv2.resize(draw_pack(p, 48)[..., :3], (32, 32), interpolation=cv2.INTER_AREA).astype(float) for p in products]
    far = np.array([[np.abs(a - b).mean() for b in fronts] for a in fronts])  # (C, C) grey levels
    sisters = np.array([[a.family == b.family for b in products] for a in products])
    near = far[sisters & ~np.eye(len(products), dtype=bool)]
    assert near.min() > 1.5
    assert near.mean() < 0.6 * far[~sisters].mean()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("view", ["front", "left", "right"])
def test_each_kind_of_pack_has_a_silhouette(shape: str, view: str) -> None:
    product = catalogue().products[0]
    pack = draw_pack(replace(product, family=replace(product.family, shape=shape, aspect=0.8)), 80, view)
    height, width = pack.shape[:2]
    assert pack.dtype == np.uint8 and height == 80 and width in (64, 36)
    assert 0.5 < (pack[..., 3] > 127).mean() <= 1
    assert (pack[..., 3] > 127)[40, width // 2]


def test_icons_stay_inside_their_box() -> None:
    for radius in ICONS.values():
        assert radius.shape == (60,) and radius.min() > 0 and radius.max() <= 1.26


def test_a_family_has_at_most_eight_members() -> None:
    with pytest.raises(ValueError, match="got 2 for 17 categories"):
        catalogue(categories=17, families=2)


def test_another_seed_draws_other_photos() -> None:
    packs = [draw_pack(catalogue(seed).products[0], 40) for seed in (0, 1)]
    assert packs[0].shape != packs[1].shape or (packs[0] != packs[1]).any()


# --- the shelf, against the contest's figures


def test_a_hidden_facing_is_not_annotated_and_a_half_hidden_one_is() -> None:
    owner = np.zeros((20, 40), np.uint16)
    owner[:, :10], owner[:, 10:15], owner[:, 20:22] = 1, 2, 3
    boxes, facings = visible_boxes(owner, np.array([200.0, 400.0, 200.0, 200.0]), 0.3)
    assert facings.tolist() == [0]
    boxes, facings = visible_boxes(owner, np.array([200.0, 400.0, 200.0, 200.0]), 0.2)
    assert facings.tolist() == [0, 1] and boxes.tolist() == [[0, 0, 10, 20], [10, 0, 15, 20]]


def test_what_the_painting_says_of_a_facing_is_where_it_stands() -> None:
    rng = np.random.default_rng(0)
    shop = make_photos.catalogue(make_photos.RECIPES["demo"], 0)
    scene = arrange(make_photos.RECIPES["demo"], shop, rng)
    painting = paint(scene, shop, rng)
    width, height = scene.flat
    assert painting.image.shape == (height, width, 3) and painting.owner.shape == (height, width)
    for i, f in enumerate(scene.facings):
        ys, xs = np.nonzero(painting.owner == i + 1)
        assert len(xs) <= painting.areas[i]
        if len(xs):
            assert f.left - 6 <= xs.min() and xs.max() <= f.left + f.width + 6
            assert f.bottom - f.height - 6 <= ys.min() and ys.max() <= f.bottom + 6


def test_runs_and_gaps_of_an_arrangement_follow_the_contest() -> None:
    config = replace(make_photos.RECIPES["demo"], stock=(1.0, 1.0))
    shop, runs, gaps = make_photos.catalogue(config, 0), Counter[int](), []
    for scene in range(12):
        facings = arrange(config, shop, np.random.default_rng(scene)).facings
        for foot in {f.foot for f in facings}:
            row = sorted((f for f in facings if f.foot == foot), key=lambda f: f.left)
            gaps += [(b.left - a.left - a.width) / a.width for a, b in pairwise(row)]
            ends = [-1] + [i for i in range(len(row) - 1) if row[i].product != row[i + 1].product] + [len(row) - 1]
            runs.update(np.diff(ends).tolist())
    shares = [runs[n] / sum(runs.values()) for n in (1, 2, 3)]
    assert shares == pytest.approx([0.41, 0.39, 0.13], abs=0.12)
    assert np.percentile(gaps, [10, 50, 90]) == pytest.approx([-0.28, -0.04, 0.37], abs=0.08)


def test_demo_photos_have_the_promised_boxes(demo: list[Shot]) -> None:
    assert 20 <= np.median([len(s.boxes) for s in demo]) <= 50
    sides = [np.sqrt(np.prod(s.boxes[:, 2:] - s.boxes[:, :2], axis=1)) / max(s.image.shape) for s in demo]
    assert np.median(np.concatenate(sides)) == pytest.approx(0.09, abs=0.02)
    assert np.median([len(set(s.labels.tolist())) for s in demo]) >= 6
    largest = np.concatenate([overlap(s.boxes).max(axis=1) for s in demo])  # of each box, with its nearest neighbour
    assert np.median(largest) < 0.15
    assert 0.1 < np.percentile(largest, 99) < 0.5


def overlap(boxes: np.ndarray) -> np.ndarray:
    """IoU of each box with each other one (N, N), by a slow loop; 0 with itself."""
    table = np.zeros((len(boxes), len(boxes)))
    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes):
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            if i != j and w > 0 and h > 0:
                table[i, j] = w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)
    return table


@pytest.mark.slow
def test_contest_photos_are_as_dense_as_the_contest() -> None:
    photos = shots(make_photos.RECIPES["contest"], 10)
    assert 50 <= np.median([len(s.boxes) for s in photos]) <= 150
    assert 20 <= np.median([len(set(s.labels.tolist())) for s in photos]) <= 55


def test_boxes_are_whole_and_inside_their_photo(demo: list[Shot]) -> None:
    for shot in demo:
        height, width = shot.image.shape[:2]
        x0, y0, x1, y1 = shot.boxes.T
        assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= width).all() and (y1 <= height).all()
        assert (x1 - x0 >= 4).all() and (y1 - y0 >= 4).all()
