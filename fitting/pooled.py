"""Evidence from all photos: what each fold's models say of the photos that they were not trained on, joined."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fitting.cross_fit import folders
from fitting.procedure import Procedure, Say
from fusion.ensemble import Ensemble, read_ensemble
from fusion.gate import Gate
from fusion.models import Sizes
from photos.data import Photo
from photos.exif import convention
from photos.folds import Folds
from runs.model_files import files_of
from stage2_classifier.gate.ensemble import NAME, default_ensemble, detector_outputs, product_names
from stage2_classifier.gate.evidence import DetectorOutputs, Evidence, named, withheld
from stage2_classifier.gate.naming_floor import NamingChoice
from stage2_classifier.gate.sizes import Tables, tables_of


class Pooled(NamedTuple):
    """Evidence of every photo of the folds, fold by fold, and the scene (P,) that each photo is of."""

    evidence: list[Evidence]
    scenes: np.ndarray


class Unmerged(NamedTuple):
    """What each fold's detectors say of the photos that it leaves out, before merging, and the scene (P,) of each photo."""

    by_fold: list[DetectorOutputs]
    scenes: np.ndarray

    def named(self, ensemble: Ensemble, kept: Sequence[Sequence[int]]) -> Pooled:
        """The evidence: merged as in `ensemble`, of each detector the views at positions `kept`; named by each fold's own."""
        return Pooled([e for own in self.by_fold for e in named(own.in_views(kept), ensemble)], self.scenes)


def unmerged(ensemble: Ensemble, runs: Path, by_fold: Sequence[Folds]) -> Unmerged:
    """What the detectors of each fold's run folder, those of `ensemble`, say of the photos that the fold leaves out."""
    of_folds = zip(folders(runs, by_fold), by_fold, strict=True)
    outputs = [detector_outputs("valid", ensemble, folder, fold) for folder, fold in of_folds]
    scenes = [fold.scene[photo.id] for own, fold in zip(outputs, by_fold, strict=True) for photo in own.photos]
    return Unmerged(outputs, np.array(scenes, np.int64))


def pool(ensemble: Ensemble, runs: Path, by_fold: Sequence[Folds]) -> Pooled:
    """What the models of each fold's run folder, joined as in `ensemble`, say of the photos that the fold leaves out."""
    return unmerged(ensemble, runs, by_fold).named(ensemble, [list(range(len(m.views))) for m in ensemble.detectors])


def size_tables(by_fold: Sequence[Folds], n_names: int) -> Tables:
    """The sizes of names: for the photos of each fold those on its train photos; those that ship are of all these."""
    groups = [(fold.photos("train"), fold.photos("valid")) for fold in by_fold]
    shipped: dict[int, Photo] = {photo.id: photo for fitted_on, _ in groups for photo in fitted_on}
    return tables_of(groups, list(shipped.values()), n_names)


def as_judged(whole: Pooled, by_fold: Sequence[Folds], ensemble: Ensemble) -> list[Evidence]:
    """The evidence as it is judged under `ensemble`, each photo by the sizes of the other folds' boxes."""
    rule = ensemble.naming_margin, ensemble.naming_typical
    named = withheld(whole.evidence, [ensemble.naming_floor] * len(whole.evidence), *rule)
    if not ensemble.sizes.weight:
        return named
    return size_tables(by_fold, len(ensemble.categories)).under(named, [ensemble.sizes.weight] * len(named))


def unplanned(runs: Path, what: str) -> str:
    """What is wrong with a RUNS/ensemble.json, and what to do."""
    remedy = "remove the file, or fit into another folder, by --out"
    return f"fit: {runs / NAME} names {what}, which no fold is trained with; {remedy}"


def wanted_ensemble(runs: Path, procedure: Procedure, by_fold: Sequence[Folds], own: bool, say: Say) -> Ensemble:
    """How models are joined: as RUNS/ensemble.json says, unless it is the procedure's `own`; by default one/, all/ if trained,
    and the classifiers. It has no gate yet.

    Raises ValueError where RUNS/ensemble.json names a model that the folds do not train, so that nothing could be fitted to it.
    """
    first, dataset = folders(runs, by_fold)[0], by_fold[0].dataset
    default = default_ensemble(first, list(procedure.classifiers), dataset)
    if own or not (runs / NAME).is_file():
        return default
    ensemble = read_ensemble(runs)
    unknown = [file for file in files_of(ensemble) if not (first / file).is_file()]
    if unknown or ensemble.categories != default.categories:
        raise ValueError(unplanned(runs, unknown[0] if unknown else "other categories"))
    say(f"fit: the gate is fitted to the ensemble in {runs / NAME}")
    names = product_names(first, ensemble, dataset)
    unfitted: dict[str, Any] = {"gate": Gate(), "made_from": {}, "min_scores": {}, "sizes": Sizes()}
    ensemble = replace(ensemble, exif=convention(dataset, ensemble.exif), names=names, **unfitted)
    return NamingChoice().put_into(ensemble)
