"""The photos that a zip is tried on are such as run.py looks at, whatever kind the data set has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fitting.ledger import Ledger
from fitting.procedure import Procedure
from fitting.session import Order, Session, lay_as_the_judge
from fitting.wishes import Wishes
from fusion.reading import find_photos
from photos.data import Dataset, Photo, read, read_image
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from tests.fitting.sets import FRIDGE, SPEEDS
from tests.fitting.test_survey import write


def pixels(path: Path, photo: Photo) -> np.ndarray:
    """The pixels of `photo` in the file PATH, int (H, W, 3)."""
    return read_image(path, photo.width, photo.height).astype(int)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".png", ".webp", ".tif"])
def test_run_py_finds_every_photo(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / "data", "annotations", [(64, 48, [(0, 20, 20)]), (48, 64, [(0, 20, 20)])])
    photos = [replace(photo, path=tmp_path / f"{photo.id}{suffix}") for photo in read(tmp_path / "data").photos]
    for photo in photos:
        Image.new("RGB", (photo.width, photo.height), (10 * photo.id, 200, 90)).save(photo.path)
    (place := tmp_path / "place").mkdir()
    lay_as_the_judge([], place)
    assert find_photos(place) == {}
    lay_as_the_judge(photos, place)
    laid = list(find_photos(place).values())
    assert len(laid) == len(photos)
    for path, photo in zip(laid, photos, strict=True):
        assert np.abs(pixels(path, photo) - pixels(photo.path, photo)).mean() < 3


def test_a_fit_goes_on_with_a_table_of_groups_from_another_folder(tmp_path: Path) -> None:
    """The path in the record is as it was written once, perhaps from another folder."""
    (tmp_path / "g.csv").write_text("file_name,scene\n")
    decided = Procedure(DetectorConfig(), ClassifierConfig(), groups="g.csv", pretrained="starter")
    wishes = Wishes(groups=str(tmp_path / "g.csv"), pretrained="auto")  # of an earlier version, whose auto was the starter
    order = Order(Dataset(tmp_path, (), ()), FRIDGE, tmp_path, 9.0, wishes, 0.0)
    ledger = Ledger({}, {}, 9.0, procedure=decided.settings())
    assert Session(order, ledger, SPEEDS).procedure == replace(decided, groups=str(tmp_path / "g.csv"))
