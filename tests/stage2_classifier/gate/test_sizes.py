"""Sizes of names are found whatever the photos' scales; they count where they are shown to tell twins apart, and else not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from resampled_groups import groups_drawn_by

from fusion.boxes import Detections
from fusion.gate import Gate
from fusion.models import Sizes
from photos.data import Photo
from photos.intervals import Interval
from stage2_classifier.gate import sizes
from stage2_classifier.gate.choose import Choice, only_policy, turns
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.sizes import SizesChoice, choose_sizes, fit_sizes, tables_of

NAMES = 4  # 0 and 1 are twins: one print, two sizes
LOG_HEIGHTS = np.array([-0.15, 0.15, 0.0, 0.1])
PHOTOS, PER_PHOTO = 12, 20


def photo_of(i: int, rng: np.random.Generator, heights: np.ndarray = LOG_HEIGHTS, lying: float = 0.0) -> Photo:
    """A shelf at a scale of its own, its boxes far from the edges; a share `lying` of the packs lies on its side."""
    labels = rng.integers(0, NAMES, PER_PHOTO)
    tall = np.exp(rng.uniform(3.5, 4.5) + heights[labels] + rng.normal(0, 0.03, PER_PHOTO))
    wide = 0.5 * tall
    lies = rng.uniform(size=PER_PHOTO) < lying
    tall, wide = np.where(lies, wide, tall), np.where(lies, tall, wide)
    left, bottom = 100 + 150 * (np.arange(PER_PHOTO) % 10), 300 + 300 * (np.arange(PER_PHOTO) // 10)
    boxes = np.stack([left, bottom - tall, left + wide, bottom], 1).astype(np.float32)
    return Photo(i, Path(f"{i}.jpg"), 1800, 800, boxes, labels, np.arange(PER_PHOTO), None)


def evidence_of(photo: Photo, twins: float) -> Evidence:
    """All boxes found; the classifier gives a twin's right name `twins`, the other twin the rest."""
    names = np.full((PER_PHOTO, NAMES), 0.01, np.float32)
    for row, label in zip(names, photo.labels, strict=True):
        row[label] = 0.97
        if label < 2:
            row[[label, 1 - label]] = 0.98 * twins, 0.98 * (1 - twins)
    merged = Detections(photo.boxes, np.full(PER_PHOTO, 0.9, np.float32), np.zeros(PER_PHOTO, np.int64))
    return Evidence(photo, merged, names)


def chosen(held_out: list[Photo], train: list[Photo], twins: float, policy: str = "raw", per_scene: int = 1) -> SizesChoice:
    scenes = np.arange(len(held_out)) // per_scene
    evidence = [evidence_of(photo, twins) for photo in held_out]
    choice = Choice(Gate(policy), None, Gate(policy))
    if policy == "raw" and held_out:
        choice = only_policy("raw", evidence, scenes, turns(scenes, 4, np.random.default_rng(0)))
    tables = tables_of([(train, held_out)], train, NAMES)
    return choose_sizes(evidence, tables, choice, scenes, np.random.default_rng(0))


def shelves(seed: int, heights: np.ndarray = LOG_HEIGHTS) -> list[Photo]:
    rng = np.random.default_rng(seed)
    return [photo_of(100 * seed + i, rng, heights) for i in range(PHOTOS)]


@pytest.mark.parametrize(
    "photos",
    [
        pytest.param([], id="no photos"),
        pytest.param([replace(photo_of(0, np.random.default_rng(0)), boxes=np.zeros((0, 4), np.float32),
                              labels=np.zeros(0, np.int64))], id="no boxes"),
        pytest.param([replace(photo_of(0, np.random.default_rng(0)), boxes=np.full((1, 4), [100, 100, 150, 200], np.float32),
                              labels=np.zeros(1, np.int64))], id="one box"),
    ],
)  # fmt: skip
def test_without_neighbours_no_sizes_are_known(photos: list[Photo]) -> None:
    assert fit_sizes(photos, NAMES) == (Sizes(), 0, 0.0)


def test_the_sizes_are_those_that_the_shelves_were_made_with() -> None:
    table, n_photos, spread = fit_sizes(shelves(1), NAMES)
    means = np.array(table.means)
    np.testing.assert_allclose(means - means.mean(), LOG_HEIGHTS - LOG_HEIGHTS.mean(), atol=0.02)
    assert table.weight == 0 and n_photos == PHOTOS
    assert 0.02 < spread < 0.04 and all(0.02 < own < 0.06 for own in table.spreads)


def test_a_name_that_no_photo_shows_is_of_any_size() -> None:
    table = fit_sizes(shelves(1), NAMES + 1).sizes
    assert table.spreads[NAMES] > 2 * max(table.spreads[:NAMES]) and abs(table.means[NAMES]) < 0.1


def test_packs_that_lie_in_any_direction_are_measured_by_their_side() -> None:
    rng = np.random.default_rng(0)
    assert fit_sizes([photo_of(i, rng, lying=0.5) for i in range(PHOTOS)], NAMES).sizes.measure == "side"


def test_of_many_boxes_every_other_photo_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = shelves(1)
    monkeypatch.setattr(sizes, "MOST_PAIRS", PHOTOS * PER_PHOTO**2 - 1)
    assert fit_sizes(photos, NAMES).n_photos == PHOTOS // 2
    assert [photo.id for photo in sizes.evenly(photos)] == [photo.id for photo in photos[::2]]


def test_sizes_count_where_twins_are_told_apart_by_them() -> None:
    choice = chosen(shelves(1), shelves(2), 0.5)
    assert choice.gain is not None and choice.gain.low > 0.02 and choice.sizes.weight == choice.offered > 0
    assert choice.adopted == choice.sizes and "count by" in str(choice)


@pytest.mark.parametrize(
    ("heights", "twins"),
    [
        pytest.param(LOG_HEIGHTS, 0.98, id="the classifier knows the twins apart"),
        pytest.param(0 * LOG_HEIGHTS, 0.55, id="all packs are of one size"),
    ],
)
def test_sizes_do_not_count_where_they_gain_nothing(heights: np.ndarray, twins: float) -> None:
    choice = chosen(shelves(1, heights), shelves(2, heights), twins)
    assert choice.gain is not None and choice.gain.low <= 0
    assert choice.sizes.weight == 0 and choice.adopted == Sizes() and "not used" in str(choice)


@pytest.mark.parametrize(("low", "counts"), [(-0.001, False), (0.0, False), (0.001, True)])
def test_a_gain_counts_where_its_whole_interval_is_above_zero(
    low: float, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "widened", lambda *_: Interval(0.05, low, 0.1, PHOTOS))
    choice = chosen(shelves(1), shelves(2), 0.5)
    assert choice.offered > 0 and choice.sizes.weight == (choice.offered if counts else 0.0)


def test_the_weight_of_a_turn_is_fitted_without_its_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_on: list[np.ndarray] = []
    monkeypatch.setattr(sizes, "best_weight", lambda _, photos: fitted_on.append(photos) or 0.0)
    chosen(shelves(1), shelves(2), 0.5)
    *of_turns, shipped = fitted_on
    assert shipped.all() and len(of_turns) > 1
    np.testing.assert_array_equal(np.sum(~np.array(of_turns), 0), 1)  # each photo is left out of one turn's fit


@pytest.mark.parametrize(
    ("held_out", "train", "policy"),
    [
        pytest.param([], shelves(2), "raw", id="no photos"),
        pytest.param(shelves(1)[:2], shelves(2), "raw", id="two scenes"),
        pytest.param(shelves(1), [], "raw", id="no sizes known"),
        pytest.param(shelves(1), shelves(2), "detector", id="the classifier does not name"),
    ],
)
def test_where_nothing_can_be_shown_sizes_do_not_count(held_out: list[Photo], train: list[Photo], policy: str) -> None:
    choice = chosen(held_out, train, 0.5, policy)
    assert choice.gain is None and choice.adopted == Sizes() and "too few scenes" in str(choice)


def test_the_gain_of_sizes_is_over_scenes_and_not_over_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = groups_drawn_by(sizes, monkeypatch)
    choice = chosen(shelves(1), shelves(2), 0.5, per_scene=2)
    assert choice.gain is not None and (choice.gain.n_groups, drawn) == (6, [6])
