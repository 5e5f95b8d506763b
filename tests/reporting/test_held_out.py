"""A fit is judged on every photo by what did not see it, from outputs that are there, with the score that the fit told."""

import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, save_model
from place import IDS, Place, put_models

from fitting import cross_fit, figures
from fitting.procedure import Procedure
from fitting.run import Gated, fit_gate, shipped
from fitting.trainings import Clock
from photos import fingerprint, folds, trained_names
from photos.data import read
from photos.intervals import Interval, Intervals
from photos.score import scores
from reporting import held_out as held_out_module
from reporting.figures import ablation_of, worth_of
from reporting.held_out import HeldOut, gather_held_out
from reporting.label_changes import label_changes
from reporting.page import write_page
from reporting.report import after_fit
from runs import record
from runs.model_files import measured_of
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.gate import choose, merging_choice
from stage2_classifier.gate.ensemble import write_ensemble

PROCEDURE = Procedure(DetectorConfig(), ClassifierConfig(), groups="photo")


def silent(line: str) -> None:
    """Says nothing."""


@pytest.fixture
def fitted(copied: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Gated]:
    """A run folder of a fit whose folds' detectors are unlike, and what it found; without class evidence."""
    for module in (choose, merging_choice):
        monkeypatch.setattr(module, "bootstrap", partial(module.bootstrap, n=20))  # resamples, for speed
    runs = copied.root / "fit"
    _, *by_fold = cross_fit.deal(read(copied.data), runs, PROCEDURE, silent)
    for k, folder in enumerate([runs, *(runs / cross_fit.FOLDER / str(k) for k in range(len(by_fold)))]):
        put_models(folder, IDS)
        shutil.rmtree(folder / "all")
        objectness = 0.9 - 0.1 * k
        save_model(folder / "one", np.concatenate([CANDIDATES[:4], [[objectness, objectness / 2]]]), task="detector")
    return runs, shipped(runs, fit_gate(runs, PROCEDURE, by_fold, Clock(), silent))


def test_all_photos_are_judged_with_the_score_of_the_fit(fitted: tuple[Path, Gated], copied: Place) -> None:
    runs, gated = fitted
    dataset = read(copied.data)
    cached = {path: path.stat().st_mtime_ns for path in (runs / cross_fit.FOLDER).rglob("*.npz")}
    held_out = gather_held_out(runs, folds.load(runs / folds.NAME, dataset))
    assert sorted(photo.id for photo in held_out.photos) == sorted(photo.id for photo in dataset.photos)
    told = figures.cross_fitted(gated.pooled, gated.choice)
    assert scores(held_out.match).score == pytest.approx(told.score.value)
    assert "Cross-fitted" in held_out.split.words and not held_out.split.flatters
    assert cached == {path: path.stat().st_mtime_ns for path in (runs / cross_fit.FOLDER).rglob("*.npz")}  # nothing ran again


def test_names_on_photos_of_one_fold_are_marked_and_told_on_the_page(
    fitted: tuple[Path, Gated], copied: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, _ = fitted
    told = "on photos of one fold only: "
    held_out = gather_held_out(runs, folds.load(runs / folds.NAME, read(copied.data)))
    for names, count in (([], 0), ([1], 1)):
        monkeypatch.setattr(held_out_module, "lone_names", lambda by_fold, own=names: own)
        write_page(held_out, runs / "report.html")
        page = (runs / "report.html").read_text()
        assert (page.count(f"1 of 3 names is {told}"), page.count(f"* {told}"), page.count("*</td>")) == (count,) * 3


def test_boxes_below_the_naming_floor_have_no_name_in_a_report(fitted: tuple[Path, Gated], copied: Place) -> None:
    runs, gated = fitted
    floor = float(np.median(np.concatenate([e.merged.scores for e in gated.pooled.evidence])))
    write_ensemble(runs, replace(gated.ensemble, naming_floor=floor, naming_margin=1.0))
    parts = folds.load(runs / folds.NAME, read(copied.data))
    held_out = gather_held_out(runs, parts)
    unnamed = [np.isnan(e.probabilities).all(1) for e in held_out.evidence if e.probabilities is not None]
    assert [own.tolist() for own in unnamed] == [(e.merged.scores < floor).tolist() for e in held_out.evidence]
    assert any(own.any() for own in unnamed)
    write_page(held_out, runs / "report.html")  # shows what there is


def test_figures_of_an_ensemble_that_was_changed_since_are_not_told_of_the_new_one(
    fitted: tuple[Path, Gated], copied: Place
) -> None:
    runs, gated = fitted
    parts, told = folds.load(runs / folds.NAME, read(copied.data)), Interval(0.123, 0.1, 0.2, 5)
    record.write_json(runs / "fitted.json", {"cross_fitted": asdict(Intervals(told, told, told)), "name_oracle": 0.5})
    held_out = gather_held_out(runs, parts)
    assert worth_of(held_out).figures[0].interval == told and ablation_of(held_out).rows
    dataset = parts.dataset
    of = {"labels": fingerprint.of_photos(dataset.photos, dataset.categories), "measured": measured_of(runs, held_out.ensemble)}
    others = {"labels": of["labels"] | {"boxes": "others"}}, {"measured": of["measured"] | {"method": "another"}}
    for changed in ({}, *others):
        record.write_json(runs / "fitted.json", {"cross_fitted": asdict(Intervals(told, told, told))} | of | changed)
        assert (worth_of(held_out).figures[0].interval == told) == (not changed)
    write_ensemble(runs, replace(gated.ensemble, merge=replace(gated.ensemble.merge, method="nms", iou=0.9)))  # hylle search
    held_out = gather_held_out(runs, parts)
    assert held_out.ensemble.merge.method == "nms" and "very photos" in held_out.split.flatters
    assert worth_of(held_out).figures[0].interval.value != told.value
    shown = ablation_of(held_out)
    assert not shown.rows and "changed since" in shown.absent[0]


def gathered(runs: Path, place: Place) -> tuple[HeldOut, dict[str, str]]:
    """What the fit in RUNS is judged by, and the fingerprints of the labels of the set."""
    parts = folds.load(runs / folds.NAME, read(place.data))
    return gather_held_out(runs, parts), fingerprint.of_photos(parts.dataset.photos, parts.dataset.categories)


def test_bars_of_a_fit_of_other_labels_are_not_told_beside_scores_of_the_new_ones(
    fitted: tuple[Path, Gated], copied: Place
) -> None:
    runs, _ = fitted
    held_out, labels = gathered(runs, copied)
    told = {"name_oracle": 0.91, "box_oracle": 0.95}
    expected = ((labels, True, ""), (labels | {"names": "others"}, False, "the labels changed since the gate was fitted"))
    for of, shows, why in expected:
        record.write_json(runs / "fitted.json", told | {"labels": of, "measured": measured_of(runs, held_out.ensemble)})
        shown = ablation_of(held_out)
        assert ({0.91, 0.95} <= {row.value for row in shown.rows}) == bool(shown.rows) == shows
        assert any(line.startswith(why) for line in shown.absent) and not any(
            "does not record" in line for line in shown.absent
        )
    record.write_json(runs / "fitted.json", told | {"labels": labels, "measured": {}})  # of other models
    shown = ablation_of(held_out)
    assert shown.rows and not {0.91, 0.95} & {row.value for row in shown.rows}
    assert shown.absent[0].startswith("what perfect names and boxes would score was measured before ensemble.json")
    record.write_json(runs / "fitted.json", told)  # of an earlier version
    shown = ablation_of(held_out)
    assert shown.rows and any(line.startswith("gate.json does not record its labels") for line in shown.absent)


def test_the_top_tells_of_a_fit_whose_labels_changed_since_but_for_names_alone(
    fitted: tuple[Path, Gated], copied: Place
) -> None:
    runs, _ = fitted
    held_out, labels = gathered(runs, copied)
    for of in ({}, {"labels": labels}):  # an earlier version told none
        record.write_json(runs / "fitted.json", of)
        assert label_changes(held_out) == []
    record.write_json(runs / "fitted.json", {"labels": labels | {"boxes": "others"}})
    assert [line.partition(":")[0] for line in label_changes(held_out)] == ["The labels changed since the fit"]
    dataset = held_out.folds.dataset
    then = [replace(category, name=f"old {category.name}") for category in dataset.categories]
    record.write_json(runs / "fitted.json", {"labels": fingerprint.of_photos(dataset.photos, then)})
    assert label_changes(held_out)[0].startswith("The labels changed")  # no model notes the names of then
    folder = runs / Path(held_out.ensemble.detectors[0].file).parent
    record.write_run(folder, {}, {}, trained_names.noted(then))
    assert [line.partition(":")[0] for line in label_changes(held_out)] == [
        f"3 products are called otherwise than when {folder} was trained"
    ]


def test_without_a_refit_the_photos_of_the_fold_that_was_left_out_are_judged(fitted: tuple[Path, Gated], copied: Place) -> None:
    runs, dataset = copied.root / "once", read(copied.data)
    shutil.copytree(fitted[0], runs, ignore=shutil.ignore_patterns("*.json", "raw", cross_fit.FOLDER))
    for path in fitted[0].rglob("model.json"):
        if cross_fit.FOLDER not in path.parts:
            shutil.copy(path, runs / path.relative_to(fitted[0]))
    procedure = replace(PROCEDURE, refit=False)
    _, *by_fold = cross_fit.deal(dataset, runs, procedure, silent)
    gated = shipped(runs, fit_gate(runs, procedure, by_fold, Clock(), silent))
    held_out = gather_held_out(runs, folds.load(runs / folds.NAME, dataset))
    assert {photo.id for photo in held_out.photos} == {photo.id for photo in by_fold[0].photos("valid")}
    told = figures.cross_fitted(gated.pooled, gated.choice)
    assert scores(held_out.match).score == pytest.approx(told.score.value)
    assert held_out.split.words.startswith("Held out: ") and not held_out.split.flatters


def test_the_page_of_a_fit_is_written(fitted: tuple[Path, Gated], copied: Place, capsys: pytest.CaptureFixture[str]) -> None:
    runs, _ = fitted
    after_fit(runs, read(copied.data))
    assert "report: " in capsys.readouterr().out
    text = (runs / "report.html").read_text(encoding="utf-8")
    assert "Cross-fitted" in text and "The gate could change nothing" in text


def test_a_fit_is_done_even_where_its_page_cannot_be_made(copied: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (copied.runs / "ensemble.json").unlink()
    after_fit(copied.runs, read(copied.data))
    said = capsys.readouterr().out
    assert "report: not written" in said and f"hylle report {copied.runs}" in said
