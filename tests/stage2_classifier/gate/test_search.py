"""The search over ways of merging: weights count, no photo is scored that was searched on, noise is not adopted."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from place import Place

from fusion.boxes import Detections, join
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.views import make_views
from photos.data import Photo
from runs.model_files import fingerprint_of
from runs.record import write_json
from stage2_classifier.gate import search
from stage2_classifier.gate.evidence import RawOutputs
from stage2_classifier.gate.search import Default, Effort
from stage2_classifier.gate.weighted_views import VIEWS, det_map50, ensemble_of, equal_weights, views_of, with_weights

ENSEMBLE = Ensemble([0], [Member(f"{name}.onnx", views=views_of(64, "rectangle", 32)) for name in "ab"], Merge(max_det=50))


def detections(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), np.zeros(len(boxes), np.int64))


def shelf(rng: np.random.Generator, number: int, good: set[tuple[int, str]]) -> tuple[Photo, list[list[Detections]]]:
    """A photo of ten facings, and what each view finds: the good ones nearly right, the others noise with high scores."""
    x = 10.0 + 40 * np.arange(10)
    truth = np.stack([x, np.full(10, 20.0), x + 30, np.full(10, 90.0)], 1)
    views = []
    for i in range(2):
        view_outputs = []
        for view in VIEWS:
            boxes, scores = truth + rng.normal(0, 1.5, truth.shape), rng.uniform(0.4, 0.9, 10)
            if (i, view) not in good:
                boxes, scores = truth + rng.normal(0, 25, (10, 1)) * (1, 0, 1, 0), rng.uniform(0.6, 1.0, 10)
            view_outputs.append(detections(boxes, scores))
        views.append(view_outputs)
    labels = np.zeros(10, np.int64)
    return Photo(number, Path(f"{number}.jpg"), 420, 100, truth.astype(np.float32), labels, np.arange(10), "valid"), views


def photos_with(good: set[tuple[int, str]], n: int = 12, seed: int = 0) -> tuple[list[Photo], RawOutputs]:
    rng = np.random.default_rng(seed)
    pairs = [shelf(rng, k, good) for k in range(n)]
    return [photo for photo, _ in pairs], [views for _, views in pairs]


EVERY_VIEW = {(i, view) for i in range(2) for view in VIEWS}


def every_view(raw: RawOutputs) -> Default:
    """What is compared with: all views, all of weight 1, under WBF."""
    return Default(equal_weights(ENSEMBLE, [VIEWS, VIEWS], Merge()), raw)


def test_every_named_view_is_one_that_can_be_made() -> None:
    for shape in ("rectangle", "square", "stretch"):
        views = views_of(320, shape, 32)
        assert len(views) == len(VIEWS)
        for view in views:
            assert make_views(view, 640, 480)


def test_views_of_no_weight_do_not_count() -> None:
    photos, raw = photos_with({(0, "plain")})
    alone = equal_weights(ENSEMBLE, [["plain"], []], Merge("nms", iou=0.7))
    assert det_map50(photos, raw, alone) > 0.95
    assert det_map50(photos, raw, equal_weights(ENSEMBLE, [VIEWS, VIEWS], Merge())) < 0.8
    assert [view["weight"] for view in alone.detectors[0].views] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert all(view["weight"] == 0 for view in alone.detectors[1].views)


@pytest.mark.slow
def test_a_gain_that_is_there_is_found_and_adopted() -> None:
    photos, raw = photos_with({(0, "plain"), (1, "plain"), (0, "flip")})
    result = search.nested_search(photos, raw, ENSEMBLE, np.arange(12) // 2, Effort(25, 3), every_view(raw))
    assert result.adopted and result.gain.low > 0 and result.nested > result.default
    chosen = det_map50(photos, raw, result.chosen)
    assert chosen >= result.default


def test_nothing_is_adopted_where_there_is_nothing_to_gain() -> None:
    photos, raw = photos_with(EVERY_VIEW)
    result = search.nested_search(photos, raw, ENSEMBLE, np.arange(12), Effort(8, 3), every_view(raw))
    assert not result.adopted


def test_turns_whose_merges_score_on_other_scales_are_ranked_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One view of ten finds anything: alone it scores ten times as high as among all under WBF, in the same order."""
    rng, photos, raw = np.random.default_rng(0), [], []
    for k in range(12):
        photo, ((plain, *_), _) = shelf(rng, k, {(0, "plain")})
        wrong = detections(plain.boxes + np.float32([0, 200, 0, 200]), rng.uniform(0.1, 0.6, 10))
        photos.append(photo)
        raw.append([[join([plain, wrong]), *[Detections.empty()] * 4], [Detections.empty()] * 5])
    alone, default = (equal_weights(ENSEMBLE, views, Merge()) for views in ([["plain"], []], [VIEWS, VIEWS]))
    assert det_map50(photos, raw, alone) == det_map50(photos, raw, default)
    choices = iter([alone, default, default])
    monkeypatch.setattr(search, "search", lambda *_: next(choices))
    result = search.nested_search(photos, raw, ENSEMBLE, np.arange(12), Effort(1, 2), every_view(raw))
    assert result.gain.value == pytest.approx(0.0, abs=1e-9) and result.nested == result.default


def test_no_photo_is_merged_by_a_search_that_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, raw = photos_with(EVERY_VIEW, n=6)
    seen: list[set[int]] = []
    real = search.search

    def spy(some: list[Photo], *rest: object) -> Ensemble:
        seen.append({photo.id for photo in some})
        return real(some, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "search", spy)
    scenes = np.array([0, 0, 1, 1, 2, 2])
    search.nested_search(photos, raw, ENSEMBLE, scenes, Effort(2, 3), every_view(raw))
    *turns, last = seen
    assert last == set(range(6))
    unseen = [set(range(6)) - turn for turn in turns]
    assert sorted(map(sorted, unseen)) == [[0, 1], [2, 3], [4, 5]]  # scenes stay together


@pytest.mark.parametrize(("views", "trials"), [(["plain", "flip"], 1), (["plain", "flip"], 12), (VIEWS, 12)])
def test_the_search_is_never_worse_than_what_it_starts_from_on_what_it_saw(views: list[str], trials: int) -> None:
    photos, raw = photos_with({(0, "plain"), (0, "flip")}, n=4)
    start = equal_weights(ENSEMBLE, [views, views], Merge())
    assert det_map50(photos, raw, search.search(photos, raw, ENSEMBLE, trials, 0)) >= det_map50(photos, raw, start)


def test_apply_writes_what_was_chosen_and_keeps_the_rest(tmp_path: Path) -> None:
    whole = Ensemble(
        [3, 5], [Member("one/model.onnx", views=[{"size": 64}]), Member("all/model.onnx", weight=0.0, evidence_weight=1.0)]
    )
    fitted = {"naming_floor": 0.4, "naming_margin": 5.0, "naming_typical": 0.6, "min_scores": {"f1": 0.5}}
    write_json(tmp_path / "ensemble.json", asdict(replace(whole, **fitted)))
    chosen = with_weights(
        replace(ENSEMBLE, detectors=ENSEMBLE.detectors[:1]), [{"plain": 1.0, "flip": 0.5}], Merge("nms", iou=0.6)
    )
    chosen = replace(chosen, detectors=[replace(chosen.detectors[0], file=str(tmp_path / "one" / "model.onnx"))])
    search.apply(tmp_path, chosen)
    written = json.loads((tmp_path / "ensemble.json").read_text())
    assert [view["weight"] for view in written["detectors"][0]["views"]] == [1.0, 0.5]
    assert written["detectors"][1]["file"] == "all/model.onnx" and written["categories"] == [3, 5]
    assert written["merge"]["method"] == "nms" and written["merge"]["max_det"] == whole.merge.max_det
    assert {name: written[name] for name in fitted} == {
        name: asdict(whole)[name] for name in fitted
    }  # of boxes merged otherwise


def test_apply_to_other_detectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--apply: .*ensemble.json not found"):
        search.apply(tmp_path, ENSEMBLE)
    write_json(tmp_path / "ensemble.json", asdict(Ensemble([0], [Member("one/model.onnx", views=[{"size": 64}])])))
    with pytest.raises(ValueError, match=r"other detectors than those that are searched; --detectors .*one"):
        search.apply(tmp_path, ENSEMBLE)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--trials", "0"], "--trials, --folds: got 0, 5"),
        (["--folds", "1"], "--trials, --folds: got 60, 1"),
    ],
)
def test_mistakes_in_flags_are_one_line(flags: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(["--data", "D", "--runs", "R", *flags]) == 2
    stderr = capsys.readouterr().err
    assert error in stderr and stderr.count("\n") == 1


def test_a_detector_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model.onnx not found: train it first"):
        ensemble_of([tmp_path / "model.onnx"], [])


def test_the_command_records_its_choice_and_applies_nothing_that_is_not_shown(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (place.runs / "ensemble.json").read_bytes()
    words = ["--data", str(place.data), "--runs", str(place.runs), "--trials", "2", "--folds", "2", "--parts", "valid", "test"]
    assert search.main([*words, "--apply"]) == 0
    written = json.loads((place.runs / "search.json").read_text())
    assert written["adopted"] is False  # constant boxes: nothing to gain
    assert list(written) == ["gain", "adopted", "chosen", "replaced", "parts", "trials", "turns", "seed", "models"]
    assert (written["parts"], written["trials"]) == (["valid", "test"], 2)
    assert list(written["models"].values()) == [fingerprint_of(place.runs / "one" / "model.onnx")]
    assert (place.runs / "ensemble.json").read_bytes() == before
    assert "not adopted" in capsys.readouterr().out
    assert search.main([*words, "--folds", "99"]) == 2
    assert "--folds: got 99, allowed 2 to" in capsys.readouterr().err
    assert search.main([*words, "--parts", "valid", "valid"]) == 2
    assert "--parts: got valid valid, must be each once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ensemble", "error"),
    [
        pytest.param(None, "ensemble.json not found; hylle gate writes it", id="none"),
        pytest.param(Ensemble([0], [Member("all/model.onnx", views=[{"size": 64}])]), "--detectors {runs}/all", id="another's"),
    ],
)
def test_what_cannot_be_applied_is_refused_before_the_search(
    ensemble: Ensemble | None, error: str, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.runs / "ensemble.json").unlink()
    if ensemble:
        write_json(place.runs / "ensemble.json", asdict(ensemble))
    monkeypatch.delattr(search, "raw_outputs")
    words = ["--data", str(place.data), "--runs", str(place.runs), "--folds", "2", "--apply"]
    assert search.main(words) == 2
    assert capsys.readouterr().err.endswith(error.format(runs=place.runs) + "\n")


def test_a_part_without_boxes_is_named_with_its_remedy(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads((place.runs / "folds.json").read_text())
    rows = [row | {"part": "train"} for row in told["photos"]]  # as hylle fit leaves it, with a refit
    write_json(place.runs / "folds.json", told | {"photos": rows, "pooled": True})
    assert search.main(["--data", str(place.data), "--runs", str(place.runs)]) == 2
    error = capsys.readouterr().err
    assert "part valid has 0 photos and 0 boxes" in error and "hylle fit holds none out" in error


def test_a_detector_that_is_not_trained_is_trained_as_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(place.data), "--runs", str(place.runs), "--folds", "2", "--detectors", str(place.runs / "nope")]
    assert search.main(words) == 2
    command = f"hylle train-detector --data D --out {place.runs}/nope --classes one, and name {place.runs}/nope/one"
    assert capsys.readouterr().err.endswith(f"nope/model.onnx not found: train it first, {command}\n")
