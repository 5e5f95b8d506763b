"""Random boxes that overlap in ways that matter to merging, with scores and class evidence."""

import numpy as np
import pytest

from fusion.boxes import Detections


def scattered(rng: np.random.Generator, n: int) -> np.ndarray:
    start = rng.uniform(0, 0.7, (n, 2))
    return np.concatenate([start, start + rng.uniform(0.02, 0.3, (n, 2))], axis=1).astype(np.float32)


def on_a_grid(rng: np.random.Generator, n: int) -> np.ndarray:
    """Boxes on few points: many touch, many are the same, and overlaps hit round limits exactly."""
    start = rng.integers(0, 6, (n, 2))
    return (np.concatenate([start, start + rng.integers(1, 4, (n, 2))], axis=1) / 10).astype(np.float32)


def jittered(rng: np.random.Generator, n: int) -> np.ndarray:
    """Few products, each seen many times."""
    return np.clip(scattered(rng, 5)[rng.integers(0, 5, n)] + rng.normal(0, 0.002, (n, 4)), 0, 1).astype(np.float32)


LAYOUTS = [pytest.param(f, id=f.__name__) for f in (scattered, on_a_grid, jittered)]


def some_scores(rng: np.random.Generator, n: int, tied: bool) -> np.ndarray:
    return (rng.integers(1, 9, n) / 8 if tied else rng.uniform(0.01, 1, n)).astype(np.float32)


def random_detections(rng: np.random.Generator, n: int, n_classes: int | None = None) -> Detections:
    vectors = None if n_classes is None else rng.uniform(0, 1, (n, n_classes)).astype(np.float32)
    return Detections(jittered(rng, n) * 1000, some_scores(rng, n, False), rng.integers(0, 3, n), vectors)
