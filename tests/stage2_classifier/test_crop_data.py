"""Regions, shaking, balancing and studio photos: what the classifier learns from."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion.crops import crop
from stage1_detector.data import Category
from stage2_classifier import data

PHOTO = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
CATEGORIES = (Category(3, "Fjell Te"), Category(9, "Dal Te"))


def test_no_regions_give_no_crops() -> None:
    made = data.crops_of([], np.zeros(0, np.int64), np.zeros(4), 32, 0.0, np.random.default_rng(0))
    assert made.shape == (0, 32, 32, 3)


def test_an_unshaken_crop_of_a_region_is_the_crop_of_the_photo() -> None:
    box = np.array([50, 60, 90, 110], np.float32)
    region = data.cut(PHOTO, box, 0, 48)
    made = data.crops_of([region], np.array([0]), np.zeros(4), 48, 0.1, np.random.default_rng(0))
    np.testing.assert_array_equal(made[0], crop(PHOTO, box, 48, 0.1))


def test_a_region_at_the_edge_stays_inside_the_photo() -> None:
    region = data.cut(PHOTO, np.array([0, 0, 40, 40], np.float32), 1, 48)
    assert region.box.tolist() == [0, 0, 40, 40]
    assert region.image.shape == (56, 56, 3)


def test_a_large_box_is_kept_at_twice_the_crops_size() -> None:
    region = data.cut(PHOTO, np.array([10, 10, 210, 110], np.float32), 0, 32)
    assert max(region.box[2:] - region.box[:2]) == pytest.approx(64)


def test_box_error_recovers_the_noise_it_is_given() -> None:
    rng = np.random.default_rng(1)
    truth = np.concatenate([rng.uniform(0, 100, (4000, 2)), rng.uniform(150, 300, (4000, 2))], 1).astype(np.float32)
    error = np.array([0.02, 0.05, 0.03, 0.08])
    found = np.stack([data.shake(box, error, rng) for box in truth])
    np.testing.assert_allclose(data.box_error([truth], [found]), error, rtol=0.1)


@pytest.mark.parametrize("n", [pytest.param(0, id="no pairs"), pytest.param(19, id="too few pairs")])
def test_without_enough_pairs_the_error_is_the_typical_one(n: int) -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (n, 1))
    assert data.box_error([boxes], [boxes]).tolist() == list(data.TYPICAL_ERROR)


@pytest.mark.parametrize(
    ("balance", "share"), [pytest.param(0.0, 0.1, id="as they come"), pytest.param(1.0, 0.5, id="all alike")]
)
def test_balance_sets_the_share_of_a_rare_name(balance: float, share: float) -> None:
    box = np.array([0, 0, 5, 5], np.float32)
    regions = [data.Region(PHOTO, box, 0)] * 90 + [data.Region(PHOTO, box, 1)] * 10
    picks = data.draw_order(regions, balance, 20000, np.random.default_rng(0))
    assert np.mean(picks >= 90) == pytest.approx(share, abs=0.02)


def studio(root: Path, *folders: str) -> Path:
    for name in folders:
        (root / name).mkdir(parents=True)
        picture = np.full((60, 80, 3), 255, np.uint8)
        picture[20:50, 30:40] = (10, 200, 30)
        cv2.imwrite(str(root / name / "main.jpg"), picture)
    return root


def test_studio_photos_by_folder_name_and_their_content_box(tmp_path: Path) -> None:
    regions = data.studio_regions(studio(tmp_path, "dal te", "Fjell Te", "unknown"), CATEGORIES, 32)
    assert sorted(r.label for r in regions) == [0, 1]
    assert all(r.studio for r in regions)
    sides = regions[0].box[2:] - regions[0].box[:2]
    np.testing.assert_allclose(sides, [10, 30], atol=4)  # JPEG blurs the edge


@pytest.mark.parametrize("wrapped", [False, True], ids=["a list", "under products"])
def test_studio_photos_by_metadata(tmp_path: Path, wrapped: bool) -> None:
    rows = [{"product_code": "123", "product_name": "Dal Te "}]
    (studio(tmp_path, "123") / "metadata.json").write_text(json.dumps({"products": rows} if wrapped else rows))
    assert [r.label for r in data.studio_regions(tmp_path, CATEGORIES, 32)] == [1]


def test_studio_photos_of_nothing_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of its 1 products has the name of a category"):
        data.studio_regions(studio(tmp_path, "Strand Kaffe"), CATEGORIES, 32)


def test_a_missing_studio_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder with one folder per product; pass --studio DIR"):
        data.studio_folder(tmp_path, None)


def test_metadata_of_another_form_is_refused(tmp_path: Path) -> None:
    (studio(tmp_path, "123") / "metadata.json").write_text('[{"code": 1}]')
    with pytest.raises(ValueError, match="must have product_code and product_name"):
        data.studio_names(tmp_path)
