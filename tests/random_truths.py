"""Random photos with boxes, names and predictions of them, and photos by hand."""

import numpy as np

from fusion.boxes import Detections
from photos.score import Truth

NO_BOXES, NO_LABELS = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)


def boxes_of(rng: np.random.Generator, n: int) -> np.ndarray:
    start = rng.uniform(0, 80, (n, 2))
    return np.concatenate([start, start + rng.uniform(5, 30, (n, 2))], axis=1).astype(np.float32)


def truth_of(rng: np.random.Generator, n: int, n_categories: int) -> Truth:
    return Truth(boxes_of(rng, n), rng.integers(0, n_categories, n))


def guess(rng: np.random.Generator, truth: Truth, n_categories: int, tied: bool) -> Detections:
    """Some of the truth, shifted, some of it twice or renamed, and some boxes of nothing."""
    pick = rng.integers(0, len(truth.boxes), rng.integers(0, 2 * len(truth.boxes))) if len(truth.boxes) else NO_LABELS
    extra = int(rng.integers(0, 6))
    boxes = np.concatenate([truth.boxes[pick] + rng.normal(0, 2, (len(pick), 4)), boxes_of(rng, extra)]).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    labels = np.concatenate([truth.labels[pick], rng.integers(0, n_categories, extra)])
    labels = np.where(rng.random(len(labels)) < 0.3, rng.integers(0, n_categories, len(labels)), labels)
    values = rng.integers(0, 5, len(labels)) / 4 if tied else rng.uniform(0, 1, len(labels))
    return Detections(boxes, values.astype(np.float32), labels)


def case(rng: np.random.Generator, n_photos: int = 5, n_categories: int = 4, tied: bool = False) -> tuple[list, list, int]:
    truths = [truth_of(rng, int(rng.integers(0, 12)), n_categories) for _ in range(n_photos)]
    return truths, [guess(rng, truth, n_categories, tied) for truth in truths], n_categories


def on_one(labels: list[int], boxes: list[list[float]]) -> Truth:
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))


def with_scores(truth: Truth, values: list[float]) -> Detections:
    return Detections(truth.boxes, np.array(values, np.float32), truth.labels)


A, B, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [60, 60, 70, 70]
