"""Simulated evidence: boxes found rightly, a detector and a classifier that name a given share of them rightly and say so."""

from pathlib import Path

import numpy as np

from fusion.boxes import Detections
from photos.data import Photo
from stage2_classifier.gate.evidence import Evidence

C = 6


def simulated_photos(
    rng: np.random.Generator, n_photos: int, detector: float, classifier: float, per_photo: int = 8
) -> list[Evidence]:
    """`n_photos` photos: all boxes found, and the shares of names that detector and classifier get right."""
    return [simulated_photo(rng, i, per_photo, detector, classifier) for i in range(n_photos)]


def simulated_photo(rng: np.random.Generator, i: int, n: int, detector: float, classifier: float) -> Evidence:
    corners = np.stack([np.arange(n) * 20, np.zeros(n)], 1)
    boxes = np.concatenate([corners, corners + 15], 1).astype(np.float32)
    labels = rng.integers(0, C, n)
    photo = Photo(i, Path(f"{i}.jpg"), 400, 400, boxes, labels, np.arange(n), None)
    merged = Detections(
        boxes, rng.uniform(0.5, 1, n).astype(np.float32), np.zeros(n, np.int64), simulated_names(rng, labels, detector, 0.9)
    )
    return Evidence(photo, merged, simulated_names(rng, labels, classifier, 1.0))


def simulated_names(rng: np.random.Generator, labels: np.ndarray, share_right: float, total: float) -> np.ndarray:
    """Distributions (N, C) whose best name is right in `share_right` of the rows, its probability (calibrated)."""
    right = rng.uniform(size=len(labels)) < share_right
    names = np.where(right, labels, (labels + rng.integers(1, C, len(labels))) % C)
    rows = np.full((len(labels), C), (1 - share_right) / (C - 1))
    rows[np.arange(len(labels)), names] = share_right
    return (total * rows).astype(np.float32)
