"""The way of merging: a true gain is adopted, so are fewer views at no loss; without either the default stays."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from place import Place

from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.pipeline import merge
from photos.data import Photo, read
from stage2_classifier.gate import merging_choice
from stage2_classifier.gate.ensemble import default_ensemble
from stage2_classifier.gate.evidence import DetectorOutputs, OutputCache
from stage2_classifier.gate.merging_choice import DEFAULT, WAYS, choose_merging, in_words, kept_views, merged_by

VIEWS = [{"size": 64}, {"size": 64, "flip": True}]
ENSEMBLE = Ensemble([0], [Member("one.onnx", views=VIEWS)], Merge(max_det=200))
Shelf = tuple[Photo, list[list[Detections]]]


def detections(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), np.zeros(len(boxes), np.int64))


def facings(n: int, spacing: float, left: float = 10.0) -> np.ndarray:
    """Boxes (n, 4) of 30 x 80 px, so far apart, from `left` to the right."""
    x = left + spacing * np.arange(n)
    return np.stack([x, np.full(n, 20.0), x + 30, np.full(n, 100.0)], 1)


def shelf(number: int, truth: np.ndarray, views: Sequence[Detections]) -> Shelf:
    labels, annotations = np.zeros(len(truth), np.int64), np.arange(len(truth))
    photo = Photo(number, Path(f"{number}.jpg"), 1000, 120, truth.astype(np.float32), labels, annotations, "valid")
    return photo, [list(views)]


def dense(number: int, rng: np.random.Generator, n: int = 12) -> Shelf:
    """Neighbours overlap by more than WBF's 0.55: it makes one box of several, soft-NMS keeps them."""
    truth = facings(n, spacing=7)
    return shelf(number, truth, [detections(truth + rng.normal(0, 0.3, truth.shape), rng.uniform(0.4, 0.9, n)) for _ in VIEWS])


def scattered(number: int, rng: np.random.Generator, n: int = 12) -> Shelf:
    """Boxes apart, each view with as many false ones of its own: WBF alone ranks what both views saw above them."""
    truth = facings(n, spacing=80)
    views = []
    for _ in VIEWS:
        false = facings(n, spacing=80, left=50)
        boxes = np.concatenate([truth + rng.normal(0, 1, truth.shape), false + rng.normal(0, 9, (n, 1)) * (1, 0, 1, 0)])
        views.append(detections(boxes, rng.uniform(0.4, 0.9, 2 * n)))
    return shelf(number, truth, views)


def mixed(number: int, rng: np.random.Generator, n: int = 12) -> Shelf:
    """Boxes apart; the flip takes false boxes of the plain view down on one photo and adds sure ones on the next: no gain."""
    truth = facings(n, spacing=80)
    false = facings(n, spacing=80, left=50)
    plain = detections(np.concatenate([truth, false]), np.concatenate([rng.uniform(0.4, 0.9, n), rng.uniform(0.2, 0.7, n)]))
    helps = detections(truth, rng.uniform(0.4, 0.9, n))
    hurts = detections(false[:2], np.ones(2))
    return shelf(number, truth, [plain, helps if number % 2 else hurts])


def sure(number: int, rng: np.random.Generator, n: int = 12) -> Shelf:
    """Boxes apart, and both views say the same: every way finds the same."""
    truth = facings(n, spacing=80)
    both = detections(truth, rng.uniform(0.4, 0.9, n))
    return shelf(number, truth, [both, both])


def outputs(shelves: Sequence[Shelf], key: str = "model") -> DetectorOutputs:
    return DetectorOutputs([photo for photo, _ in shelves], [raw for _, raw in shelves], key, OutputCache(Path(), Path()))


def chosen(shelves: Sequence[Shelf], scenes: np.ndarray) -> merging_choice.MergingChoice:
    return choose_merging([outputs(shelves)], ENSEMBLE, scenes, np.random.default_rng(0))


def test_soft_nms_is_adopted_where_neighbours_overlap() -> None:
    rng = np.random.default_rng(1)
    choice = chosen([dense(k, rng) for k in range(8)], np.arange(8) // 2)
    (offer,) = choice.offers
    assert choice.way == offer.way == "soft-nms 0.25, one view"
    assert offer.gain.low > 0.1 and offer.gain.n_groups == 4
    assert (choice.views, choice.default_views) == (1, 2)
    assert choice.map50[choice.way] > choice.map50[DEFAULT] + 0.1
    assert "adopted (views a photo: 1, by default 2)" in in_words(choice) and "4 scenes" in in_words(choice)


@pytest.mark.parametrize("make", [mixed, scattered], ids=["no difference", "the default is better"])
def test_the_default_stays_where_no_gain_is_shown(make: Callable[[int, np.random.Generator], Shelf]) -> None:
    rng = np.random.default_rng(0)
    choice = chosen([make(k, rng) for k in range(8)], np.arange(8))
    best, cheaper = choice.offers
    assert choice.way == DEFAULT and choice.views == choice.default_views == 2
    assert best.gain.low <= 0 and cheaper.gain.low < -merging_choice.WITHIN and "one view" in cheaper.way
    assert in_words(choice).startswith(f"{DEFAULT} kept (views a photo: 2, by default 2)")


def test_fewer_views_are_adopted_where_they_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    choice = chosen([sure(k, rng) for k in range(6)], np.arange(6))
    best, cheaper = choice.offers
    assert best.gain.low == best.gain.high == 0.0 == cheaper.gain.low
    assert choice.way == cheaper.way and (choice.views, choice.default_views) == (1, 2)


@pytest.mark.parametrize("scenes", [[0, 0, 0, 0], [0, 0, 1, 1]], ids=["one scene", "two scenes"])
def test_the_default_stays_with_too_few_scenes(scenes: list[int]) -> None:
    rng = np.random.default_rng(0)
    choice = chosen([dense(k, rng) for k in range(4)], np.array(scenes))
    assert choice.way == DEFAULT and choice.offers == [] and choice.map50["soft-nms 0.25, one view"] == 1.0
    assert in_words(choice) == f"{DEFAULT} kept: fewer than 3 scenes to choose on"


def test_no_photos_keep_the_default() -> None:
    assert choose_merging([], ENSEMBLE, np.zeros(0, np.int64), np.random.default_rng(0)).way == DEFAULT


def test_no_turn_chooses_on_its_own_scenes() -> None:
    """One scene alone speaks for soft-NMS, and outweighs the rest: only the turn that leaves it out may choose the default."""
    rng = np.random.default_rng(0)
    shelves = [dense(0, rng, n=120), *[scattered(k, rng) for k in range(1, 5)]]
    best, _ = chosen(shelves, np.arange(5)).offers
    assert len(best.in_turns) == 5 and sorted(photo for photos, _ in best.in_turns for photo in photos) == list(range(5))
    for photos, way in best.in_turns:
        assert (way == DEFAULT) == (0 in photos), photos


def test_models_on_other_scales_are_ranked_apart() -> None:
    rng = np.random.default_rng(0)
    shelves = [make(k, rng) for k, make in enumerate([mixed] * 3 + [scattered] * 3)]
    dimmed = [(photo, [[replace(v, scores=v.scores / 4) for v in views] for views in raw]) for photo, raw in shelves[3:]]
    scenes = np.arange(6)
    alike, unlike = (
        choose_merging([outputs(shelves[:3], "a"), outputs(half, "b")], ENSEMBLE, scenes, np.random.default_rng(0))
        for half in (shelves[3:], dimmed)
    )
    assert alike == unlike
    for photos, _ in alike.offers[0].in_turns:
        assert len({photo < 3 for photo in photos}) == 1  # of one model each


def test_class_evidence_does_not_count() -> None:
    rng = np.random.default_rng(0)
    shelves = [dense(k, rng) for k in range(4)]
    aware = Member("all.onnx", weight=0.0, evidence_weight=1.0, views=VIEWS[:1])
    both = replace(ENSEMBLE, categories=[3, 5], detectors=[*ENSEMBLE.detectors, aware])
    with_names = [
        (photo, [*raw, [replace(raw[0][0], evidence=np.tile(np.float32([0.1, 0.9]), (len(raw[0][0]), 1)))]])
        for photo, raw in shelves
    ]
    one, two = chosen(shelves, np.arange(4)), choose_merging(
        [outputs(with_names)], both, np.arange(4), np.random.default_rng(0)
    )  # fmt: skip
    assert two.map50 == one.map50 and two.way == one.way and (two.views, two.default_views) == (2, 3)


def test_the_default_way_is_what_the_default_ensemble_does(place: Place) -> None:
    ensemble = default_ensemble(place.runs, ["classifier_shelf"], read(place.data))
    assert merged_by(ensemble, DEFAULT) == ensemble
    one_view = merged_by(ensemble, "soft-nms 0.25, one view")
    assert one_view.merge == replace(ensemble.merge, method="soft_nms", sigma=0.25)
    assert [len(member.views) for member in ensemble.detectors] == [2, 1]
    assert [member.views for member in one_view.detectors] == [member.views[:1] for member in ensemble.detectors]


@pytest.mark.parametrize("way", WAYS)
def test_views_that_take_no_part_are_left_out_of_the_outputs(way: str) -> None:
    whole = outputs([mixed(0, np.random.default_rng(0))])
    few = whole.in_views(kept_views(ENSEMBLE, way))
    assert (few.key == whole.key) == WAYS[way].flip
    expected = merge([raw[: 1 + WAYS[way].flip] for raw in whole.raw[0]], merged_by(ENSEMBLE, way))
    got = merge(few.raw[0], merged_by(ENSEMBLE, way))
    assert np.array_equal(got.boxes, expected.boxes) and np.array_equal(got.scores, expected.scores)
