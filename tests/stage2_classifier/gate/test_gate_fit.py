"""`hylle gate` writes the scores to cut at beside the gate, says what they keep, and says what could not be shown."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from place import Place
from simulated_evidence import simulated_photos

from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member, read_ensemble
from fusion.gate import Gate
from fusion.models import Sizes, read_object
from photos import folds
from photos.data import Photo, read
from photos.folds import Folds
from photos.intervals import Interval
from runs.record import write_json
from stage2_classifier.gate import evidence as evidence_module
from stage2_classifier.gate import fit
from stage2_classifier.gate.choose import Choice
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.merging_choice import DEFAULT, MergingChoice, Offer
from stage2_classifier.gate.naming_floor import NamingChoice
from stage2_classifier.gate.sizes import SizesChoice, Tables


def raw_for(evidence: list[Evidence]) -> Callable[..., Choice]:
    """In place of `choose_gate`, for speed; each photo must be a scene."""

    def choose(given: list[Evidence], scenes: np.ndarray, rng: np.random.Generator, progress: Callable[..., None]) -> Choice:
        assert given is evidence and scenes.tolist() == list(range(len(evidence)))
        return Choice(Gate("raw"), None, Gate("raw"))

    return choose


@pytest.fixture
def fitted(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Fits the gate of a place to evidence that is not from its models; each photo is a scene."""

    def call(evidence: list[Evidence], naming_floor: float | None = None) -> None:
        parts = folds.load(place.runs / folds.NAME, read(place.data))

        def gather(part: str, ensemble: Ensemble, runs: Path, own: Folds) -> list[Evidence]:
            assert (part, runs, own.part, ensemble.gate) == ("valid", place.runs, parts.part, read_ensemble(runs).gate)
            return evidence

        def scenes_of(given: list[Evidence], own: Folds) -> np.ndarray:
            assert given is evidence and own.part == parts.part
            return np.arange(len(evidence))

        monkeypatch.setattr(fit, "gather", gather)
        monkeypatch.setattr(fit, "scenes_of", scenes_of)
        monkeypatch.setattr(fit, "choose_gate", raw_for(evidence))
        monkeypatch.setattr(fit, "of_file", str)  # these photos have no files
        fit.fit_gate(place.data, place.runs, naming_floor=naming_floor)

    return call


def test_what_was_put_into_the_ensemble_meanwhile_is_not_overwritten(
    place: Place, fitted: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand, by a search or by enrolling, while the gate was at work."""
    path, why = place.runs / "ensemble.json", place.runs / "gate.json"
    photos = simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97)
    edited = read_object(path) | {"time_budget_s": 77.0}

    def slow(*_: object) -> SizesChoice:
        write_json(path, edited)
        return SizesChoice(Sizes(), None)

    with monkeypatch.context() as patched:
        patched.setattr(fit, "choose_sizes", slow)
        with pytest.raises(ValueError, match=r"ensemble\.json was changed while a gate was fitted to what it held before"):
            fitted(photos)
    assert read_object(path) == edited and not why.exists()
    fitted(photos)
    assert read_ensemble(place.runs).time_budget_s == 77.0 and why.exists()


def test_why_is_written_before_the_ensemble(place: Place, fitted: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a kill between the two would make a default ensemble look edited."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "write_ensemble", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97))
    assert (place.runs / "gate.json").is_file()


@pytest.mark.parametrize("classifier", [True, False], ids=["with a classifier", "detector only"])
def test_floors_are_stored_and_told(
    place: Place, fitted: Callable, capsys: pytest.CaptureFixture[str], classifier: bool
) -> None:
    photos = simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97)
    fitted(photos if classifier else [replace(e, probabilities=None) for e in photos])
    floors, why = read_ensemble(place.runs).min_scores, read_object(place.runs / "gate.json")["operating_points"]
    assert set(floors) | set(why["missing"]) == {"f1", "precision 0.9", "precision 0.95"}
    assert "f1" in floors and not set(floors) & set(why["missing"])
    assert {point["purpose"]: point["min_score"] for point in why["points"]} == floors
    assert all(point["recall"]["low"] <= point["recall"]["value"] <= point["recall"]["high"] for point in why["points"])
    out = capsys.readouterr().out
    assert all(f"gate: cut for {purpose}: scores of " in out for purpose in floors)
    assert all(f"gate: no cut for {purpose}: " in out for purpose in why["missing"])


def test_the_naming_floor_is_stored_and_told_and_a_new_fit_replaces_it(
    place: Place, fitted: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97)
    fitted(photos, naming_floor=0.75)
    share = float(np.mean(np.concatenate([e.merged.scores for e in photos]) < 0.75))
    assert (read_ensemble(place.runs).naming_floor, read_ensemble(place.runs).naming_margin) == (0.75, 1.0)
    told = {"floor": 0.75, "unnamed": pytest.approx(share), "loss": None, "margin": 1.0, "typical": 0.0}
    assert read_object(place.runs / "gate.json")["naming"] == told
    assert "gate: names: boxes of objectness 0.7500 and more are named; not measured: " in capsys.readouterr().out
    fitted(photos)
    assert read_ensemble(place.runs).naming_floor == 0


def test_how_far_below_the_floor_boxes_are_named_is_stored(
    place: Place, fitted: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "fit_naming_floor", lambda *_: NamingChoice(0.75, 0.5, None, 3.0, 0.6))
    fitted(simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97))
    ensemble = read_ensemble(place.runs)
    assert (ensemble.naming_floor, ensemble.naming_margin, ensemble.naming_typical) == (0.75, 3.0, 0.6)


@pytest.mark.parametrize("floor", [0.5, 1.5], ids=["one may be", "none will be"])
def test_enrolled_products_that_no_box_will_be_called_are_told(
    place: Place, fitted: Callable, capsys: pytest.CaptureFixture[str], floor: float
) -> None:
    rows = [{"name": "Blue Tea", "id": 41, "replaced": False}, {"name": "product 7", "id": 7, "replaced": True}]
    (place.runs / "classifier_shelf" / "enrolled.json").write_text(json.dumps(rows))
    fitted(simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97), naming_floor=floor)
    told = [line for line in capsys.readouterr().out.splitlines() if "no box gets the name" in line]
    assert len(told) == (floor > 1)
    assert all("of what was enrolled (Blue Tea): in" in line and "naming_floor is 1.5" in line for line in told)


@pytest.mark.parametrize(
    ("weight", "told"), [(0.5, "count by 0.5"), (0.0, "a gain is not shown")], ids=["adopted", "not shown"]
)
def test_sizes_are_stored_where_they_count_and_told(
    place: Place,
    fitted: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weight: float,
    told: str,
) -> None:
    sizes = Sizes(weight=weight, means=[0.1, -0.1], spreads=[0.05, 0.05])
    photos = simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97)

    def choose(
        named: list[Evidence], tables: Tables, choice: Choice, scenes: np.ndarray, rng: np.random.Generator
    ) -> SizesChoice:
        assert [e.photo for e in named] == [e.photo for e in photos] and set(tables.by_photo) == {e.photo.id for e in photos}
        assert choice.gate.policy == "raw" and scenes.tolist() == list(range(9))
        return SizesChoice(sizes, 0.5, Interval(0.01, weight - 0.1, 0.02, 9), 7, 2.0)

    monkeypatch.setattr(fit, "choose_sizes", choose)
    fitted(photos)
    assert read_ensemble(place.runs).sizes == (sizes if weight else Sizes())
    assert read_object(place.runs / "gate.json")["sizes"]["offered"] == 0.5
    assert f"gate: sizes: {'not used: ' * (not weight)}{told}" in capsys.readouterr().out


def test_sizes_are_those_of_train_and_tried_on_the_boxes_that_are_named(
    place: Place, fitted: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, seen = simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97), {}
    parts, tables_of = folds.load(place.runs / folds.NAME, read(place.data)), fit.tables_of

    def tables(groups: Sequence[tuple[Sequence[Photo], Sequence[Photo]]], shipped: Sequence[Photo], n_names: int) -> Tables:
        seen["groups"] = [tuple([photo.id for photo in own] for own in group) for group in groups]
        seen["shipped"], seen["names"] = [photo.id for photo in shipped], n_names
        return tables_of(groups, shipped, n_names)

    def choose(named: list[Evidence], *_: object) -> SizesChoice:
        seen["named"] = named
        return SizesChoice()

    monkeypatch.setattr(fit, "tables_of", tables)
    monkeypatch.setattr(fit, "choose_sizes", choose)
    fitted(photos, naming_floor=0.75)
    train = [photo.id for photo in parts.photos("train")]
    assert seen["groups"] == [(train, [e.photo.id for e in photos])] and seen["shipped"] == train and train
    assert seen["names"] == len(read_ensemble(place.runs).categories)
    for e, named in zip(photos, seen["named"], strict=True):
        assert np.isnan(named.probabilities).all(1).tolist() == (e.merged.scores < 0.75).tolist()


@pytest.mark.parametrize("floor", ["-0.1", "nan", "inf"])
def test_a_naming_floor_that_is_none_is_refused(place: Place, capsys: pytest.CaptureFixture[str], floor: str) -> None:
    assert fit.main(["--data", str(place.data), "--runs", str(place.runs), "--naming-floor", floor]) == 2
    assert "--naming-floor: got " in capsys.readouterr().err


def test_a_new_fit_removes_floors_that_no_longer_hold(place: Place, fitted: Callable) -> None:
    fitted(simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97))
    assert read_ensemble(place.runs).min_scores
    fitted(simulated_photos(np.random.default_rng(0), 2, 0.97, 0.97))
    assert read_ensemble(place.runs).min_scores == {}


WAY = "soft-nms 0.25, one view"
ADOPTED = MergingChoice(WAY, 2, 3, [Offer(WAY, Interval(0.03, 0.01, 0.05, 5), [([1], WAY)])], {WAY: 0.9, DEFAULT: 0.87})


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The detector's file for each photo that one looks at."""
    files: list[str] = []
    look = evidence_module.run_detector

    def counting(model: object, member: Member, image: np.ndarray) -> list[Detections]:
        files.append(member.file)
        return look(model, member, image)  # type: ignore[arg-type]

    monkeypatch.setattr(evidence_module, "run_detector", counting)
    return files


def test_a_way_of_merging_that_is_adopted_is_written_and_told_and_no_photo_looked_at_twice(
    place: Place, looks: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "choose_merging", lambda *_: ADOPTED)
    monkeypatch.setattr(fit, "choose_gate", lambda *_: Choice(Gate("raw"), None, Gate("raw")))  # for speed
    before = read_ensemble(place.runs)
    write_json(place.runs / "ensemble.json", asdict(replace(before, merge=replace(before.merge, method="nms"))))
    valid = folds.load(place.runs / folds.NAME, read(place.data)).photos("valid")
    words = ["--data", str(place.data), "--runs", str(place.runs)]
    assert fit.main([*words, "--merging", "auto"]) == 0
    after, why = read_ensemble(place.runs), read_object(place.runs / "gate.json")["merging"]
    assert after.merge == replace(before.merge, method="soft_nms", sigma=0.25)
    assert [len(member.views) for member in after.detectors] == [1, 1]
    assert why["way"] == WAY and why["offers"][0]["gain"]["low"] == 0.01 and (why["views"], why["default_views"]) == (2, 3)
    assert sorted(looks) == sorted(["one/model.onnx", "all/model.onnx"] * len(valid))
    out = capsys.readouterr().out
    assert f"{WAY} adopted (views a photo: 2, by default 3)" in out and "in place of the one in" in out
    assert fit.main(words) == 0  # keeps it, and says no more than that it was not chosen here
    assert read_ensemble(place.runs).merge == after.merge
    assert read_object(place.runs / "gate.json")["merging"] is None


def test_a_choice_of_another_word_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit.main(["--data", str(place.data), "--runs", str(place.runs), "--merging", "best"]) == 2
    assert "argument --merging: invalid choice: 'best'" in capsys.readouterr().err


def test_constant_models_keep_the_default_way_with_too_few_scenes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "choose_gate", lambda *_: Choice(Gate("raw"), None, Gate("raw")))  # for speed
    before = read_ensemble(place.runs)
    fit.fit_gate(place.data, place.runs, chooses_merging=True)
    after, why = read_ensemble(place.runs), read_object(place.runs / "gate.json")["merging"]
    assert why["way"] == DEFAULT and why["offers"] == [] and set(why["map50"]) > {WAY, DEFAULT}
    assert (after.merge, after.detectors) == (before.merge, before.detectors)
