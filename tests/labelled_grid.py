"""Twelve products in three rows, detected and named rightly, whose annotations a test may spoil."""

from pathlib import Path

import numpy as np

from fusion.boxes import Detections
from photos.data import Photo
from stage2_classifier.label_review.suspicions import PhotoEvidence

GRID = np.array([[20 * c, 20 * r, 20 * c + 16, 20 * r + 16] for r in range(3) for c in range(4)], np.float32)  # (12, 4)


def grid_evidence(detected: np.ndarray = GRID, labels: np.ndarray | None = None, boxes: np.ndarray = GRID) -> PhotoEvidence:
    """Twelve products of 3 names in turn, all detected and named rightly (0.96); `boxes` and `labels` are the annotations."""
    truth = np.arange(len(GRID)) % 3
    names = np.full((len(GRID), 3), 0.02, np.float32) + 0.94 * np.eye(3, dtype=np.float32)[truth]  # (12, 3)
    given = names[[int(np.abs(GRID - box).sum(1).argmin()) for box in boxes]].reshape(-1, 3)
    nearest = [int(np.abs(GRID - box).sum(1).argmin()) for box in detected]
    own = truth[[int(np.abs(GRID - box).sum(1).argmin()) for box in boxes]] if labels is None else labels
    photo = Photo(1, Path("a.jpg"), 80, 60, boxes, np.asarray(own, np.int64), np.arange(100, 100 + len(boxes)), None)
    scores, zeros = np.full(len(detected), 0.9, np.float32), np.zeros(len(detected), np.int64)
    return PhotoEvidence(photo, Detections(detected, scores, zeros), names[nearest].reshape(-1, 3), given)
