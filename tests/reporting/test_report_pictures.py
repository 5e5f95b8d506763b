"""Pictures in the page show what they are asked for, at a size that it can carry."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photos.data import Photo, no_boxes
from reporting import pictures
from reporting.pictures import View, encode


def photo_at(path: Path, number: int, width: int = 200, height: int = 100) -> Photo:
    """A photo whose left half is red and whose right half is blue."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0], image[:, width // 2 :, 2] = 255, 255
    Image.fromarray(image).save(path)
    return Photo(number, path, width, height, no_boxes(), np.zeros(0, np.int64), np.zeros(0, np.int64), None, path.name)


def decoded(uri: str) -> np.ndarray:
    """The pixels of a data URI."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))))


def test_nothing_asked_reads_nothing() -> None:
    assert encode([], []) == {}


@pytest.mark.parametrize(
    ("box", "size", "channel"),
    [
        pytest.param((0, 0, 50, 40), (50, 40), 0, id="a small crop keeps its size"),
        pytest.param((100.4, 0, 199.7, 50), (96, 48), 2, id="a large one is scaled down"),
        pytest.param((180, 90, 230, 130), (20, 10), 2, id="over the photo's edge"),
        pytest.param((30, 30, 30, 30), (1, 1), 0, id="without area"),
    ],
)
def test_a_crop(tmp_path: Path, box: tuple[float, ...], size: tuple[int, int], channel: int) -> None:
    view = View(7, box)  # type: ignore[arg-type]
    picture = encode([view], [photo_at(tmp_path / "a.png", 7)])[view]
    pixels = decoded(picture.uri)
    assert (picture.width, picture.height) == size == pixels.shape[1::-1]
    assert pixels.mean((0, 1)).argmax() == channel


def test_each_photo_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, read = [photo_at(tmp_path / f"{i}.png", i) for i in range(2)], []
    original = pictures.read_image
    monkeypatch.setattr(pictures, "read_image", lambda path, *size: (read.append(path.name), original(path, *size))[1])
    views = [View(0), View(1, (0, 0, 9, 9)), View(0, (0, 0, 9, 9)), View(0)]
    assert set(encode(views, photos)) == set(views)
    assert read == ["0.png", "1.png"]
