"""Photos that EXIF turns: every path from the data set to run.py sees the same pixels under a box."""

from pathlib import Path

import pytest

from experiments.performance.exif_photos import LABELS, SIZES, labelled, shows_product
from experiments.performance.photo_reading import readings


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_path_sees_the_product_in_its_box(tmp_path: Path, orientation: int, shape: str, labels: str) -> None:
    dataset = labelled(tmp_path / "data", [(orientation, shape, labels)])
    seen = list(readings(dataset, tmp_path / "ultralytics"))
    assert [reading.reader for reading in seen if not shows_product(reading.image, reading.box)] == []
    assert [reading.reader for reading in seen if reading.error() > 1] == []
    (copy,) = (tmp_path / "ultralytics" / "images").iterdir()
    assert copy.is_symlink() == (orientation == 1)


def test_a_box_elsewhere_is_noticed(tmp_path: Path) -> None:
    reading = next(readings(labelled(tmp_path / "data", [(6, "landscape", "turned")]), tmp_path / "ultralytics"))
    assert reading._replace(box=reading.box + 5).error() >= 4
    assert reading._replace(image=reading.image[:, ::-1]).error() > 4
