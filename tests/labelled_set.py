"""A small labelled set in COCO's layout, written as a test wants it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32


def write_photo(path: Path) -> None:
    Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))).convert("RGB").save(path)


def content() -> dict[str, Any]:
    """Two photos, one box each, and one product of which there is no box."""
    images = [{"id": i, "file_name": f"img_{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in (1, 2)]
    boxes = [{"id": 17, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3.5, 4], "area": 14, "iscrowd": 0},
             {"id": 18, "image_id": 2, "category_id": 4, "bbox": [5, 6, 7, 8]}]  # fmt: skip
    return {"images": images, "annotations": boxes, "categories": [{"id": 9, "name": "tea"}, {"id": 4, "name": ""}]}


def write(root: Path, **files: Any) -> Path:
    """Write {name: content} as JSON and a photo for each .jpg or .jpeg that the contents name."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    for name, one in files.items():
        (root / f"{name}.json").write_text(json.dumps(one))
        for image in one["images"]:
            if isinstance(image, dict) and str(image.get("file_name")).lower().endswith(("jpg", "jpeg")):
                write_photo(root / "images" / image["file_name"])
    return root
