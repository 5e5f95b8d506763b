"""Evidence of each photo comes from models that did not see its scene; folds of one and the same model count as one."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, save_model
from place import IDS, Place, put_models

from fitting import cross_fit, figures, pooled
from fitting.procedure import Procedure
from fusion.gate import Gate
from fusion.models import Sizes
from photos import folds
from photos.data import read
from photos.folds import Folds
from photos.score import match, scores
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.gate.calibrate import n_categories, predictions, score
from stage2_classifier.gate.choose import choose_gate
from stage2_classifier.gate.ensemble import default_ensemble, gather, scenes_of, write_ensemble
from stage2_classifier.gate.evidence import as_judged, models_of
from stage2_classifier.gate.naming_floor import n_named
from stage2_classifier.gate.sizes import fit_sizes

PROCEDURE = Procedure(DetectorConfig(), ClassifierConfig(), groups="photo")


def silent(line: str) -> None:
    """Says nothing."""


def dealt(place: Place) -> tuple[Path, list[Folds]]:
    """A run folder with the folds of the place's photos, without models; and the folds."""
    runs = place.root / "fit"
    return runs, cross_fit.deal(read(place.data), runs, PROCEDURE, silent)[1:]


def put_same_models(runs: Path, aware: bool) -> None:
    """The very same models in each fold and in `runs` itself; without class evidence a gate is fitted in no time."""
    for folder in (runs, *(runs / "cross_fit" / str(k) for k in range(3))):
        put_models(folder, IDS)
        if not aware:
            shutil.rmtree(folder / "all")


def with_objectness(folder: Path, objectness: float) -> None:
    """A detector whose two boxes score `objectness` and half of it, so that its word is known as its own."""
    save_model(folder, np.concatenate([CANDIDATES[:4], [[objectness, objectness / 2]]]), task="detector")


def test_every_photo_is_looked_at_by_models_that_did_not_see_its_scene(place: Place) -> None:
    runs, by_fold = dealt(place)
    for k in range(3):
        put_models(runs / "cross_fit" / str(k), IDS)
        with_objectness(runs / "cross_fit" / str(k) / "one", 0.9 - 0.2 * k)
    ensemble = default_ensemble(runs / "cross_fit" / "0", ["classifier_shelf"], by_fold[0].dataset)
    evidence, scenes = pooled.pool(ensemble, runs, by_fold)
    assert sorted(e.photo.id for e in evidence) == [photo.id for photo in read(place.data).photos]
    assert [by_fold[0].scene[e.photo.id] for e in evidence] == scenes.tolist()
    best = [float(e.merged.scores.max()) for e in evidence]
    whose = sorted(set(best), reverse=True).index  # the first fold's detector is the surest
    for value, scene in zip(best, scenes.tolist(), strict=True):
        k = whose(value)
        trained_on = folds.load(runs / "cross_fit" / str(k) / folds.NAME, by_fold[0].dataset).photos("train")
        assert scene not in {by_fold[k].scene[photo.id] for photo in trained_on}
    assert len(set(models_of(evidence).tolist())) == 3


@pytest.mark.parametrize("aware", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["one source", "two sources"])
def test_folds_of_the_very_same_models_score_as_one(place: Place, aware: bool) -> None:
    runs, by_fold = dealt(place)
    put_same_models(runs, aware)
    ensemble = default_ensemble(runs, ["classifier_shelf"], by_fold[0].dataset)
    joined = pooled.pool(ensemble, runs, by_fold)
    all_held_out = replace(by_fold[0], part=dict.fromkeys(by_fold[0].part, "valid"))
    one = {e.photo.id: e for e in gather("valid", ensemble, runs, all_held_out)}
    alike = [one[e.photo.id] for e in joined.evidence]
    assert not models_of(joined.evidence).any()
    for a, b in zip(joined.evidence, alike, strict=True):
        assert a.models == b.models
        assert np.array_equal(a.merged.scores, b.merged.scores) and np.array_equal(a.probabilities, b.probabilities)
    gates = [Gate("raw")] * len(alike)
    assert score(joined.evidence, gates) == score(alike, gates)
    choices = [choose_gate(rows, scenes_of(rows, by_fold[0]), np.random.default_rng(0)) for rows in (joined.evidence, alike)]
    assert asdict(choices[0]) == asdict(choices[1])


def test_one_gate_in_all_turns_is_one_ranking(place: Place) -> None:
    runs, by_fold = dealt(place)
    put_same_models(runs, aware=False)
    ensemble = default_ensemble(runs / "cross_fit" / "0", ["classifier_shelf"], by_fold[0].dataset)
    found = pooled.pool(ensemble, runs, by_fold)
    choice = choose_gate(found.evidence, found.scenes, np.random.default_rng(0))
    gate = replace(choice.gate, further=0)
    same = replace(choice, turns=[replace(turn, gate=gate) for turn in choice.turns])
    truths, n = [e.truth for e in found.evidence], n_categories(found.evidence)
    expected = predictions(found.evidence, [choice.gate] * len(truths))
    for a, b in zip(figures.nested_decisions(found.evidence, same), expected, strict=True):
        assert np.array_equal(a.scores, b.scores) and np.array_equal(a.labels, b.labels)
    measured = figures.cross_fitted(found, same)
    assert measured.score.value == scores(match(truths, expected, n)).score
    assert measured.score.n_groups == 10 and figures.resampled(found) == "scenes"
    assert figures.resampled(found._replace(scenes=np.arange(10) % 4)) == "photos"


def test_photos_of_one_scene_are_judged_by_the_gate_that_saw_them(place: Place) -> None:
    """Then no turn leaves a scene out."""
    runs, by_fold = dealt(place)
    put_same_models(runs, aware=False)
    ensemble = default_ensemble(runs / "cross_fit" / "0", ["classifier_shelf"], by_fold[0].dataset)
    found = pooled.pool(ensemble, runs, by_fold)._replace(scenes=np.zeros(10, np.int64))
    choice = choose_gate(found.evidence, found.scenes, np.random.default_rng(0))
    assert not figures.is_nested(found.evidence, choice)
    expected = predictions(found.evidence, [choice.gate] * len(found.evidence))
    found_score = figures.cross_fitted(found, choice).score.value
    assert found_score == scores(match([e.truth for e in found.evidence], expected, n_categories(found.evidence))).score


def test_turns_scored_on_other_scales_are_compared_on_one(place: Place) -> None:
    """Exponents keep the order of boxes within a turn: once all are on one scale, the score is that of one gate."""
    runs, by_fold = dealt(place)
    put_same_models(runs, aware=False)
    ensemble = default_ensemble(runs / "cross_fit" / "0", ["classifier_shelf"], by_fold[0].dataset)
    found = pooled.pool(ensemble, runs, by_fold)
    rng = np.random.default_rng(3)
    drawn = [np.sort(rng.uniform(0.1, 1, len(e.merged)))[::-1].astype(np.float32) for e in found.evidence]
    evidence = [replace(e, merged=replace(e.merged, scores=s)) for e, s in zip(found.evidence, drawn, strict=True)]
    choice = choose_gate(evidence, found.scenes, np.random.default_rng(0))
    gate = Gate("raw", further=9)
    exponents = (0.25, 4.0, 1.0, 0.5, 2.0, 3.0)
    turns = [replace(t, gate=Gate("raw", objectness_exponent=x)) for t, x in zip(choice.turns, exponents, strict=False)]
    truths, n = [e.truth for e in evidence], n_categories(evidence)
    nested = figures.nested_decisions(evidence, replace(choice, gate=gate, turns=turns))
    assert scores(match(truths, nested, n)) == scores(match(truths, predictions(evidence, [gate] * len(evidence)), n))


def test_an_ensemble_that_is_there_is_kept_and_one_of_other_models_refused(place: Place) -> None:
    runs, by_fold = dealt(place)
    for folder in (runs, *(runs / "cross_fit" / str(k) for k in range(3))):
        put_models(folder, IDS)
    default = pooled.wanted_ensemble(runs, PROCEDURE, by_fold, False, silent)
    assert default.gate == Gate() and not default.made_from
    kept = replace(default, merge=replace(default.merge, method="nms"))
    fitted = {"naming_floor": 0.4, "naming_margin": 5.0, "naming_typical": 0.6, "min_scores": {"f1": 0.5}}
    write_ensemble(runs, replace(kept, gate=Gate("raw"), **fitted))
    assert pooled.wanted_ensemble(runs, PROCEDURE, by_fold, False, silent) == kept
    assert pooled.wanted_ensemble(runs, PROCEDURE, by_fold, True, silent) == default
    values = json.loads((runs / "ensemble.json").read_text())
    values["detectors"][0]["file"] = "second/model.onnx"
    (runs / "ensemble.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"names second/model\.onnx, which no fold is trained with"):
        pooled.wanted_ensemble(runs, PROCEDURE, by_fold, False, silent)


@pytest.mark.parametrize("weight", [0.0, 1.0], ids=["sizes do not count", "sizes count"])
def test_every_photo_is_judged_by_the_sizes_of_the_other_folds_boxes(
    place: Place, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, by_fold = dealt(place)
    put_same_models(runs, aware=False)
    ensemble = default_ensemble(runs / "cross_fit" / "0", ["classifier_shelf"], by_fold[0].dataset)
    n = len(ensemble.categories)
    ensemble = replace(ensemble, naming_floor=0.7, sizes=Sizes(weight=weight, means=[0.0] * n, spreads=[1.0] * n))
    whole = pooled.pool(ensemble, runs, by_fold)
    whole = whole._replace(evidence=[replace(e, probabilities=np.full_like(e.probabilities, 1 / n)) for e in whole.evidence])
    judged = {e.photo.id: e.probabilities for e in pooled.as_judged(whole, by_fold, ensemble)}
    for fold in by_fold:
        own = {photo.id for photo in fold.photos("valid")}
        table = replace(fit_sizes(fold.photos("train"), n).sizes, weight=weight)
        for e in as_judged([e for e in whole.evidence if e.photo.id in own], replace(ensemble, sizes=table)):
            np.testing.assert_array_equal(judged[e.photo.id], e.probabilities)
    assert all(np.isnan(rows).any() for rows in judged.values())  # below the naming floor
    monkeypatch.setattr("fusion.boxes.NAMING_STEP", 1)
    rules: list[dict[str, float]] = [{}, {"naming_margin": 5.0}, {"naming_margin": 5.0, "naming_typical": 9.0}]
    counts = [[n_named(e) for e in pooled.as_judged(whole, by_fold, replace(ensemble, **own))] for own in rules]
    assert all(floor < step < lower for floor, step, lower in zip(*counts, strict=True))
