"""Further names cannot lower either part of the score: the argument in `decide`, held against random photos."""

import numpy as np
import pytest

from fusion.boxes import Detections
from fusion.gate import Gate, decide
from photos.score import Truth, evaluate

SETS = 600
C = 4


def one_photo(rng: np.random.Generator) -> tuple[Truth, Detections, np.ndarray]:
    """A few true boxes, found boxes on and beside them (some on the same one), and names that are often wrong."""
    corners = rng.integers(0, 40, (rng.integers(0, 5), 2))
    true = np.concatenate([corners, corners + rng.integers(8, 20, corners.shape)], 1).astype(np.float32)
    n = int(rng.integers(0, 8))
    near = true[rng.integers(0, len(true), n)] if len(true) else np.tile(np.array([[0, 0, 9, 9]], np.float32), (n, 1))
    found = (near + rng.normal(0, 1.5, near.shape)).astype(np.float32)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    scores = rng.choice([0.2, 0.5, 0.5, 0.9, 0.9 - 6e-8, 1e-5], n).astype(np.float32)  # ties are common, and near ties
    evidence = rng.dirichlet(np.full(C, 0.5), n).astype(np.float32).reshape(n, C)
    names = rng.dirichlet(np.full(C + 1, 0.5), n).astype(np.float32).reshape(n, C + 1)[:, :C]
    return Truth(true, rng.integers(0, C, len(true))), Detections(found, scores, np.zeros(n, np.int64), evidence), names


@pytest.mark.slow
def test_neither_part_of_the_score_falls_on_random_sets_and_naming_often_gains() -> None:
    rng, gains = np.random.default_rng(0), []
    for _ in range(SETS):
        photos = [one_photo(rng) for _ in range(rng.integers(1, 4))]
        gate = Gate(str(rng.choice(["raw", "detector", "product"])), name_exponent=float(rng.choice([0.0, 0.5, 2.0])))
        more = Gate(gate.policy, name_exponent=gate.name_exponent, further=int(rng.integers(1, C)))
        most = None if rng.random() < 0.5 else int(rng.integers(0, 6))
        truths = [truth for truth, _, _ in photos]
        before, after = (evaluate(truths, [decide(m, p, g, most) for _, m, p in photos], C) for g in (gate, more))
        assert after.det_map50 >= before.det_map50 - 1e-12
        assert after.cls_map50 >= before.cls_map50 - 1e-12
        gains.append(after.cls_map50 - before.cls_map50)
    assert np.mean(np.array(gains) > 0.01) > 0.2  # the test would see nothing if further names did nothing
