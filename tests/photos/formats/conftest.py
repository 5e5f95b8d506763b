"""A small set that the tests of layouts write in each of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photos.data import Dataset, read

NAMES = ["tea", "no", "7up"]


def drawn(root: Path) -> Dataset:
    """Six photos in two parts, 0 to 3 boxes each; a product is called `no`, which YAML reads as false."""
    rng = np.random.default_rng(0)
    for part, numbers in (("train", (1, 2, 3, 4)), ("test", (5, 6))):
        images, boxes = [], []
        for i in numbers:
            (root / "images").mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, (6, 8, 3), np.uint8).repeat(10, 0).repeat(10, 1)  # (60, 80, 3)
            Image.fromarray(pixels).save(root / "images" / f"img_{i}.jpg")
            images.append({"id": i, "file_name": f"img_{i}.jpg", "width": 80, "height": 60})
            for _ in range(i % 4):
                x, y = rng.integers(1, 40, 2).tolist()
                boxes.append({"id": len(boxes), "image_id": i, "category_id": 1 + len(boxes) % 3, "bbox": [x, y, 20, 15]})
        categories = [{"id": k, "name": name} for k, name in enumerate(NAMES, 1)]
        (root / f"{part}.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return read(root)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return drawn(tmp_path_factory.mktemp("shop"))
