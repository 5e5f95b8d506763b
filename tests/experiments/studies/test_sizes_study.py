"""The study of sizes: wrong calls, a shop with two sizes, and what is measured where sizes tell and where they do not."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import SMALL

from experiments.studies import sizes
from fusion.boxes import Detections
from photos.data import Photo
from stage1_detector.synthesis import make_photos
from stage2_classifier.gate.evidence import Evidence

PACKS, NAMES = 16, 6


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--pairs", "0.5"], "--pairs, --out: got 0.5 and None", id="nowhere to keep the shelves"),
        pytest.param(["--pairs", "2", "--out", "o"], "need a share in (0, 1]", id="more than all products"),
        pytest.param(["--shelves", "1"], "--shelves, --deals: got 1 and 0", id="one shelf"),
        pytest.param(["--deals", "-1"], "--shelves, --deals: got 60 and -1", id="fewer than no deals"),
    ],
)
def test_a_wrong_call_is_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sizes.main(["--set", "x", "--run", "D", "R", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_pair_is_one_print_in_two_sizes_as_frequent_together_as_before() -> None:
    shop = make_photos.catalogue(SMALL, 0)
    wide, pairs = sizes.with_pairs(shop, 0.4, np.random.default_rng(0))
    assert len(pairs) == 4 and len(wide.products) == 13 and sum(wide.weights) == pytest.approx(1)
    for i, number in enumerate(pairs):
        small, large = wide.products[number], wide.products[9 + i]
        assert large.family.size == pytest.approx(1.26 * small.family.size)
        assert replace(large, name=small.name, family=small.family) == small
        assert wide.weights[number] == wide.weights[9 + i] == shop.weights[number] / 2


def test_a_shelf_is_drawn_once_and_read_again(tmp_path: Path) -> None:
    shop, _ = sizes.with_pairs(make_photos.catalogue(SMALL, 0), 0.4, np.random.default_rng(0))
    first, again = (sizes.shelf(tmp_path / "0.npz", SMALL, shop, None, np.random.default_rng(seed)) for seed in (1, 2))
    assert len(first["boxes"]) and all((first[key] == again[key]).all() for key in first)
    assert [path.name for path in tmp_path.iterdir()] == ["0.npz"]


def test_a_pairs_probability_is_split_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    names = rng.dirichlet(np.ones(NAMES), 5).astype(np.float32)
    said = {"found": np.zeros((5, 4), np.float32), "scores": np.ones(5, np.float32), "probabilities": names}
    arrays = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "shape": np.array([60, 80, 3])}
    made = sizes.evidence_of(sizes.photo_of(3, arrays), said, np.array([4, 1]), rng)
    split = made.probabilities
    assert split is not None and split.shape == (5, NAMES + 2) and (made.photo.width, made.photo.height) == (80, 60)
    np.testing.assert_allclose(split[:, [4, 1]] + split[:, NAMES:], names[:, [4, 1]], rtol=1e-6)
    np.testing.assert_array_equal(split[:, [0, 2, 3, 5]], names[:, [0, 2, 3, 5]])
    assert 0.2 < (split[:, 4] / names[:, 4]).mean() < 0.8


def shelf_of(i: int, twin_heights: tuple[float, float], rng: np.random.Generator) -> Evidence:
    """Packs of NAMES names, of which the classifier cannot tell 0 from 1."""
    labels = rng.integers(0, NAMES, PACKS)
    tall = 60 * np.exp(
        rng.uniform(-0.5, 0.5) + np.array([*twin_heights, 0, 0.1, -0.1, 0.05])[labels] + rng.normal(0, 0.02, PACKS)
    )
    left = 50.0 + 100 * np.arange(PACKS)
    boxes = np.stack([left, 400 - tall, left + 0.5 * tall, np.full(PACKS, 400.0)], 1).astype(np.float32)
    names = np.full((PACKS, NAMES), 0.02, np.float32)
    names[np.arange(PACKS), labels] = 0.9
    names[np.ix_(labels < 2, [0, 1])] = rng.uniform(0.44, 0.46, ((labels < 2).sum(), 2))
    photo = Photo(i, Path(f"{i}.jpg"), 1800, 600, boxes, labels, np.arange(PACKS), None)
    return Evidence(photo, Detections(boxes, np.full(PACKS, 0.9, np.float32), np.zeros(PACKS, np.int64)), names)


@pytest.mark.parametrize(("heights", "tells"), [((-0.2, 0.2), True), ((0.0, 0.0), False)], ids=["two sizes", "one size"])
def test_sizes_help_where_they_tell_and_are_not_adopted_else(heights: tuple[float, float], tells: bool) -> None:
    rng = np.random.default_rng(0)
    shelves = [shelf_of(i, heights, rng) for i in range(24)]
    train = [e.photo for e in shelves[:8]]
    material = sizes.Material(train, shelves[8:], np.arange(16), 8, NAMES)
    own = sizes.measure(sizes.deal(material, rng), rng)
    assert (own.choice.sizes.weight > 0) is tells and (own.adopted.value > 0.03) is tells
    assert (own.favoured > 0.9) is tells and own.count > 10
    args = Namespace(set="x", pairs=0.0, shelves=0)
    rows = {row["key"]: row for row in sizes.as_records([own], args, "command")}
    assert rows["sizes.x.gain"]["value"] == pytest.approx(own.adopted.value, abs=1e-4)
    assert f"adopted in {int(tells)} of 1 deals" in rows["sizes.x.in_full"]["setting"]
