"""The ensemble that a gate is fitted to, by default of a run folder's models, and their evidence on one part of the folds."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion.ensemble import ClassifierMember, Ensemble, Member, read_ensemble
from fusion.merge import Merge
from fusion.models import read_sidecar
from photos import trained_names, trained_on
from photos.data import Dataset, product_key
from photos.exif import convention
from photos.folds import Folds
from runs import record
from runs.command import say_progress
from runs.first_command import refuse_untrained
from runs.model_files import files_of, model_in, refuse_changed
from runs.typed import typed
from stage2_classifier.enrolment import enrolled_in
from stage2_classifier.gate.evidence import DetectorOutputs, Evidence, OutputCache, detected, named

NAME = "ensemble.json"


def default_ensemble(runs: Path, classifiers: Sequence[str], dataset: Dataset) -> Ensemble:
    """The class-agnostic detector finds boxes, the class-aware one only gives evidence, the classifiers name by their mean.

    Where RUNS/all was never begun there is no class-aware detector, and no class evidence.

    Raises ValueError where one is not trained yet, or was trained on other categories than those of `dataset`. Classifiers may
    have been taught more (`stage2_classifier.enrolment`), all the same ones, which `dataset` may call no other products.
    """
    ids = [category.id for category in dataset.categories]
    classifiers = [str(Path(model_in(runs, name)).parent) for name in classifiers]  # as enrolling and building compare them
    sidecars, aware_names = {}, ("all",) if (runs / "all").exists() else ()
    for name in ("one", *aware_names, *classifiers):
        refuse_untrained(runs, name)
        sidecars[name] = read_sidecar(runs / name / "model.json")
    widest = max([sidecars[name].categories or [] for name in classifiers], key=len, default=ids)
    categories = widest if widest[: len(ids)] == ids else ids  # those of the data set, then the enrolled ones
    for name in sidecars:
        known, need = sidecars[name].categories, None if name == "one" else ids if name == "all" else categories
        fits = known == need if name in ("one", "all") else known == categories[: max(len(ids), len(known or []))]
        if not fits:
            raise ValueError(f"{runs / name / 'model.onnx'}: its class map is {_class_map(known)}, must be {_class_map(need)}")
    agnostic = Member.of("one/model.onnx", sidecars["one"], weight=1.0)
    aware = [Member.of(f"{name}/model.onnx", sidecars[name], weight=0.0, evidence_weight=1.0) for name in aware_names]
    merge = Merge(max_det=sidecars["one"].max_det)
    namers = [ClassifierMember(f"{name}/model.onnx") for name in classifiers]
    ensemble = Ensemble(categories, [with_mirror_images(agnostic), *aware], merge, namers, exif=convention(dataset))
    return replace(ensemble, names=product_names(runs, ensemble, dataset))


def with_mirror_images(member: Member) -> Member:
    """`member` that looks at each photo in its views and at the mirror image in the same."""
    return replace(member, views=[view | {"flip": flip} for view in member.views for flip in (False, True)])


def product_names(runs: Path, ensemble: Ensemble, dataset: Dataset) -> list[str]:
    """The product's name for each category of `ensemble`: that of `dataset`, or the one under which it was enrolled.

    "id 60" for one that neither knows; empty for one that has an empty name in `dataset`. Raises ValueError where the two call
    one id by the names of two products.
    """
    names = {row["id"]: row["name"] for row in enrolled(runs, ensemble)}
    refuse_other_products(runs, ensemble, dataset)
    names |= {category.id: category.name for category in dataset.categories}
    return [names.get(i, f"id {i}") for i in ensemble.categories]


def folders_of(runs: Path, ensemble: Ensemble) -> list[Path]:
    """The folders of the models of `ensemble`, each once."""
    return list(dict.fromkeys((runs / file).parent for file in files_of(ensemble)))


def enrolled(runs: Path, ensemble: Ensemble) -> list[dict[str, Any]]:
    """What the classifiers of `ensemble` were taught by enrolling, by classifier, oldest first."""
    return [row for namer in ensemble.classifiers for row in enrolled_in((runs / namer.file).parent)]


def refuse_other_products(runs: Path, ensemble: Ensemble, dataset: Dataset) -> None:
    """ValueError where `dataset` gives the id of a product to another one, under whose name it would be predicted: one that a
    model of `ensemble` was trained with, or an enrolled one.
    """
    trained_names.refuse_exchanged(folders_of(runs, ensemble), dataset)
    names = {category.id: category.name for category in dataset.categories}
    for row in enrolled(runs, ensemble):
        told = names.get(row["id"], row["name"])
        if not row["replaced"] and product_key(told) != product_key(row["name"]):
            raise ValueError(
                f"category {row['id']}: got {told!r} in {dataset.root}, but as {row['name']!r} it was enrolled into "
                f"a classifier of {runs}; give that product another id in the data set, take the enrolling back "
                "(hylle enroll --undo), or train the classifier again"
            )


def load_ensemble(runs: Path) -> Ensemble:
    """RUNS/ensemble.json. Raises ValueError, with the command that mends it, for none or one fitted to other models, and as
    `refuse_other_class_maps`.
    """
    if not (runs / NAME).is_file():
        raise ValueError(typed(f"{runs / NAME} not found: hylle gate --data D --runs", runs, "writes it"))
    ensemble = read_ensemble(runs)
    refuse_changed(runs, ensemble)
    refuse_other_class_maps(runs, ensemble)
    return ensemble


def refuse_other_class_maps(runs: Path, ensemble: Ensemble) -> None:
    """Raises ValueError where a model of RUNS knows other categories than the first ones of `ensemble`, as loading it would."""
    for model in (runs / file for file in files_of(ensemble)):
        sidecar = model.with_suffix(".json")
        known = read_sidecar(sidecar).categories if sidecar.is_file() else None
        if known and known != ensemble.categories[: len(known)]:
            need = _class_map(ensemble.categories)
            raise ValueError(
                f"{model}: its class map is {_class_map(known)}, must be that of {NAME}, {need}, or the first of it"
            )


def refuse_other_models(runs: Path, ensemble: Ensemble) -> None:
    """Raises ValueError where RUNS/ensemble.json, if there is one, was fitted to other files of the models of `ensemble`."""
    if (runs / NAME).is_file():
        refuse_changed(runs, read_ensemble(runs), files_of(ensemble))


def write_ensemble(runs: Path, ensemble: Ensemble) -> None:
    """RUNS/ensemble.json, as run.py reads it."""
    record.write_json(runs / NAME, asdict(ensemble))


def content_of(runs: Path) -> bytes:
    """What RUNS/ensemble.json holds; nothing where there is none."""
    return (runs / NAME).read_bytes() if (runs / NAME).is_file() else b""


def refuse_edited(runs: Path, before: bytes) -> None:
    """Raises ValueError where RUNS/ensemble.json is no more what it was `before` a gate was fitted to it."""
    if content_of(runs) != before:
        raise ValueError(
            f"{runs / NAME} was changed while a gate was fitted to what it held before, and stays as it is now: call this "
            "again, and the gate is fitted to that"
        )


def gather(part: str, ensemble: Ensemble, runs: Path, parts: Folds) -> list[Evidence]:
    """Evidence for one part of the folds, cached in RUNS/raw. Raises ValueError as `detector_outputs` does."""
    return named(detector_outputs(part, ensemble, runs, parts), ensemble)


def detector_outputs(part: str, ensemble: Ensemble, runs: Path, parts: Folds) -> DetectorOutputs:
    """What the detectors say of one part of the folds, cached in RUNS/raw.

    Raises ValueError for a part without boxes, or one of whose photos a model of `ensemble` has seen.
    """
    photos = parts.labelled(part)
    trained_on.refuse_judging([runs / file for file in files_of(ensemble)], part, parts)
    step = max(1, len(photos) // 4)

    def progress(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            say_progress(f"{part}: {done}/{total} photos")

    return detected(ensemble, photos, OutputCache(runs, runs / "raw", progress))


def scenes_of(evidence: Sequence[Evidence], parts: Folds) -> np.ndarray:
    """The scene (N,) of each photo."""
    return np.array([parts.scene[e.photo.id] for e in evidence])


def _class_map(categories: list[int] | None) -> str:
    """A class map as text."""
    return "none (one class)" if categories is None else f"{len(categories)} categories, ids {str(categories[:5])[1:-1]}, ..."
