"""A shop of two colours and the models that know them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from constant_models import CANDIDATES, save_model
from cosine_models import GREEN, RED, save_classifier
from taught_shop import IDS, SCALE

from photos import folds


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """R: a classifier that knows red and green, in an ensemble with a detector that knows the same."""
    root = tmp_path / "runs"
    save_classifier(root / "eye" / "model.onnx", [SCALE * np.stack([RED, GREEN], 1)], IDS)
    save_model(root / "all", np.concatenate([CANDIDATES[:4], [[0.8, 0.1], [0.1, 0.7]]]), task="detector", categories=IDS)
    ensemble = {
        "categories": IDS,
        "names": ["Red Tea", "Green Tea"],
        "detectors": [{"file": "all/model.onnx", "evidence_weight": 1.0, "views": [{"size": 64}]}],
        "classifiers": [{"file": "eye/model.onnx"}],
        "gate": {"policy": "agree"},
    }
    (root / "ensemble.json").write_text(json.dumps(ensemble))
    return root


@pytest.fixture
def shop(tmp_path: Path, runs: Path) -> Path:
    """Shelf photos of the red and the green product, and folds."""
    data, annotations = tmp_path / "shop", []
    (data / "images").mkdir(parents=True)
    for i in range(1, 7):
        image = np.full((60, 120, 3), 128, np.uint8)
        for j, (category, bgr) in enumerate(((3, (30, 30, 200)), (7, (30, 200, 30)))):
            image[10:50, 10 + 50 * j : 40 + 50 * j] = bgr
            annotations.append({"id": 2 * i + j, "image_id": i, "category_id": category, "bbox": [10 + 50 * j, 10, 30, 40]})
        cv2.imwrite(str(data / "images" / f"img_{i:05d}.jpg"), image)
    images = [{"id": i, "file_name": f"img_{i:05d}.jpg", "width": 120, "height": 60} for i in range(1, 7)]
    categories = [{"id": 3, "name": "Red Tea"}, {"id": 7, "name": "Green Tea"}]
    (data / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    assert folds.main(["--data", str(data), "--out", str(runs), "--groups", "photo"]) == 0
    return data
