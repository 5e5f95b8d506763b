"""Fit the gate, which boxes are named, whether their sizes count, and the scores to cut at, on valid; write R/ensemble.json.

    python -m stage2_classifier.gate --data D --runs R [--classifiers NAME ...] [--merging keep|auto]
                                     [--naming-floor F] [--seed 0]

Without --classifiers the gate is fitted to the ensemble that R/ensemble.json holds, if there is one: a searched or hand-made
one keeps its detectors, views and merging. With --classifiers, and where there is none, R gets the default ensemble: R/one
finds boxes, R/all, if there is one, gives evidence, the classifiers name. With --merging auto the default ensemble's way of
merging boxes is chosen on valid too (`merging_choice`). Raw outputs are cached in R/raw, so that a second run of the same
version takes seconds. run.py decides by the gate, shows its classifiers the boxes that are worth it (`naming_floor`), lets
sizes count where that is shown to gain (`sizes`), and cuts nowhere; the scores to cut at (`operating_points`) are for those who
look at predictions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fusion.ensemble import Ensemble, read_ensemble
from fusion.models import read_sidecar
from photos import folds, trained_names, trained_on
from photos.data import Dataset
from photos.exif import convention
from photos.fingerprint import of_file
from photos.folds import Folds
from photos.intervals import Interval
from photos.repairs import read_and_tell
from runs import record
from runs.command import Parser, note_result, run, say, say_progress
from runs.model_files import files_of, fingerprints, method_of
from stage2_classifier.enrolment import enrolled_in, why_ignored
from stage2_classifier.gate.choose import Choice, choose_gate
from stage2_classifier.gate.ensemble import (
    NAME,
    content_of,
    default_ensemble,
    detector_outputs,
    folders_of,
    gather,
    product_names,
    refuse_edited,
    refuse_other_class_maps,
    refuse_other_products,
    scenes_of,
    write_ensemble,
)
from stage2_classifier.gate.evidence import Evidence, as_judged, named
from stage2_classifier.gate.joining import (
    RECORDED,
    WHY,
    amiss,
    differences,
    gone,
    is_unfinished,
    joining_of,
    takes_default,
    without_unknown,
)
from stage2_classifier.gate.merging_choice import MergingChoice, choose_merging, kept_views, merged_by
from stage2_classifier.gate.merging_choice import in_words as merging_in_words
from stage2_classifier.gate.naming_floor import NamingChoice, fit_naming_floor
from stage2_classifier.gate.operating_points import OperatingPoints, fit_operating_points
from stage2_classifier.gate.sizes import SizesChoice, choose_sizes, tables_of

CLASSIFIER = "classifier_shelf"  # the folder in R of the default classifier
MERGING = ("keep", "auto")  # what --merging takes


def main(argv: list[str] | None = None, prog: str = "python -m stage2_classifier.gate") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and fit."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="the labelled set that R is of")
    p.add_argument("--runs", type=Path, required=True, help="run folder with one/, all/ and classifiers")
    p.add_argument("--classifiers", nargs="+", help="folders in R; of several, the mean names; asks for the default ensemble")
    auto = "auto: the default ensemble, with the way of merging boxes that is best on valid, if that is shown"
    p.add_argument("--merging", choices=MERGING, default="keep", help=auto)
    p.add_argument("--naming-floor", type=float, metavar="F", help="boxes below this objectness are not named; default: fitted")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap and the cross-fitting")
    args = p.parse_args(argv)
    if args.naming_floor is not None and not 0 <= args.naming_floor < np.inf:
        raise ValueError(
            f"--naming-floor: got {args.naming_floor}, must be 0 (every box is named) or more; without it, it is fitted"
        )
    fit_gate(args.data, args.runs, args.classifiers, args.seed, args.merging == "auto", args.naming_floor)


def fit_gate(
    data: Path,
    runs: Path,
    classifiers: Sequence[str] | None = None,
    seed: int = 0,
    chooses_merging: bool = False,
    naming_floor: float | None = None,
) -> Choice:
    """Choose the gate, the naming floor, whether sizes count and the scores to cut at on the valid photos; into
    RUNS/ensemble.json, and why into RUNS/gate.json.

    With `chooses_merging` the default ensemble is asked for, and how it merges boxes is chosen first. `naming_floor` takes the
    place of the fitted one. Raises ValueError where RUNS/ensemble.json is changed meanwhile.
    """
    dataset, before = read_and_tell(data), content_of(runs)
    parts = folds.load(runs / folds.NAME, dataset)
    if chooses_merging and (runs / NAME).is_file():
        say(f"gate: --merging auto asks for the default ensemble, in place of the one in {runs / NAME}")
    classifiers = classifiers or ([CLASSIFIER] if chooses_merging else None)
    by_default = takes_default(runs, classifiers)
    ensemble = wanted_ensemble(runs, classifiers, dataset)
    for line in trained_names.changes(folders_of(runs, ensemble), parts):
        say(f"gate: {line}")
    default = joining_of(ensemble) if by_default else None
    made_from, why_merging = fingerprints(runs, files_of(ensemble)), None
    if chooses_merging:
        ensemble, why_merging, valid = with_chosen_merging(ensemble, runs, parts, seed)
    else:
        valid = gather("valid", ensemble, runs, parts)
    chosen, ensemble = fitted(valid, replace(ensemble, made_from=made_from), parts, seed, naming_floor)
    refuse_edited(runs, before)
    why = reasons(*chosen, why_merging, valid)  # first: a kill before the other must not make that look edited
    record.write_json(runs / WHY, why | {"method": method_of(ensemble), "labels": parts.labels("valid"), RECORDED: default})
    write_ensemble(runs, ensemble)
    tell_ignored(runs, ensemble, dataset)
    choice = chosen.choice
    note_result(runs=runs, policy=choice.gate.policy, gain=choice.gain, scores=choice.scores, naming=chosen.naming,
                min_scores=ensemble.min_scores, sizes=chosen.sizes)  # fmt: skip
    return choice


class Chosen(NamedTuple):
    """What was chosen on valid: the gate, which boxes are named, whether sizes count, the scores to cut at."""

    choice: Choice
    naming: NamingChoice
    sizes: SizesChoice
    floors: OperatingPoints


def reasons(
    choice: Choice,
    naming: NamingChoice,
    sizes: SizesChoice,
    floors: OperatingPoints,
    merging: MergingChoice | None,
    evidence: Iterable[Evidence],
) -> dict[str, object]:
    """What gate.json tells: why the fitted numbers of ensemble.json are what they are, and on which photos they were fitted."""
    beside = {
        "naming": asdict(naming),
        "sizes": asdict(sizes),
        "operating_points": asdict(floors),
        "merging": merging and asdict(merging),
        trained_on.CHOSEN: sorted(of_file(e.photo.path) for e in evidence),
    }
    return asdict(choice) | beside


def fitted(
    valid: Sequence[Evidence], ensemble: Ensemble, parts: Folds, seed: int, naming_floor: float | None
) -> tuple[Chosen, Ensemble]:
    """What is chosen on `valid`, said as it is, and `ensemble` with it. Each choice draws from its own generator of `seed`."""
    say("gate: nested cross-validation on valid")
    scenes = scenes_of(valid, parts)
    choice = choose_gate(valid, scenes, np.random.default_rng(seed), say_fits)
    say(f"gate: {in_words(choice)}")
    naming = fit_naming_floor(valid, choice, scenes, np.random.default_rng(seed), naming_floor)
    say(f"gate: names: {naming}")
    groups = [(parts.photos("train"), [e.photo for e in valid])]
    tables = tables_of(groups, parts.photos("train"), len(ensemble.categories))
    sizes = choose_sizes(naming.withheld(valid), tables, choice, scenes, np.random.default_rng(seed))
    say(f"gate: sizes: {sizes}")
    ensemble = naming.put_into(replace(ensemble, gate=choice.gate, sizes=sizes.adopted))
    floors = fit_operating_points(valid, choice.gate, scenes, np.random.default_rng(seed), as_judged(valid, ensemble))
    tell(floors)
    return Chosen(choice, naming, sizes, floors), replace(ensemble, min_scores=floors.min_scores)


def with_chosen_merging(
    ensemble: Ensemble, runs: Path, parts: Folds, seed: int
) -> tuple[Ensemble, MergingChoice, list[Evidence]]:
    """`ensemble` with the way of merging that is chosen on valid, why, and the evidence of valid, merged so."""
    outputs = detector_outputs("valid", ensemble, runs, parts)
    scenes = np.array([parts.scene[photo.id] for photo in outputs.photos])
    choice = choose_merging([outputs], ensemble, scenes, np.random.default_rng(seed))
    say(f"gate: merging: {merging_in_words(choice)}")
    merged = merged_by(ensemble, choice.way)
    return merged, choice, named(outputs.in_views(kept_views(ensemble, choice.way)), merged)


def say_fits(done: int, total: int) -> None:
    """Tell of every fourth part of the fits."""
    if done % max(1, total // 4) == 0 or done == total:
        say_progress(f"gate: {done}/{total} fits")


def wanted_ensemble(runs: Path, classifiers: Sequence[str] | None, dataset: Dataset) -> Ensemble:
    """The ensemble in RUNS/ensemble.json; the default one of `classifiers` where they are given, or where there is none.

    One that is there and is the default of its time, which nobody edited, is made anew, as its models are now.

    Raises ValueError where the one that is there knows other categories than those of `dataset` first.
    """
    kept, ids = None, [category.id for category in dataset.categories]
    if classifiers is None and (runs / NAME).is_file():
        kept = read_ensemble(runs)
        refuse_other_products(runs, kept, dataset)
        if kept.categories[: len(ids)] != ids:
            raise ValueError(f"{runs / NAME} knows other categories than the data set; --classifiers asks for a new one")
    if kept and (not takes_default(runs, classifiers) or is_unfinished(runs)):
        return as_edited(kept, runs, dataset)
    own = [Path(namer.file).parent.as_posix() for namer in kept.classifiers] if kept else [CLASSIFIER]
    ensemble = default_ensemble(runs, classifiers or own, dataset)
    if kept:
        ensemble = replace(ensemble, exif=convention(dataset, kept.exif))
        changed = [*differences(kept, ensemble), *gone(kept.categories, ensemble.categories)]
        say(f"gate: fitted to the default ensemble in {runs / NAME}{', made anew: ' * bool(changed)}{'; '.join(changed)}")
    if not any(member.evidence_weight for member in ensemble.detectors):
        say(f"gate: there is no {runs / 'all'}, so the classifier alone names")
    return ensemble


def as_edited(kept: Ensemble, runs: Path, dataset: Dataset) -> Ensemble:
    """The ensemble that a user or a search made, with the names of now; says what may be amiss with it.

    Raises ValueError as `refuse_other_class_maps` does.
    """
    say(f"gate: fitted to the ensemble in {runs / NAME}; --classifiers asks for the default one")
    for what in amiss(runs, kept):
        say(f"gate: {what}: edit {runs / NAME}, or ask for the default one by --classifiers, if that is not meant")
    sidecars = [(runs / file).with_suffix(".json") for file in files_of(kept)]
    known = {i for path in sidecars if path.is_file() for i in read_sidecar(path).categories or []}
    ensemble = without_unknown(kept, {category.id for category in dataset.categories} | known)
    for what in gone(kept.categories, ensemble.categories):
        say(f"gate: {runs / NAME}: {what}")
    refuse_other_class_maps(runs, ensemble)
    return replace(ensemble, exif=convention(dataset, kept.exif), names=product_names(runs, ensemble, dataset))


def tell(floors: OperatingPoints) -> None:
    """Say where to cut, what that keeps on photos of valid, and what could not be shown."""
    for point in floors.points:
        say(f"gate: cut for {point}")
    for purpose, why in floors.missing.items():
        say(f"gate: no cut for {purpose}: {why}")


def tell_ignored(runs: Path, ensemble: Ensemble, dataset: Dataset) -> None:
    """Say where products that classifiers were taught by `hylle enroll` are never named under the gate in RUNS."""
    known = {category.id for category in dataset.categories}
    ignored = {namer.file: why for namer in ensemble.classifiers if (why := why_ignored(runs, namer.file))}
    taught = {row["id"]: row["name"] for file in ignored for row in enrolled_in((runs / file).parent)}
    if names := [name for number, name in taught.items() if number not in known]:
        say(f"gate: no box gets the name of what was enrolled ({', '.join(names)}): {next(iter(ignored.values()))}")


def in_words(choice: Choice) -> str:
    """The choice as text."""
    best = ", ".join(f"{policy} {value:.3f}" for policy, value in choice.scores.items())
    if choice.gain is None and choice.gate.policy == "raw":
        return (
            f"raw: without a class-aware detector the classifier's names are the only ones; cross-fitted: {best or 'nothing'}"
        )
    return (
        f"{choice.gate.policy} adopted; on offer {choice.offered.policy}, nested gain over detector on valid "
        f"{interval_in_words(choice.gain)}; cross-fitted: {best or 'nothing'}"
    )


def interval_in_words(gain: Interval | None) -> str:
    """An interval as text."""
    if gain is None:
        return "not measured, for too few scenes or no classifier"
    return f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], {gain.n_groups} scenes"
