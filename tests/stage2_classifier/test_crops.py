"""Regions, shaking, balancing and studio photos: what the classifier learns from."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion.boxes import iou
from fusion.views import crop
from photos.data import Category, Photo
from photos.studio import content_mask, studio_folder, studio_names
from stage2_classifier import crops
from stage2_classifier.config import Columns

PHOTO = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
CATEGORIES = (Category(3, "Fjell Te"), Category(9, "Dal Te"))


def test_no_regions_give_no_crops() -> None:
    made = crops.crops_of([], np.zeros(0, np.int64), np.zeros(4), crops.CropFormat(32, 0.0), np.random.default_rng(0))
    assert made.shape == (0, 32, 32, 3)


def test_an_unshaken_crop_of_a_region_is_the_crop_of_the_photo() -> None:
    box = np.array([50, 60, 90, 110], np.float32)
    region = crops.cut(PHOTO, box, 0, 48)
    made = crops.crops_of([region], np.array([0]), np.zeros(4), crops.CropFormat(48, 0.1), np.random.default_rng(0))
    np.testing.assert_array_equal(made[0], crop(PHOTO, box, 48, 0.1))


def test_a_region_at_the_edge_stays_inside_the_photo() -> None:
    region = crops.cut(PHOTO, np.array([0, 0, 40, 40], np.float32), 1, 48)
    assert region.box.tolist() == [0, 0, 40, 40]
    assert region.image.shape == (56, 56, 3)


def test_a_large_box_is_kept_at_so_many_crops_sizes() -> None:
    region = crops.cut(PHOTO, np.array([10, 10, 210, 110], np.float32), 0, 32)
    assert max(region.box[2:] - region.box[:2]) == pytest.approx(crops.DETAIL * 32)
    assert crops.megabytes([region, region]) == pytest.approx(2 * region.image.nbytes / 1e6)


def test_box_error_recovers_the_noise_it_is_given() -> None:
    rng = np.random.default_rng(1)
    truth = np.concatenate([rng.uniform(0, 100, (4000, 2)), rng.uniform(150, 300, (4000, 2))], 1).astype(np.float32)
    error = np.array([0.02, 0.05, 0.03, 0.08])
    found = np.stack([crops.shake(box, error, rng) for box in truth])
    np.testing.assert_allclose(crops.box_error([truth], [found]), error, rtol=0.1)


@pytest.mark.parametrize("n", [pytest.param(0, id="no pairs"), pytest.param(19, id="too few pairs")])
def test_without_enough_pairs_the_error_is_the_typical_one(n: int) -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (n, 1))
    assert crops.box_error([boxes], [boxes]).tolist() == list(crops.TYPICAL_ERROR)


@pytest.mark.parametrize(
    ("balance", "share"), [pytest.param(0.0, 0.1, id="as they come"), pytest.param(1.0, 0.5, id="all alike")]
)
def test_balance_sets_the_share_of_a_rare_name(balance: float, share: float) -> None:
    labels = np.repeat([0, 1], [90, 10])
    picks = crops.draw_order(labels, Columns(2), balance, 0.0, 20000, np.random.default_rng(0))
    assert np.mean(picks >= 90) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_the_unknown_product_is_drawn_as_it_comes_and_background_by_its_share(balance: float) -> None:
    labels = np.repeat([0, 1, 2, 3], [600, 20, 380, 77])
    columns = Columns(3, unknown=2, background=True)
    drawn = labels[crops.draw_order(labels, columns, balance, 0.25, 40000, np.random.default_rng(0))]
    share = np.bincount(drawn, minlength=4) / len(drawn)
    assert share[3] == pytest.approx(0.25, abs=0.01)
    assert share[2] == pytest.approx(0.75 * 0.38, abs=0.01)
    rare = 20 ** (1 - balance) / (20 ** (1 - balance) + 600 ** (1 - balance))
    assert share[1] == pytest.approx(0.75 * 0.62 * rare, abs=0.01)


@pytest.mark.parametrize("label", [0, 1, 2], ids=["a name alone", "the unknown alone", "background alone"])
def test_regions_of_one_kind_are_all_drawn(label: int) -> None:
    picks = crops.draw_order(np.full(5, label), Columns(2, 1, True), 0.5, 0.2, 500, np.random.default_rng(0))
    assert set(picks) == set(range(5))


def shelf_photo(n: int = 12) -> Photo:
    corners = np.stack([np.arange(n) % 4 * 60 + 20, np.arange(n) // 4 * 60 + 10], 1)
    boxes = np.concatenate([corners, corners + np.array([45, 50])], 1).astype(np.float32)
    return Photo(1, Path("a.jpg"), 300, 200, boxes, np.zeros(n, np.int64), np.arange(n), None)


def test_background_boxes_show_no_product_and_lie_on_the_photo() -> None:
    photo = shelf_photo()
    boxes = crops.background_boxes(photo, 60, np.random.default_rng(0))
    assert len(boxes) == 60
    assert iou(boxes, photo.boxes).max() < crops.NO_PRODUCT
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (300, 200)).all()
    assert (boxes[:, 2:] - boxes[:, :2]).min() > 5


def test_background_is_the_last_label_and_leaves_the_products() -> None:
    photo = shelf_photo()
    wrong = np.array([[0, 0, 8, 8], [20, 10, 65, 60]], np.float32)  # the second is on a product
    more = crops.with_background(photo, Columns(7, background=True), np.random.default_rng(0), wrong)
    np.testing.assert_array_equal(more.boxes[:12], photo.boxes)
    assert (more.labels[12:] == 7).all()
    assert len(more.boxes) == len(more.labels) == len(more.annotation_ids) == 12 + 6 + 1
    assert more.boxes[-1].tolist() == [0, 0, 8, 8]


def test_a_photo_without_products_has_no_drawn_background() -> None:
    photo = shelf_photo(0)
    assert len(crops.with_background(photo, Columns(7, background=True), np.random.default_rng(0)).boxes) == 0


def test_the_mask_is_the_product_with_the_white_inside_it() -> None:
    picture = np.full((50, 50, 3), 255, np.uint8)
    picture[10:40, 20:30] = (200, 10, 30)
    picture[20:25, 23:27] = 255
    wanted = np.zeros((50, 50), np.uint8)
    wanted[10:40, 20:30] = 255
    np.testing.assert_array_equal(content_mask(picture), wanted)


def studio(root: Path, *folders: str) -> Path:
    for name in folders:
        (root / name).mkdir(parents=True)
        picture = np.full((60, 80, 3), 255, np.uint8)
        picture[20:50, 30:40] = (10, 200, 30)
        cv2.imwrite(str(root / name / "main.jpg"), picture)
    return root


def test_studio_photos_by_folder_name_and_their_content_box(tmp_path: Path) -> None:
    regions = crops.studio_regions(studio(tmp_path, "dal te", "Fjell Te", "unknown"), CATEGORIES, 32)
    assert sorted(r.label for r in regions) == [0, 1]
    assert all(r.studio for r in regions)
    sides = regions[0].box[2:] - regions[0].box[:2]
    np.testing.assert_allclose(sides, [10, 30], atol=4)  # JPEG blurs the edge


@pytest.mark.parametrize("box", [[399.8, 0, 400, 300], [10, 5, 11, 300], [0, 0, 0.2, 0.2], [0, 299.7, 400, 300]])
def test_the_thinnest_box_is_a_region_of_a_pixel_at_least(box: list[float]) -> None:
    region = crops.cut(np.zeros((300, 400, 3), np.uint8), np.array(box, np.float32), 0, 32)
    assert min(region.image.shape) >= 1
    assert crop(region.image, region.box, 32, 0.05).shape == (32, 32, 3)


@pytest.mark.parametrize("wrapped", [False, True], ids=["a list", "under products"])
def test_studio_photos_by_metadata(tmp_path: Path, wrapped: bool) -> None:
    rows = [{"product_code": "123", "product_name": "Dal Te "}]
    (studio(tmp_path, "123") / "metadata.json").write_text(json.dumps({"products": rows} if wrapped else rows))
    assert [r.label for r in crops.studio_regions(tmp_path, CATEGORIES, 32)] == [1]


def test_studio_photos_of_nothing_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of its 1 products has the name of a category"):
        crops.studio_regions(studio(tmp_path, "Strand Kaffe"), CATEGORIES, 32)


def test_a_missing_studio_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a folder with one folder per product; pass --studio DIR"):
        studio_folder(tmp_path, None)


def test_metadata_of_another_form_is_refused(tmp_path: Path) -> None:
    (studio(tmp_path, "123") / "metadata.json").write_text('[{"code": 1}]')
    with pytest.raises(ValueError, match="must have product_code and product_name"):
        studio_names(tmp_path)
