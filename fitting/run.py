"""The whole procedure for one data set, in one run folder; called again it reuses each part that is finished.

    folds -> a detector for each, on the other folds -> how much of their start they keep -> a classifier for each
    -> a gate from all photos -> models of all photos

Nothing is fitted on what its models were trained on: the gate, the classifier's calibration and the figures come from the
folds' models on the photos left out. The models of R itself are trained on all of them, so nothing there is scored but on a
test part. Without a refit one fold alone is left out, for the gate and the figures, and its models are those of R.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fitting import cross_fit, figures, kept_choice, pooled, start_share, studio_names, trainings
from fitting.origin import Origin, fingerprints_of, wished_files
from fitting.pooled import Pooled
from fitting.procedure import Fitted, Procedure, Say
from fitting.trainings import Clock
from fusion.ensemble import Ensemble, read_ensemble
from fusion.models import read_object
from photos import fingerprint, repairs
from photos.data import Dataset, read
from photos.folds import Folds
from photos.intervals import Intervals
from runs import record
from runs.counted import counted
from runs.model_files import files_of, fingerprints, measured_of, method_of, model_in
from stage2_classifier import studio_prototypes
from stage2_classifier.gate.calibrate import RULES
from stage2_classifier.gate.choose import Choice, choose_gate
from stage2_classifier.gate.ensemble import NAME, content_of, gather, refuse_edited, scenes_of, write_ensemble
from stage2_classifier.gate.evidence import as_judged
from stage2_classifier.gate.fit import in_words, reasons, tell
from stage2_classifier.gate.merging_choice import MergingChoice, choose_merging, kept_views, merged_by
from stage2_classifier.gate.merging_choice import in_words as merging_in_words
from stage2_classifier.gate.naming_floor import NamingChoice, fit_naming_floor
from stage2_classifier.gate.operating_points import OperatingPoints, fit_operating_points
from stage2_classifier.gate.sizes import SizesChoice, choose_sizes

TOPOLOGY = f"{cross_fit.FOLDER}/ensemble.json"  # how the procedure itself joins models: tells its own R/ensemble.json
# fields that are no part of how models are joined
OF_A_GATE = ("gate", "made_from", "min_scores", "names", "naming_floor", "naming_margin", "naming_typical", "sizes")
RECORD = "fitted.json"


class Gated(NamedTuple):
    """The ensemble with its gate, why it has that, the evidence of both, that evidence as it is judged (by the naming floor and
    the sizes that did not see it), which boxes are named, whether sizes count, and the scores to cut at.

    `merging` is why boxes are merged as they are; None where a user's or a search's ensemble.json says how.
    """

    ensemble: Ensemble
    choice: Choice
    pooled: Pooled
    judged: Pooled
    naming: NamingChoice
    sizes: SizesChoice
    floors: OperatingPoints
    merging: MergingChoice | None


def run_procedure(
    data: Path, runs: Path, procedure: Procedure, say: Say, clock: Clock | None = None, made_from: dict[str, str] | None = None
) -> Fitted:
    """Fit the set in DATA into the run folder RUNS, and write RUNS/{one, all, classifier_CROPS, second, ensemble.json,
    fitted.json}: all and second where there are such models.

    The `clock` may say how long each training is; the refit comes last, so that it can take the time that is left. `made_from`
    are the fingerprints of what DATA held when the fit began; by default those of now.

    Raises ValueError for what the user can mend: too few scenes, a run folder of other settings or labels, wrong weights, an
    ensemble.json that names what is not trained, photos or labels that are changed meanwhile.
    """
    dataset, clock = read(data), clock or Clock()
    origin = Origin(data, made_from or fingerprints_of(dataset, procedure.crops != "shelf"), wished_files(procedure))
    repairs.tell(dataset)
    refuse_unplanned(runs, procedure, dataset)
    with clock.timed("scenes"):
        whole, *by_fold = cross_fit.deal(dataset, runs, procedure, say)
    for k, folder in enumerate(folders := cross_fit.folders(runs, by_fold)):
        say(f"fit: fold {k + 1} of {len(by_fold)}, in {folder}")
        trainings.train_detectors(origin, runs, folder, procedure, clock)
    share = start_share.choose_for_folds(runs, procedure, by_fold, clock, say)
    for folder in folders:
        trainings.train_fold_classifiers(origin, runs, folder, procedure, clock)
    blends = studio_names.choose_for_folds(runs, procedure, by_fold, clock, say)
    before, gated = content_of(runs), fit_gate(runs, procedure, by_fold, clock, say)
    if procedure.refit:
        say(f"fit: the models that ship, on all photos, in {runs}")
        trainings.refit_detectors(origin, runs, procedure, clock)
        start_share.apply(runs, procedure, share, whole.labelled("train"))
        trainings.refit_classifiers(origin, runs, procedure, clock)
        for name, blend in blends.items():
            studio_prototypes.blend_in(runs / name, blend)
    origin.refuse_changed()
    refuse_edited(runs, before)
    gated = shipped(runs, gated)
    with clock.timed("figures"):
        fitted = measured(runs, procedure, gated, [whole, *by_fold], say)
    fitted = replace(fitted, seconds=clock.seconds)
    write_record(data, runs, procedure, fitted, whole.dataset)
    return fitted


def write_record(data: Path, runs: Path, procedure: Procedure, fitted: Fitted, dataset: Dataset) -> None:
    """Write RUNS/fitted.json: what was fitted to what, and what it is worth."""
    told = {"data": str(data.resolve()), "procedure": procedure.settings()}
    told |= {
        "labels": fingerprint.of_photos(dataset.photos, dataset.categories),
        "measured": measured_of(runs, fitted.ensemble),
    }
    record.write_json(runs / RECORD, told | as_json(fitted))


def fit_gate(runs: Path, procedure: Procedure, by_fold: Sequence[Folds], clock: Clock, say: Say) -> Gated:
    """The gate and the scores to cut at from all photos left out, each looked at by the models that did not see it."""
    dataset = by_fold[0].dataset
    own = has_own_ensemble(runs)
    ensemble, merging = pooled.wanted_ensemble(runs, procedure, by_fold, own, say), None
    with clock.timed("evidence"):
        if own or not (runs / NAME).is_file():
            ensemble, merging, evidence = merged_as_chosen(ensemble, runs, by_fold, procedure.seed)
            say(f"fit: merging: {merging_in_words(merging)}")
        else:
            evidence = pooled.pool(ensemble, runs, by_fold)
    with clock.timed("gate"):
        choice = chosen(runs, procedure, ensemble, evidence, dataset)
        rngs = [np.random.default_rng(procedure.seed) for _ in range(2)]
        naming = fit_naming_floor(evidence.evidence, choice, evidence.scenes, rngs[0])
        named = evidence._replace(evidence=naming.withheld(evidence.evidence))
        sizes, judged = sizes_for(named, by_fold, choice, len(ensemble.categories), np.random.default_rng(procedure.seed))
        floors = fit_operating_points(evidence.evidence, choice.gate, evidence.scenes, rngs[1], judged.evidence)
    say(f"fit: gate over {len(np.unique(evidence.scenes))} scenes: {in_words(choice)}")
    say(f"fit: names: {naming}")
    say(f"fit: sizes: {sizes}")
    tell(floors)
    ensemble = naming.put_into(replace(ensemble, gate=choice.gate, min_scores=floors.min_scores, sizes=sizes.adopted))
    return Gated(ensemble, choice, evidence, judged, naming, sizes, floors, merging)


def sizes_for(
    named: Pooled, by_fold: Sequence[Folds], choice: Choice, n_names: int, rng: np.random.Generator
) -> tuple[SizesChoice, Pooled]:
    """Whether sizes count, and the evidence under that; each photo is judged by the sizes of the other folds' boxes."""
    tables = pooled.size_tables(by_fold, n_names)
    sizes = choose_sizes(named.evidence, tables, choice, named.scenes, rng)
    judged = tables.under(named.evidence, [sizes.sizes.weight] * len(named.evidence))
    return sizes, named._replace(evidence=judged)


def merged_as_chosen(
    ensemble: Ensemble, runs: Path, by_fold: Sequence[Folds], seed: int
) -> tuple[Ensemble, MergingChoice, Pooled]:
    """`ensemble`, the default one, with the way of merging that all photos choose, why, and the evidence merged so."""
    unmerged = pooled.unmerged(ensemble, runs, by_fold)
    choice = choose_merging(unmerged.by_fold, ensemble, unmerged.scenes, np.random.default_rng(seed))
    merged = merged_by(ensemble, choice.way)
    return merged, choice, unmerged.named(merged, kept_views(ensemble, choice.way))


def shipped(runs: Path, gated: Gated) -> Gated:
    """The same for the models that ship, written into RUNS/ensemble.json and RUNS/gate.json."""
    ensemble = replace(gated.ensemble, made_from=fingerprints(runs, files_of(gated.ensemble)))
    why = reasons(gated.choice, gated.naming, gated.sizes, gated.floors, gated.merging, gated.pooled.evidence)
    record.write_json(runs / "gate.json", why | {"method": method_of(ensemble)})
    if gated.merging is not None:
        record.write_json(runs / TOPOLOGY, asdict(ensemble))
    write_ensemble(runs, ensemble)
    return gated._replace(ensemble=ensemble)


def refuse_unplanned(runs: Path, procedure: Procedure, dataset: Dataset) -> None:
    """ValueError where RUNS/ensemble.json, of a user or a search, names a model or categories that no fold will have.

    So it is known before the first training; `pooled.wanted_ensemble` asks again when they are there.
    """
    if not (runs / NAME).is_file() or has_own_ensemble(runs):
        return
    ensemble, first = read_ensemble(runs), runs / cross_fit.FOLDER / "0" if procedure.refit else runs
    folders = ("one", *(["all"] if procedure.aware else []), *procedure.classifiers)
    planned = {model_in(runs, folder) for folder in folders}
    unknown = [file for file in files_of(ensemble) if file not in planned and not (first / file).is_file()]
    if unknown or ensemble.categories != [category.id for category in dataset.categories]:
        raise ValueError(pooled.unplanned(runs, unknown[0] if unknown else "other categories"))


def has_own_ensemble(runs: Path) -> bool:
    """Whether RUNS/ensemble.json joins models as an earlier call of the procedure made it, not as a user or a search did."""
    paths = (runs / NAME, runs / TOPOLOGY)
    if not all(path.is_file() for path in paths):
        return False
    there, own = ({k: v for k, v in read_object(path).items() if k not in OF_A_GATE} for path in paths)
    return there == own


def chosen(runs: Path, procedure: Procedure, ensemble: Ensemble, evidence: Pooled, dataset: Dataset) -> Choice:
    """The gate's choice on this evidence: kept from an earlier call, or made now."""
    photos = [e.photo for e in evidence.evidence]
    labels = fingerprint.of_photos(photos, dataset.categories)
    models = [[e.photo.id, e.models] for e in evidence.evidence]
    key = record.digest([labels, models, evidence.scenes.tolist(), asdict(ensemble), procedure.seed, RULES])
    kept = kept_choice.read(runs, key)
    if kept is not None:
        return kept
    choice = choose_gate(evidence.evidence, evidence.scenes, np.random.default_rng(procedure.seed))
    kept_choice.write(runs, choice, key)
    return choice


def measured(runs: Path, procedure: Procedure, gated: Gated, parts: Sequence[Folds], say: Say) -> Fitted:
    """What it is worth; `parts` are the whole and the folds."""
    whole, *by_fold = parts
    ensemble, choice, evidence, judged, *_ = gated
    lone = figures.lone_of(figures.judged_match(judged, choice), figures.lone_names(by_fold), judged.scenes)
    fitted = Fitted(
        ensemble,
        choice,
        figures.cross_fitted(judged, choice),
        figures.name_oracle(evidence.evidence),
        figures.box_oracle(evidence, ensemble, runs, by_fold),
        tested(runs, procedure, ensemble, whole),
        resampled=figures.resampled(evidence),
        nested=figures.is_nested(judged.evidence, choice),
        lone="" if lone is None else str(lone),
    )
    unseen = counted(len(evidence.evidence), "photo")
    unseen += " that neither models nor gate saw" if fitted.nested else " that the models did not see, and the gate did"
    how = "cross-fitted" if procedure.refit else "held out"
    say(f"fit: {how}, {unseen}: {figures_in_words(fitted.figures)}")
    if fitted.test is not None:
        say(f"fit: on the test part, {counted(len(whole.photos('test')), 'photo')}: {figures_in_words(fitted.test)}")
    return fitted


def tested(runs: Path, procedure: Procedure, ensemble: Ensemble, whole: Folds) -> Intervals | None:
    """The figures on the test part that the set came with; None where it has none with boxes."""
    if not any(len(photo.boxes) for photo in whole.photos("test")):
        return None
    evidence = as_judged(gather("test", ensemble, runs, whole), ensemble)
    return figures.on_test(evidence, scenes_of(evidence, whole), ensemble.gate)


def figures_in_words(found: Intervals) -> str:
    """The figures as text."""
    score = f"score {found.score.value:.3f} [{found.score.low:.3f}, {found.score.high:.3f}]"
    groups = counted(found.score.n_groups, "group")
    return f"{score} (det {found.det_map50.value:.3f}, cls {found.cls_map50.value:.3f}), {groups}"


def as_json(fitted: Fitted) -> dict[str, object]:
    """What RUNS/fitted.json tells beside the procedure; the gate and why are in gate.json."""
    return {
        "cross_fitted": asdict(fitted.figures),
        "name_oracle": fitted.name_oracle,
        "box_oracle": fitted.box_oracle,
        "test": None if fitted.test is None else asdict(fitted.test),
        "resampled": fitted.resampled,
        "lone_names": fitted.lone,
        "policy": fitted.choice.gate.policy,
        "seconds": fitted.seconds,
    }
