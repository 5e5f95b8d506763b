"""Below the naming floor boxes are named while the classifiers are sure, and where a photo's boxes are less sure than usual."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion import boxes as boxes_module
from fusion.boxes import NAMING_STEP, SURE_NAMES, Detections, Floats, Ints, name_best, sureness
from fusion.ensemble import ClassifierMember, Ensemble, Member, Part
from fusion.models import Sizes
from fusion.pipeline import Pipeline, naming_floors
from photos.data import Photo
from stage2_classifier.gate.evidence import Evidence, as_judged
from stage2_classifier.gate.naming_floor import n_named

SCORES = np.random.default_rng(0).permutation(np.linspace(0.01, 1.0, 100).astype(np.float32))
FLOOR, MARGIN = 0.5, 5.0  # 51 boxes, and 91 down to a fifth
PRODUCTS_END = 0.3  # boxes below are no products: no name is probable


def names_of(scores: Floats) -> Callable[[Ints], Floats]:
    """Sure of the second of two names where there is a product."""
    return lambda rows: np.where(scores[rows, None] >= PRODUCTS_END, [[0.05, 0.95]], [[0.4, 0.3]]).astype(np.float32)


def named(floor: float = FLOOR, margin: float = MARGIN, share: float = 1.0, name: Callable[..., object] | None = None) -> Ints:
    """The positions of the boxes that have names."""
    answers = name_best(SCORES, name or names_of(SCORES), *naming_floors(SCORES, floor, margin, 0.0), share)
    return np.flatnonzero(np.isfinite(answers).all(1))


def best(count: int) -> list[int]:
    return sorted(np.argsort(-SCORES)[:count].tolist())


def test_names_reach_below_the_floor_as_far_as_there_are_products() -> None:
    products = int((SCORES >= PRODUCTS_END).sum())
    assert products == 71 and (SCORES >= FLOOR).sum() == 51
    assert named().tolist() == best(51 + 3 * NAMING_STEP)  # a step of 8 with 4 products is not sure any more
    assert named(margin=1.0).tolist() == best(51)
    assert named(0.6, 1.5).tolist() == best(61)  # sure to the end of the margin
    assert named(0.2).tolist() == best(81 + NAMING_STEP)  # one step tells that no product is there


@pytest.mark.parametrize(("floor", "margin"), [(1.01, 5.0), (1.01, 1.0)])
def test_a_floor_above_one_names_none_whatever_the_margin(floor: float, margin: float) -> None:
    assert named(floor, margin).tolist() == []


@pytest.mark.parametrize(
    ("floor", "share", "count"),
    [
        pytest.param(FLOOR, 0.25, 23, id="a part of those above the floor"),
        pytest.param(FLOOR, 0.6, 55, id="some below it"),
        pytest.param(FLOOR, 0.9, 75, id="no more than without a limit"),
        pytest.param(1.0, 0.5, 41, id="nearly all below the floor"),
    ],
)
def test_a_share_is_of_all_boxes_that_may_be_named(floor: float, share: float, count: int) -> None:
    assert named(floor, share=share).tolist() == best(count)


def test_each_box_is_asked_for_once_in_order_of_its_place() -> None:
    asked: list[int] = []

    def name(rows: Ints) -> Floats:
        assert (np.diff(rows) > 0).all()
        asked.extend(rows.tolist())
        return names_of(SCORES)(rows)

    got = named(name=name).tolist()
    assert sorted(asked) == got and len(got) == 75


@pytest.mark.parametrize("answer", [np.nan, 0.0, SURE_NAMES - 0.01])
def test_names_that_are_not_sure_end_it(answer: float) -> None:
    assert len(named(name=lambda rows: np.full((len(rows), 2), answer, np.float32) * [1, 0.1])) == (
        0 if np.isnan(answer) else 51 + NAMING_STEP
    )


def test_without_an_answer_nothing_is_named_and_what_was_named_stays() -> None:
    assert name_best(SCORES, lambda rows: None, FLOOR, FLOOR / MARGIN) is None
    once = names_of(SCORES)
    assert named(name=lambda rows: once(rows) if len(rows) == 51 else None).tolist() == best(51)


def photo_of(n: int) -> tuple[Evidence, Detections]:
    """A photo of n boxes, with drawn evidence and names; those of objectness below 0.4 have no probable name."""
    rng = np.random.default_rng(n)
    corners = rng.uniform(0, 50, (n, 2))
    scores, evidence = rng.uniform(0, 1, n).astype(np.float32), rng.uniform(0, 1, (n, 3)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(4, 14, (n, 2))], 1).astype(np.float32)
    merged = Detections(boxes, scores, evidence.argmax(1), evidence)
    nothing = np.zeros(0, np.int64)
    photo = Photo(0, Path(), 64, 64, np.zeros((0, 4), np.float32), nothing, nothing, None)
    sure, unsure = rng.dirichlet([0.1] * 3, n), rng.dirichlet([2.0] * 3, n)
    return Evidence(photo, merged, np.where(scores[:, None] > 0.4, sure, unsure).astype(np.float32)), merged


@pytest.mark.parametrize("n", [0, 1, 30, 200])
def test_what_is_fitted_on_saved_names_is_what_run_py_names(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    e, merged = photo_of(n)
    ensemble = Ensemble([7, 3, 40], [Member("one/model.onnx")], naming_floor=0.6, naming_margin=4.0, naming_typical=0.68)
    pipeline = Pipeline.__new__(Pipeline)
    pipeline.ensemble, pipeline.naming_share = ensemble, 1.0
    at = {tuple(box): row for box, row in zip(merged.boxes.tolist(), e.probabilities, strict=True)}

    def classify(image: object, boxes: Floats, *_: object) -> Floats:
        return np.array([at[tuple(box)] for box in boxes.tolist()], np.float32).reshape(-1, 3)

    monkeypatch.setattr(pipeline, "classify", classify)
    (judged,) = as_judged([e], ensemble)
    np.testing.assert_array_equal(pipeline.name(np.zeros((64, 64, 3), np.uint8), merged), judged.probabilities)
    above = int((merged.scores >= 0.6).sum())
    assert n < 30 or above < n_named(judged) < int((merged.scores >= 0.15).sum())


def failing_at(photo: int, call: int) -> tuple[Pipeline, list[str], Callable[..., Floats]]:
    """A pipeline of two classifiers, what each was asked, and a way to run them: the first fails at this call on this photo."""
    members = [ClassifierMember("a/model.onnx"), ClassifierMember("b/model.onnx")]
    pipeline = Pipeline.__new__(Pipeline)
    pipeline.ensemble = Ensemble([7, 3, 40], [], classifiers=members, naming_floor=0.9, naming_margin=9.0, sizes=Sizes())
    pipeline.parts, pipeline.spent, pipeline.naming_share = [Part("classifiers", k, 0) for k in range(2)], {}, 1.0
    pipeline.classifiers, pipeline.detectors = [None, None], []  # type: ignore[list-item]
    asked: list[str] = []

    def run(model: object, member: ClassifierMember, spec: object, image: Floats, boxes: Floats, width: int) -> Floats:
        asked.append(member.file[0])
        if member.file == "a/model.onnx" and image[0, 0, 0] == photo and asked.count("a") == call:
            raise RuntimeError("out of memory")
        return np.full((len(boxes), width), 0.3, np.float32)

    return pipeline, asked, run


def test_a_classifier_that_fails_is_left_alone_for_the_rest_of_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "SURE_NAMES", 0.0)
    (_, merged), (pipeline, asked, run), failed = photo_of(60), failing_at(0, 2), list[Part | str]()
    clock = iter(range(1000))
    monkeypatch.setattr("fusion.pipeline.run_classifier_view", run)
    monkeypatch.setattr("fusion.pipeline.time.perf_counter", lambda: float(next(clock)))
    for photo in range(3):
        pipeline.detect(np.full((64, 64, 3), photo, np.uint8))
        asked.clear()
        names = pipeline.name(np.full((64, 64, 3), photo, np.uint8), merged, failed=lambda part, error: failed.append(part))
        steps = asked.count("b")
        assert steps > 4 and asked.count("a") == (2 if photo == 0 else steps)
        assert names is not None and np.isfinite(names).all(1).tolist() == (merged.scores >= np.float32(0.1)).tolist()
        times = {pipeline.parts[0]: float(asked.count("a")), pipeline.parts[1]: float(steps)}
        assert pipeline.spent == times  # a second of this clock for each call, and none of another photo's
    assert failed == [Part("classifiers", 0, 0)]


@pytest.mark.parametrize("lower", [1.0, 0.7, 0.3, 0.2])
def test_products_of_a_shop_with_lower_scores_are_named_however_unsure_their_names(lower: float) -> None:
    """A step that is not sure ends naming only where a photo's boxes are as sure as those that the floor was fitted on."""
    rng = np.random.default_rng(3)
    scores = np.concatenate([rng.uniform(0.5, 1.0, 40), rng.uniform(0.001, 0.09, 200)]).astype(np.float32)  # products, others
    floors = naming_floors(scores * np.float32(lower), 0.5, 5.0, sureness(scores) * 0.95)
    unsure = name_best(scores * np.float32(lower), lambda rows: np.full((len(rows), 2), 0.3, np.float32), *floors)
    assert unsure is not None and np.isfinite(unsure[:40]).all()
    assert np.isfinite(unsure[40:]).all(1).sum() <= NAMING_STEP + (lower < 1) * (scores[40:] * lower >= 0.1).sum()


def test_the_floor_falls_with_how_sure_a_photo_is_and_never_below_its_margin() -> None:
    scores = np.linspace(0.0, 1.0, 50, dtype=np.float32)
    own = sureness(scores)
    assert sureness(np.zeros(0, np.float32)) == sureness(np.zeros(3, np.float32)) == 0 and 0.6 < own < 0.7
    assert sureness(np.concatenate([scores, np.full(1000, 1e-4, np.float32)])) == pytest.approx(own, rel=0.01)  # faint boxes
    floors = [naming_floors(scores, 0.4, 4.0, typical)[0] for typical in (0.0, own, own * 1.05, own * 1.1, own * 3)]
    assert floors[0] == floors[1] == 0.4 > floors[2] > floors[3] > floors[4] == pytest.approx(0.1)
    assert naming_floors(scores, 1.01, 4.0, own * 3) == (1.01, 1.01)
    assert naming_floors(np.zeros(0, np.float32), 0.4, 4.0, 0.5) == (0.1, 0.1)
