"""How long a dropped photo takes: which photos are dropped, and what is told of their times."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.performance.review_page import figure, photos_of


def put_photos(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for k in range(count):
        Image.new("RGB", (8, 8)).save(folder / f"{k}.png")


@pytest.mark.parametrize(
    ("count", "is_taken"),
    [
        pytest.param(0, False, id="none"),
        pytest.param(1, False, id="one has no spread"),
        pytest.param(2, True, id="two"),
        pytest.param(4, False, id="more than there are"),
    ],
)
def test_as_many_photos_are_dropped_as_are_asked(tmp_path: Path, count: int, is_taken: bool) -> None:
    put_photos(tmp_path / "images", 3)
    if is_taken:
        assert [path.name for path in photos_of(tmp_path, count)] == ["0.png", "1.png"]
    else:
        with pytest.raises(ValueError, match=rf"got {count}, must be in \[2, 3\]"):
            photos_of(tmp_path, count)


def test_the_median_is_told_with_its_spread(tmp_path: Path) -> None:
    seconds = [0.9, 0.5, 0.7, 0.6, 5.0]
    row = figure(Namespace(data=tmp_path / "shelf", model="starter"), [(s, 4) for s in seconds], "a command")
    assert (row["key"], row["value"], row["n"], row["unit"]) == ("review.seconds_per_photo", 0.7, 5, "s")
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(seconds, (0.05, 0.95))))
    assert "4 boxes a photo" in row["setting"] and "median" in row["setting"]
