"""A folder with one photo, as the sandbox is given it."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 24)).save(tmp_path / "photos" / "img_00001.jpg")
    return tmp_path / "photos"
