"""Where to cut: against slow loops over every floor, and on new photos the precision that was asked for."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta
from scipy.stats import t as student
from simulated_evidence import C, simulated_photos

from fusion.boxes import Detections
from fusion.gate import MIN_FIRST_SCORE, Gate
from stage2_classifier.gate import operating_points as points
from stage2_classifier.gate.calibrate import fit_policy
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.operating_points import BEST_F1, RankedBoxes, cut
from stage2_classifier.gate.ranks import scores_of_same_rank


def ranking(rng: np.random.Generator, scenes: int, boxes: int, levels: int = 10**6) -> points.RankedBoxes:
    """Boxes of scenes that differ, whose score is the probability of a hit where the scene is an average one."""
    scene = np.sort(rng.integers(scenes, size=boxes))
    logits = rng.normal(1.5, 2.0, boxes)
    hits = rng.uniform(size=boxes) < 1 / (1 + np.exp(-logits - rng.normal(0, 0.5, scenes)[scene]))
    scores = np.round(levels / (1 + np.exp(-logits))) / levels
    order = np.argsort(-scores, kind="stable")
    products = np.bincount(scene, hits, scenes).astype(np.int64) + 2
    return points.RankedBoxes(scores[order].astype(np.float32), hits[order], scene[order], products)


def bound_by_loop(ranked: points.RankedBoxes, floor: float, confidence: float) -> float:
    """Both bounds of the precision of all boxes of score `floor` and more, scene by scene."""
    shown = ranked.scores >= floor
    count, n, hits = len(ranked.products), shown.sum(), (ranked.hits & shown).sum()
    ratio = hits / n
    rest = [
        (ranked.hits & shown & (ranked.scenes == g)).sum() - ratio * (shown & (ranked.scenes == g)).sum() for g in range(count)
    ]
    spread = np.sqrt(sum(r * r for r in rest) * count / (count - 1)) / n
    exact = beta.ppf(1 - confidence, hits, n - hits + 1) if hits else 0.0
    return min(ratio - student.ppf(confidence, count - 1) * spread, exact)


@pytest.mark.parametrize("levels", [pytest.param(10**6, id="scores that differ"), pytest.param(20, id="many equal scores")])
def test_floors_are_those_of_a_slow_loop_over_every_score(levels: int) -> None:
    ranked = ranking(np.random.default_rng(1), 9, 500, levels)
    floors = np.unique(ranked.scores)
    found = points.cut(ranked).min_scores
    f1 = [f1_at(ranked, floor) for floor in floors]
    assert (ranked.scores >= found["f1"]).sum() == (ranked.scores >= floors[int(np.argmax(f1))]).sum()
    lowest = min(f for f in floors if bound_by_loop(ranked, f, points.BOUND) >= 0.9)
    assert (ranked.scores >= found["precision 0.9"]).tolist() == (ranked.scores >= lowest).tolist()


def test_a_point_counts_what_is_shown_at_its_floor() -> None:
    ranked = ranking(np.random.default_rng(2), 12, 600)
    for point in points.cut(ranked).points:
        shown = ranked.scores >= point.min_score
        assert point.boxes == shown.sum()
        assert point.precision.value == pytest.approx(ranked.hits[shown].mean())
        assert point.recall.value == pytest.approx(ranked.hits[shown].sum() / ranked.products.sum())
        p, r = point.precision.value, point.recall.value
        assert point.f1.value == pytest.approx(2 * p * r / (p + r))
        assert point.precision.low < p < point.precision.high
        assert point.precision.n_groups == 12


def test_on_new_scenes_the_bound_keeps_its_word_and_the_observed_precision_does_not() -> None:
    rng, kept = np.random.default_rng(0), {"bound": [], "observed": []}
    everyone = ranking(rng, 2000, 60000)
    for _ in range(60):
        ranked = ranking(rng, 20, 600)
        observed = np.cumsum(ranked.hits) / np.arange(1, len(ranked.hits) + 1)
        for name, values in (("bound", points.precision_bounds(ranked, points.BOUND)), ("observed", observed)):
            floor = ranked.scores[np.flatnonzero(values >= 0.9)[-1]]
            kept[name].append(everyone.hits[everyone.scores >= floor].mean() >= 0.9)
    assert np.mean(kept["bound"]) >= 0.8
    assert np.mean(kept["observed"]) <= 0.65


@pytest.mark.parametrize(
    ("ranked", "missing"),
    [
        pytest.param(ranking(np.random.default_rng(0), 3, 0), {"f1", "precision 0.9", "precision 0.95"}, id="no boxes"),
        pytest.param(
            points.RankedBoxes(np.array([0.9, 0.8], np.float32), np.zeros(2, bool), np.array([0, 1]), np.array([1, 1])),
            {"f1", "precision 0.9", "precision 0.95"},
            id="none right",
        ),
        pytest.param(
            points.RankedBoxes(
                np.linspace(0.9, 0.1, 25).astype(np.float32), np.ones(25, bool), np.arange(25) % 5, np.full(5, 5)
            ),
            {"precision 0.95"},
            id="all of 25 right is enough for 0.9 alone",
        ),
    ],
)
def test_a_floor_that_cannot_be_shown_is_absent_and_said(ranked: points.RankedBoxes, missing: set) -> None:
    fitted = points.cut(ranked)
    assert set(fitted.missing) == missing
    assert all(fitted.missing.values())
    assert set(fitted.min_scores) == {"f1", "precision 0.9", "precision 0.95"} - missing


def test_no_floor_lets_further_names_in() -> None:
    scores = np.array([0.5] * 30 + [0.0], np.float32)
    ranked = points.RankedBoxes(scores, np.ones(31, bool), np.arange(31) % 4, np.full(4, 8))
    assert points.cut(ranked).min_scores["f1"] >= MIN_FIRST_SCORE


@pytest.mark.parametrize("scenes", [2, 3, 8])
def test_all_right_in_every_scene_leaves_something_open(scenes: int) -> None:
    hits = np.full(scenes, 15)
    found = points.ratio_interval(hits, hits)
    assert (found.value, found.high) == (1, 1)
    assert 0 <= found.low < beta.ppf(0.025, hits.sum(), 1)


def test_boxes_leave_open_what_scenes_that_nearly_agree_do_not() -> None:
    found = points.ratio_interval(np.array([10, 10, 10, 9, 10, 10, 10, 10]), np.full(8, 10))
    assert found.low == pytest.approx(beta.ppf(0.025, 79, 2))


def test_the_precision_told_of_a_floor_holds_on_new_scenes() -> None:
    rng, held = np.random.default_rng(0), []
    everyone = ranking(rng, 2000, 60000)
    for _ in range(150):
        own = [point for point in points.cut(ranking(rng, 8, 240)).points if point.purpose == "precision 0.95"]
        for point in own:
            reached = everyone.hits[everyone.scores >= point.min_score].mean()
            held.append(point.precision.low <= reached <= point.precision.high)
    assert len(held) > 30 and np.mean(held) >= 0.85


def noisy_photos(rng: np.random.Generator, n: int) -> list[Evidence]:
    """Simulated photos in which some boxes lie on no product, and score less for it."""
    photos = []
    for e in simulated_photos(rng, n, 0.99, 0.99):
        wrong = rng.uniform(size=len(e.merged)) < 0.2
        boxes = e.merged.boxes + np.where(wrong, 100, 0)[:, None].astype(np.float32)
        scores = (e.merged.scores * np.where(wrong, 0.6, 1.0)).astype(np.float32)
        photos.append(replace(e, merged=Detections(boxes, scores, e.merged.labels, e.merged.evidence)))
    return photos


def f1_at(ranked: points.RankedBoxes, floor: float) -> float:
    shown = ranked.scores >= floor
    return 2 * ranked.hits[shown].sum() / (shown.sum() + ranked.products.sum())


@pytest.mark.parametrize("policy", ["raw", "detector"])
def test_the_floors_of_a_fitted_gate_hold_on_new_photos(policy: str) -> None:
    rng = np.random.default_rng(3)
    valid, test, scenes = noisy_photos(rng, 40), noisy_photos(rng, 200), np.arange(40) // 2
    gate = fit_policy(policy, valid)
    fitted = points.fit_operating_points(valid, gate, scenes, np.random.default_rng(0))
    new = points.ranked_boxes(test, points.first_names(test, [gate] * 200), np.arange(200))
    best = max(
        2 * new.hits[new.scores >= f].sum() / ((new.scores >= f).sum() + new.products.sum()) for f in np.unique(new.scores)
    )
    shown = new.scores >= fitted.min_scores["f1"]
    assert 2 * new.hits[shown].sum() / (shown.sum() + new.products.sum()) > best - 0.03
    assert "precision 0.9" in fitted.min_scores and new.hits.mean() < 0.85  # so that a floor is needed, and found
    for purpose, precision in (("precision 0.9", 0.9), ("precision 0.95", 0.95)):
        if purpose in fitted.min_scores:
            assert new.hits[new.scores >= fitted.min_scores[purpose]].mean() >= precision - 0.01


@pytest.mark.parametrize(
    ("photos", "fitted", "why"),
    [
        pytest.param(0, set(), "0 photos, need 3", id="no photos"),
        pytest.param(2, set(), "2 photos, need 3", id="two photos"),
        pytest.param(30, {"f1"}, "2 scenes, need 3", id="many photos of two scenes"),
    ],
)
def test_with_fewer_than_three_scenes_no_precision_is_promised(photos: int, fitted: set, why: str) -> None:
    evidence = simulated_photos(np.random.default_rng(0), photos, 0.5, 0.95)
    made = points.fit_operating_points(evidence, Gate("raw"), np.arange(photos) % 2, np.random.default_rng(0))
    assert set(made.min_scores) == fitted
    assert all(why in text for text in made.missing.values())


def test_where_nothing_names_any_product_is_a_hit() -> None:
    photos = [
        replace(e, probabilities=None, merged=replace(e.merged, evidence=None))
        for e in simulated_photos(np.random.default_rng(0), 6, 0.5, 0.5)
    ]
    assert points.ranked_boxes(photos, points.first_names(photos, [Gate()] * 6), np.arange(6)).hits.all()


def test_boxes_in_regions_to_ignore_count_as_nothing() -> None:
    e = simulated_photos(np.random.default_rng(0), 1, 0.5, 1.0)[0]
    kept = replace(e.photo, boxes=e.photo.boxes[2:], labels=e.photo.labels[2:], annotation_ids=e.photo.annotation_ids[2:])
    for ignored, boxes in ((e.photo.boxes[:0], 8), (e.photo.boxes[:2], 6)):
        photos = [replace(e, photo=replace(kept, ignored=ignored))]
        ranked = points.ranked_boxes(photos, points.first_names(photos, [Gate("raw")]), np.zeros(1))
        assert (len(ranked.hits), ranked.hits.sum(), ranked.products.tolist()) == (boxes, 6, [6])


def test_each_photo_is_decided_without_its_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, scenes = simulated_photos(np.random.default_rng(0), 12, 0.5, 0.5), np.repeat(np.arange(6), 2)
    seen: list[set[int]] = []
    decided_by: list[list[Gate]] = []
    decide_by = points.first_names

    def fit(policy: str, others: list) -> Gate:
        seen.append({int(scenes[e.photo.id]) for e in others})
        return Gate(policy, objectness_exponent=float(len(seen)))  # tells which gate it is

    def recording(evidence: list[Evidence], gates: list[Gate]) -> list[Detections]:
        decided_by.append(list(gates))
        return decide_by(evidence, gates)

    monkeypatch.setattr(points, "fit_policy", fit)
    monkeypatch.setattr(points, "first_names", recording)
    points.cross_fitted_decisions(photos, Gate("raw"), scenes, np.random.default_rng(0))
    own, shipped = decided_by
    assert len(seen) == points.OUTER and shipped == [Gate("raw")] * 12
    assert all(scene not in seen[int(gate.objectness_exponent) - 1] for scene, gate in zip(scenes, own, strict=True))
    assert all(len(scenes_seen) >= 4 for scenes_seen in seen)  # of six, those of the other turns


def test_scores_of_the_same_rank_keep_the_order_and_take_the_scale() -> None:
    rng, turn = np.random.default_rng(0), np.array([0, 1, 0])
    boxes = np.array([[0, 0, 5, 5]] * 4, np.float32)
    own, reference = (
        [Detections(boxes, rng.uniform(size=4).astype(np.float32), np.zeros(4, np.int64)) for _ in turn] for _ in range(2)
    )
    new = scores_of_same_rank(own, reference, turn)
    for k in (0, 1):
        before, after, values = (np.concatenate([d.scores for d, t in zip(ds, turn, strict=True) if t == k])
                                 for ds in (own, new, reference))  # fmt: skip
        assert np.argsort(before).tolist() == np.argsort(after).tolist()
        assert sorted(after) == sorted(values)
    assert [d.scores.tolist() for d in scores_of_same_rank(own, own, turn)] == [d.scores.tolist() for d in own]
    empty = [Detections.empty(C)] * 3
    assert [len(d) for d in scores_of_same_rank(empty, empty, turn)] == [0, 0, 0]


def test_other_numbers_of_boxes_are_refused() -> None:
    one = Detections(np.array([[0, 0, 5, 5]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="got 0 boxes in turn 0, must be 1"):
        scores_of_same_rank([one], [Detections.empty()], np.zeros(1, np.int64))


def test_where_all_boxes_are_shown_the_floor_is_half_of_the_lowest_score() -> None:
    scores, hits = np.array([0.9, 0.5, 0.04], np.float32), np.ones(3, bool)
    points = cut(RankedBoxes(scores, hits, np.array([0, 1, 2]), np.array([1, 1, 1])))
    assert points.min_scores[BEST_F1] == pytest.approx(0.02)
