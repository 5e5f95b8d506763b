"""Regions to ignore are painted over for learning, products on top of them kept, in every engine's input."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fusion.views import PADDING
from photos.data import Photo
from photos.fingerprint import of_labelled, of_photos
from photos.learnt import learnt_image
from photos.photo_file import read_image
from stage1_detector.config import LoopConfig
from stage1_detector.torch_engine.canvases import Canvases
from stage1_detector.ultralytics_engine.photo_layout import link_photos
from stage2_classifier.crops import away


def textured(folder: Path, ignored: list[list[float]], suffix: str = ".jpg") -> Photo:
    """A photo of noise, 96 x 64, with one product at 10..40, 10..50."""
    pixels = np.random.default_rng(0).integers(0, 90, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"a{suffix}")
    boxes, regions = np.array([[10, 10, 40, 50]], np.float32), np.array(ignored, np.float32).reshape(-1, 4)
    return Photo(1, folder / f"a{suffix}", 96, 64, boxes, np.zeros(1, np.int64), np.zeros(1, np.int64), None, "a", regions)


def test_without_regions_the_pixels_are_those_of_the_photo(tmp_path: Path) -> None:
    photo = textured(tmp_path, [])
    np.testing.assert_array_equal(learnt_image(photo), read_image(photo.path, 96, 64))


def test_regions_are_grey_but_for_products(tmp_path: Path) -> None:
    photo = textured(tmp_path, [[29.5, 0, 60, 64]])
    image, shown = read_image(photo.path, 96, 64), learnt_image(photo)
    assert (shown[:, 40:60] == PADDING).all() and (shown[:10, 29:60] == PADDING).all()
    np.testing.assert_array_equal(shown[10:50, 10:40], image[10:50, 10:40])  # the product
    np.testing.assert_array_equal(shown[:, 60:], image[:, 60:])
    np.testing.assert_array_equal(shown[:, :10], image[:, :10])


def test_our_own_loop_learns_from_the_painted_pixels(tmp_path: Path) -> None:
    photo = textured(tmp_path, [[60, 0, 96, 64]])
    canvas, boxes, _ = Canvases((photo,), (), LoopConfig(family="retinanet", size=96), True).sample(0, 96, True, 0)
    assert len(boxes) == 1
    assert (canvas[:64, 62:] == PADDING).all() and not (canvas[:64, :58] == PADDING).all(2).any()


def test_ultralytics_is_given_the_painted_pixels(tmp_path: Path) -> None:
    photo = textured(tmp_path, [[60, 0, 96, 64]])
    (link,) = link_photos((photo,), tmp_path / "linked", True).iterdir()
    assert link.suffix == ".png" and not link.is_symlink()
    np.testing.assert_array_equal(cv2.imread(str(link))[..., ::-1], learnt_image(photo))


def test_ultralytics_is_given_a_suffix_that_fits_the_content(tmp_path: Path) -> None:
    photo = textured(tmp_path, [], ".png")
    photo.path.rename(tmp_path / "a.JPEG")
    (link,) = link_photos((replace(photo, path=tmp_path / "a.JPEG"),), tmp_path / "linked", True).iterdir()
    assert link.suffix == ".png"
    photo = textured(tmp_path, [], ".webp")
    (copy,) = link_photos((photo,), tmp_path / "linked", True).iterdir()
    assert copy.suffix == ".png"
    np.testing.assert_array_equal(cv2.imread(str(copy))[..., ::-1], read_image(photo.path, 96, 64))


def test_no_background_is_taken_from_a_region_to_ignore(tmp_path: Path) -> None:
    photo = textured(tmp_path, [[60, 0, 96, 64]])
    boxes = np.array([[50, 0, 58, 20], [70, 10, 80, 20], [12, 12, 38, 48]], np.float32)
    assert away(boxes, photo).tolist() == [[50, 0, 58, 20]]


def test_what_is_learnt_depends_on_the_regions(tmp_path: Path) -> None:
    with_region, without = textured(tmp_path, [[60, 0, 96, 64]]), textured(tmp_path, [])
    assert of_photos([with_region], None)["boxes"] != of_photos([without], None)["boxes"]
    assert of_labelled([with_region]) != of_labelled([without])
