"""The photos that a report judges a run by, each looked at by models that did not see it, and what they say of them.

A run of `hylle fit` is judged on all its photos, each by the models of the fold that left it out and by a gate that was fitted
without its scene. A run of the separate commands is judged on the part test; where it has no boxes, on the part valid, each
photo by the gate of its turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fitting import cross_fit, pooled
from fitting.figures import is_nested, lone_names, nested_decisions
from fitting.kept_choice import parsed
from fitting.pooled import Pooled
from fusion.boxes import Detections
from fusion.ensemble import Ensemble
from fusion.gate import MIN_FIRST_SCORE, Gate
from fusion.models import read_object
from photos.data import Dataset, Photo
from photos.fingerprint import of_file
from photos.folds import Folds
from photos.score import Match, match
from photos.trained_on import seen_by
from reporting.verdicts import Verdicts, verdicts
from runs.command import ticker
from runs.model_files import files_of, method_of
from stage2_classifier.gate.calibrate import n_categories, predictions
from stage2_classifier.gate.choose import Choice, resampling_groups
from stage2_classifier.gate.ensemble import default_ensemble, load_ensemble, refuse_other_products, scenes_of
from stage2_classifier.gate.evidence import Evidence, as_judged, collect
from stage2_classifier.gate.merging_choice import WAYS, kept_views, merged_by
from stage2_classifier.gate.operating_points import BEST_F1, have_names

UNFITTED = 0.25  # taken: the floor of `hylle predict` where none was fitted


class Split(NamedTuple):
    """How the photos were held out, in words; `flatters` says why the figures are better than on new photos, if they are."""

    words: str
    flatters: str = ""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """P photos judged: what the models say, the gate that decided each, its decisions, and the scenes (P,).

    The decisions hold further names too, as they are scored.
    """

    runs: Path
    folds: Folds
    ensemble: Ensemble
    evidence: list[Evidence]
    gates: list[Gate]
    decisions: list[Detections]
    scenes: np.ndarray
    split: Split

    @property
    def photos(self) -> list[Photo]:
        """The photos, in the order of the evidence."""
        return [e.photo for e in self.evidence]

    @cached_property
    def first_names(self) -> list[Detections]:
        """The decisions without further names."""
        return [own.take(own.scores >= MIN_FIRST_SCORE) for own in self.decisions]

    @cached_property
    def named(self) -> bool:
        """Whether any of the models says names."""
        return have_names(self.evidence)

    @property
    def floor(self) -> float:
        """The score from which on a box is shown: the fitted one with the best F1."""
        return self.ensemble.min_scores.get(BEST_F1, UNFITTED)

    @cached_property
    def verdicts(self) -> list[Verdicts]:
        """Of each photo, at the floor."""
        return [
            verdicts(e.truth, own.take(own.scores >= self.floor), self.named)
            for e, own in zip(self.evidence, self.first_names, strict=True)
        ]

    @cached_property
    def match(self) -> Match:
        """The decisions matched to the truth, further names too, as they are scored."""
        return match([e.truth for e in self.evidence], self.decisions, n_categories(self.evidence))

    @property
    def groups(self) -> tuple[np.ndarray, str]:
        """What intervals resample, (P,), and the word for it."""
        return resampling_groups(self.scenes)

    @cached_property
    def names(self) -> list[str]:
        """A name for each label; of a product without one its id."""
        return names_of(self.ensemble, self.folds.dataset)


def lone_in(held_out: HeldOut) -> list[int]:
    """The names that are on photos of one fold of a fit only; none in another run folder."""
    return lone_names(cross_fit.turns(held_out.folds)) if held_out.folds.settings.pooled else []


def names_of(ensemble: Ensemble, dataset: Dataset) -> list[str]:
    """A name for each label: that of `dataset`, else of the ensemble, as of an enrolled product; of one without a name its id.

    >>> from photos.data import Category
    >>> names_of(Ensemble([7, 60], []), Dataset(Path(), (Category(7, "Tea"),), ()))
    ['Tea', 'product 60 (no name)']
    """
    known = {category.id: category.name for category in dataset.categories}
    told = dict(zip(ensemble.categories, ensemble.names or [""] * len(ensemble.categories), strict=True))
    return [known.get(i) or told.get(i) or f"product {i} (no name)" for i in ensemble.categories]


def gather_held_out(runs: Path, folds: Folds) -> HeldOut:
    """The photos to judge the run in RUNS by.

    Raises ValueError where it has no gate, no photos with boxes are held out, or their labels call an enrolled id otherwise.
    """
    ensemble = load_ensemble(runs)
    refuse_other_products(runs, ensemble, folds.dataset)
    path = runs / "gate.json"
    told = read_object(path) if path.is_file() else {}
    if told.get("method", method := method_of(ensemble)) != method:
        told = {}  # the ensemble was changed since: its reasons, and the gates of its turns, are of another one
    choice = parsed({"turns": []} | told, path) if told else Choice(ensemble.gate, None, ensemble.gate)
    choice = replace(choice, gate=ensemble.gate)
    if folds.settings.pooled:
        return of_a_fit(runs, folds, ensemble, choice, (told.get("merging") or {}).get("way"))
    return of_a_part(runs, folds, ensemble, choice)


def of_a_fit(runs: Path, folds: Folds, ensemble: Ensemble, choice: Choice, way: str | None) -> HeldOut:
    """All photos that were left out, each by the fold's models that did not see it."""
    by_fold = cross_fit.turns(folds)
    found = pooled_evidence(runs, by_fold, ensemble, way)
    evidence = pooled.as_judged(found, by_fold, ensemble)
    gates, decisions, flatters = decided(evidence, choice)
    judged = "each photo was judged by models and a gate that had not seen its scene."
    if cross_fit.holds_out(folds):
        words = f"Held out: {len(evidence)} photos of one fold; {judged} The models that ship are trained on the others."
    else:
        how = f"Cross-fitted: {len(evidence)} photos in {len(by_fold)} folds"
        words = f"{how}; {judged} The models that ship are trained on all of them."
    return HeldOut(runs, folds, ensemble, evidence, gates, decisions, found.scenes, Split(words, flatters))


def pooled_evidence(runs: Path, by_fold: Sequence[Folds], ensemble: Ensemble, way: str | None) -> Pooled:
    """The evidence that the gate was fitted to, from its cache: by the key of all views where the way of merging was chosen."""
    if way not in WAYS:
        return pooled.pool(ensemble, runs, by_fold)
    names = [str(Path(namer.file).parent) for namer in ensemble.classifiers]
    default = default_ensemble(cross_fit.folders(runs, by_fold)[0], names, by_fold[0].dataset)
    return pooled.unmerged(default, runs, by_fold).named(merged_by(default, way), kept_views(default, way))


def of_a_part(runs: Path, folds: Folds, ensemble: Ensemble, choice: Choice) -> HeldOut:
    """The part test; without boxes there the part valid."""
    part = "test" if any(len(photo.boxes) for photo in folds.photos("test")) else "valid"
    told = collect(ensemble, runs, folds.labelled(part), runs / "raw", ticker(part))
    evidence = as_judged(told, ensemble)
    scenes, seen = scenes_of(evidence, folds), trained_on_too(runs, ensemble, evidence)
    if part == "test":
        gates = [ensemble.gate] * len(evidence)
        unseen = "" if seen else ", which neither the models nor the gate had seen"
        words = f"Held out: {len(evidence)} photos of the part test{unseen}."
        decisions = predictions(evidence, gates)
        return HeldOut(runs, folds, ensemble, evidence, gates, decisions, scenes, Split(words, seen))
    gates, decisions, flatters = decided(evidence, choice)
    words = (
        f"Held out: {len(evidence)} photos of the part valid, as no photo of the part test has boxes. Detectors "
        "chose their epoch on these photos, which flatters them a little."
    )
    flatters = " ".join(reason for reason in (flatters, seen) if reason)
    return HeldOut(runs, folds, ensemble, evidence, gates, decisions, scenes, Split(words, flatters))


def trained_on_too(runs: Path, ensemble: Ensemble, evidence: Sequence[Evidence]) -> str:
    """What is wrong where models of RUNS were trained on photos of `evidence`, as their trained_on.json tells; else empty."""
    judged = {of_file(e.photo.path) for e in evidence}
    folders = dict.fromkeys(Path(file).parent for file in files_of(ensemble))
    counts = {folder: len(judged & seen_by(runs / folder)["train"]) for folder in folders}
    told = [f"{folder} was trained on {count}" for folder, count in counts.items() if count]
    return f"These photos are not held out: of them {', '.join(told)}. New photos will score lower." if told else ""


def decided(evidence: Sequence[Evidence], choice: Choice) -> tuple[list[Gate], list[Detections], str]:
    """The gate of each photo, which did not see it, and the decisions; without such gates, what is wrong with that."""
    of_photo = {photo: turn.gate for turn in choice.turns for photo in turn.photos}
    if is_nested(evidence, choice):
        return [of_photo[e.photo.id] for e in evidence], nested_decisions(evidence, choice), ""
    gates = [choice.gate] * len(evidence)
    return gates, predictions(evidence, gates), "The gate was fitted on these very photos: new ones will score lower."
