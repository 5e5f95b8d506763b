"""Photos that EXIF turns: every path from the data set to run.py sees the same pixels under a box."""

from pathlib import Path

import cv2
import pytest
from exif_photos import SIZES, labelled, shows_product

from photos.data import read_image
from photos.exif import convention
from stage1_detector.torch_engine.canvases import Canvases
from stage1_detector.torch_engine.loop import LoopConfig
from stage1_detector.ultralytics_engine import yolo
from stage2_classifier.crops import shelf_regions
from submission import run


@pytest.mark.parametrize("labels", ["stored", "turned"])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_path_sees_the_product_in_its_box(tmp_path: Path, orientation: int, shape: str, labels: str) -> None:
    dataset = labelled(tmp_path / "data", [(orientation, shape, labels)])
    (photo,) = dataset.photos
    assert shows_product(read_image(photo.path, photo.width, photo.height), photo.boxes[0])
    assert shows_product(run.read_photo(photo.path, convention(dataset)), photo.boxes[0])

    (copy,) = yolo.link_photos(dataset.photos, tmp_path / "ultralytics", agnostic=True).iterdir()
    as_ultralytics = cv2.cvtColor(cv2.imread(str(copy), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # it applies EXIF
    assert shows_product(as_ultralytics, photo.boxes[0])
    assert copy.is_symlink() == (orientation == 1)

    canvas, boxes, _ = Canvases(dataset.photos, (), LoopConfig("retinanet", size=64), agnostic=True).sample(
        0, 64, plain=True, seed=0
    )
    assert shows_product(canvas, boxes[0])
    (region,) = shelf_regions(dataset.photos, 96)
    assert shows_product(region.image, region.box)
