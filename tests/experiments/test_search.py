"""The search over ways of merging: variants are weights, no photo is scored that was searched on, noise is not adopted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import search
from experiments.studies import ensembles
from experiments.studies.ensembles import VARIANTS, VIEWS, Raw, det_map50, views_of, weighted
from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.views import make_views
from photos.data import Photo
from runs.record import write_json

ENSEMBLE = Ensemble([0], [Member(f"{name}.onnx", views=views_of(64, "rectangle", 32)) for name in "ab"], Merge(max_det=50))


def found(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), np.zeros(len(boxes), np.int64))


def shelf(rng: np.random.Generator, number: int, good: set[tuple[int, str]]) -> tuple[Photo, list[list[Detections]]]:
    """A photo of ten facings, and what each view says: the good ones nearly right, the others noise with high scores."""
    x = 10.0 + 40 * np.arange(10)
    truth = np.stack([x, np.full(10, 20.0), x + 30, np.full(10, 90.0)], 1)
    views = []
    for i in range(2):
        said = []
        for view in VIEWS:
            boxes, scores = truth + rng.normal(0, 1.5, truth.shape), rng.uniform(0.4, 0.9, 10)
            if (i, view) not in good:
                boxes, scores = truth + rng.normal(0, 25, (10, 1)) * (1, 0, 1, 0), rng.uniform(0.6, 1.0, 10)
            said.append(found(boxes, scores))
        views.append(said)
    labels = np.zeros(10, np.int64)
    return Photo(number, Path(f"{number}.jpg"), 420, 100, truth.astype(np.float32), labels, np.arange(10), "valid"), views


def set_of(good: set[tuple[int, str]], n: int = 12, seed: int = 0) -> tuple[list[Photo], Raw]:
    rng = np.random.default_rng(seed)
    pairs = [shelf(rng, k, good) for k in range(n)]
    return [photo for photo, _ in pairs], [views for _, views in pairs]


EVERY = {(i, view) for i in range(2) for view in VIEWS}


def test_every_named_view_is_one_that_can_be_made() -> None:
    for shape in ("rectangle", "square", "stretch"):
        views = views_of(320, shape, 32)
        assert len(views) == len(VIEWS)
        for view in views:
            assert make_views(view, 640, 480)


def test_a_variant_counts_the_views_it_names_and_no_other() -> None:
    photos, raw = set_of({(0, "plain")})
    alone = weighted(ENSEMBLE, [["plain"], []], VARIANTS["single"][2])
    assert det_map50(photos, raw, alone) > 0.95
    assert det_map50(photos, raw, weighted(ENSEMBLE, [VIEWS, VIEWS], Merge())) < 0.8
    assert [view["weight"] for view in alone.detectors[0].views] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert all(view["weight"] == 0 for view in alone.detectors[1].views)


def test_variants_name_views_that_there_are() -> None:
    assert all(set(first) | set(second) <= set(VIEWS) for first, second, _ in VARIANTS.values())


def test_a_gain_that_is_there_is_found_and_adopted() -> None:
    photos, raw = set_of({(0, "plain"), (1, "plain"), (0, "flip")})
    done = search.nested(photos, raw, ENSEMBLE, np.arange(12) // 2, 3, 25, 0)
    assert done.adopted and done.gain.low > 0 and done.nested > done.default
    chosen = det_map50(photos, raw, done.chosen)
    assert chosen >= done.default


def test_nothing_is_adopted_where_there_is_nothing_to_gain() -> None:
    photos, raw = set_of(EVERY)
    done = search.nested(photos, raw, ENSEMBLE, np.arange(12), 3, 8, 0)
    assert not done.adopted


def test_no_photo_is_merged_by_a_search_that_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, raw = set_of(EVERY, n=6)
    seen: list[set[int]] = []
    real = search.search

    def spy(some: list[Photo], *rest: object) -> Ensemble:
        seen.append({photo.id for photo in some})
        return real(some, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "search", spy)
    scenes = np.array([0, 0, 1, 1, 2, 2])
    search.nested(photos, raw, ENSEMBLE, scenes, 3, 2, 0)
    *turns, last = seen
    assert last == set(range(6))
    unseen = [set(range(6)) - turn for turn in turns]
    assert sorted(map(sorted, unseen)) == [[0, 1], [2, 3], [4, 5]]  # scenes stay together


def test_the_search_is_never_worse_than_the_default_on_what_it_saw() -> None:
    photos, raw = set_of({(0, "plain"), (0, "flip")}, n=4)
    default = weighted(ENSEMBLE, [VIEWS, VIEWS], Merge())
    assert det_map50(photos, raw, search.search(photos, raw, ENSEMBLE, 12, 0)) >= det_map50(photos, raw, default)


def test_apply_writes_what_was_chosen_and_keeps_the_rest(tmp_path: Path) -> None:
    whole = Ensemble(
        [3, 5], [Member("one/model.onnx", views=[{"size": 64}]), Member("all/model.onnx", weight=0.0, evidence_weight=1.0)]
    )
    write_json(tmp_path / "ensemble.json", search.asdict(whole))
    chosen = weighted(replace(ENSEMBLE, detectors=ENSEMBLE.detectors[:1]), [{"plain": 1.0, "flip": 0.5}], Merge("nms", iou=0.6))
    chosen = replace(chosen, detectors=[replace(chosen.detectors[0], file=str(tmp_path / "one" / "model.onnx"))])
    search.apply(tmp_path, chosen)
    there = json.loads((tmp_path / "ensemble.json").read_text())
    assert [view["weight"] for view in there["detectors"][0]["views"]] == [1.0, 0.5]
    assert there["detectors"][1]["file"] == "all/model.onnx" and there["categories"] == [3, 5]
    assert there["merge"]["method"] == "nms" and there["merge"]["max_det"] == whole.merge.max_det


def test_apply_to_other_detectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--apply: .*ensemble.json not found"):
        search.apply(tmp_path, ENSEMBLE)
    write_json(tmp_path / "ensemble.json", search.asdict(Ensemble([0], [Member("one/model.onnx", views=[{"size": 64}])])))
    with pytest.raises(ValueError, match="finds boxes with other detectors than those that were searched"):
        search.apply(tmp_path, ENSEMBLE)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--trials", "0"], "--trials, --folds: got 0, 5"),
        (["--folds", "1"], "--trials, --folds: got 60, 1"),
        (["--record"], "--record: needs --name"),
    ],
)
def test_wishes_that_cannot_be_met_are_one_line(flags: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(["--data", "D", "--runs", "R", *flags]) == 2
    told = capsys.readouterr().err
    assert error in told and told.count("\n") == 1


def test_a_detector_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model.onnx not found: train it first"):
        ensembles.of_detectors([tmp_path / "model.onnx"], [])
