"""Sizes beside neighbours tell packs of one print apart, at any scale of the photo, and change nothing else."""

import json
from dataclasses import replace
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest

from fusion.boxes import Detections, scale_around
from fusion.ensemble import parse
from fusion.models import Sizes, sized

SMALL, LARGE, OTHER = 0, 1, 2
SIZES = Sizes(weight=1.0, means=[-0.1, 0.2, 0.0], spreads=[0.05, 0.05, 0.04])
WIDTH, HEIGHT = 2000, 1000
KNOWN, UNSURE = [0.0, 0.02, 0.95], [0.45, 0.45, 0.0]  # rows of probabilities; the rest is background


def shelf(heights: list[float], zoom: float = 1.0) -> Detections:
    """Packs side by side, 100 pixels apart, of these heights and half as wide."""
    left, h = 100.0 + 100 * np.arange(len(heights)), np.array(heights, float)
    boxes = np.stack([left, 600 - h, left + h / 2, np.full(len(h), 600.0)], 1) * zoom
    return Detections(boxes.astype(np.float32), np.full(len(h), 0.9, np.float32), np.zeros(len(h), np.int64))


def rows(*own: list[float]) -> np.ndarray:
    return np.array(own, np.float32).reshape(-1, 3)


@pytest.mark.parametrize("zoom", [0.3, 1.0, 1.6])
def test_the_size_beside_sure_neighbours_decides_at_any_scale(zoom: float) -> None:
    base = 100.0
    merged = shelf([base, base * exp(-0.1), base, base * exp(0.2), base], zoom)
    given = rows(KNOWN, UNSURE, KNOWN, UNSURE, KNOWN)
    judged = sized(given, merged, SIZES, WIDTH * zoom, HEIGHT * zoom)
    assert judged[1, SMALL] > 0.8 and judged[3, LARGE] > 0.8
    np.testing.assert_allclose(judged.sum(1), given.sum(1), rtol=1e-5)  # background keeps its share
    assert (judged[[0, 2, 4]].argmax(1) == OTHER).all() and judged.dtype == np.float32


@pytest.mark.parametrize(
    ("merged", "given", "sizes"),
    [
        pytest.param(shelf([]), rows(), SIZES, id="no boxes"),
        pytest.param(shelf([100, 120]), rows(KNOWN, UNSURE), replace(SIZES, weight=0.0), id="weight 0"),
        pytest.param(shelf([100, 120]), rows(KNOWN, UNSURE), Sizes(weight=1.0), id="no known sizes"),
        pytest.param(shelf([120]), rows(UNSURE), SIZES, id="a box without neighbours"),
        pytest.param(shelf([100, 590]), rows([np.nan] * 3, [np.nan] * 3), SIZES, id="no names"),
    ],
)
def test_without_anything_to_tell_nothing_changes(merged: Detections, given: np.ndarray, sizes: Sizes) -> None:
    np.testing.assert_allclose(sized(given, merged, sizes, WIDTH, HEIGHT), given, rtol=1e-5)


def test_a_box_that_the_edge_cuts_neither_changes_nor_counts() -> None:
    merged = shelf([100, 120, 100, 300])
    cut = merged.boxes.copy()
    cut[3, 0] = 0.0
    merged, given = replace(merged, boxes=cut), rows(KNOWN, UNSURE, KNOWN, KNOWN)
    judged = sized(given, merged, SIZES, WIDTH, HEIGHT)
    without = sized(given[:3], merged.take(np.arange(3)), SIZES, WIDTH, HEIGHT)
    assert (judged[3] == given[3]).all()
    np.testing.assert_allclose(judged[1], without[1], rtol=1e-2)  # but for the side of a usual box


def test_a_row_without_a_name_stays_so_and_does_not_count() -> None:
    merged = shelf([100, 120, 100, 40])
    judged = sized(rows(KNOWN, UNSURE, KNOWN, [np.nan] * 3), merged, SIZES, WIDTH, HEIGHT)
    assert np.isnan(judged[3]).all() and judged[1, LARGE] > judged[1, SMALL]


def test_a_name_after_the_last_is_of_any_size() -> None:
    given = np.pad(rows(KNOWN, UNSURE, KNOWN), ((0, 0), (0, 1)), constant_values=0.05)
    judged = sized(given, shelf([100, 122, 100]), SIZES, WIDTH, HEIGHT)
    assert judged[1, LARGE] > judged[1, 3] > judged[1, SMALL]


def slowly(given: np.ndarray, merged: Detections, sizes: Sizes) -> np.ndarray:
    """The definition, box by box and name by name, for whole boxes and names that are all known."""
    boxes, n = merged.boxes.astype(float), len(merged)
    size = [log(box[3] - box[1]) for box in boxes]
    usual = float(np.median([sqrt((b[2] - b[0]) * (b[3] - b[1])) for b in boxes]))
    mass = given.sum(1)
    expected = [sum(p * m for p, m in zip(row, sizes.means, strict=True)) / row.sum() for row in given]
    variance = [
        sum(p / row.sum() * ((m - expected[i]) ** 2 + s**2) for p, m, s in zip(row, sizes.means, sizes.spreads, strict=True))
        for i, row in enumerate(given)
    ]
    out = np.zeros_like(given)
    for i in range(n):
        near = [0.01 + exp(-(sum((boxes[i, k] + boxes[i, k + 2] - boxes[j, k] - boxes[j, k + 2]) ** 2 / 4 for k in (0, 1)))
                           / (2 * (sizes.reach * usual) ** 2)) if j != i else 0.0 for j in range(n)]  # fmt: skip
        precision = [merged.scores[j] * mass[j] / variance[j] for j in range(n)]
        total = sum(near[j] * precision[j] for j in range(n))
        scale = sum(near[j] * precision[j] * (size[j] - expected[j]) for j in range(n)) / total
        doubt = sum(near[j] ** 2 * precision[j] for j in range(n)) / total**2
        for c, (m, s) in enumerate(zip(sizes.means, sizes.spreads, strict=True)):
            v = s**2 + doubt
            out[i, c] = given[i, c] * (exp(-min((size[i] - scale - m) ** 2 / v, 9.0) / 2) / sqrt(v)) ** sizes.weight
        out[i] *= mass[i] / out[i].sum()
    return out


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_it_is_the_definition(weight: float) -> None:
    rng = np.random.default_rng(0)
    merged, given = (
        shelf(rng.uniform(80, 130, 7).tolist()),
        rng.dirichlet(np.full(3, 3.0), 7).astype(np.float32) * np.float32(0.9),
    )
    own = replace(SIZES, weight=weight)
    np.testing.assert_allclose(sized(given, merged, own, WIDTH, HEIGHT), slowly(given, merged, own), rtol=1e-4)


def test_the_side_is_the_same_for_a_pack_that_lies() -> None:
    judged = []
    for third in ([300, 300, 350, 400], [300, 300, 400, 350]):
        boxes = np.array([[100, 300, 160, 380], [200, 300, 260, 380], third], np.float32)
        merged = Detections(boxes, np.full(3, 0.9, np.float32), np.zeros(3, np.int64))
        judged.append(sized(rows(KNOWN, KNOWN, UNSURE), merged, replace(SIZES, measure="side"), WIDTH, HEIGHT))
    np.testing.assert_allclose(judged[0], judged[1], atol=0.02)  # but for the place of the middle
    assert not np.allclose(judged[0][2], UNSURE, atol=0.02)


def test_no_neighbour_tells_no_scale() -> None:
    scale, variance = scale_around(np.zeros((2, 2)), np.ones(2), np.ones(2))
    assert scale.tolist() == [0, 0] and (variance >= 1e6).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        pytest.param({"measure": "weight"}, "got 'weight' with 0 means and 0 spreads, need one of height, side", id="measure"),
        pytest.param({"means": [0.1]}, "1 means and 0 spreads", id="means without spreads"),
        pytest.param({"means": [0.1], "spreads": [0.0]}, "spreads and reach > 0", id="a spread of 0"),
        pytest.param({"span": 1}, "unknown field 'span'", id="unknown field"),
    ],
)
def test_sizes_that_are_wrong_are_refused(sizes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse({"categories": [1], "detectors": [{"file": "one.onnx", "views": [{}]}], "sizes": sizes})


def test_an_ensemble_without_sizes_reads_as_before(tmp_path: Path) -> None:
    values = json.loads(json.dumps({"categories": [1], "detectors": [{"file": "one.onnx", "views": [{}]}]}))
    assert parse(values).sizes == Sizes() and parse(values).sizes.weight == 0
