"""What the models find on photos, computed once and cached: raw detector outputs, merged boxes, classifier probabilities.

Calibration and ablation then work on these arrays alone, through the same `merge` and `decide` that are judged. Detectors and
classifiers are cached apart, so that another classifier on the same boxes costs its own passes only. What another version of
the code found is not used again: the zip packs the code of now.
"""

import errno
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from fusion.boxes import Detections, name_best
from fusion.decode import run_detector
from fusion.ensemble import ClassifierMember, Ensemble
from fusion.models import Model, Sizes, mean, sized
from fusion.pipeline import merge, naming_floors, run_classifier_view
from photos.code_version import code_version
from photos.data import Photo, read_image
from photos.fingerprint import of_photo
from photos.score import Truth
from runs import record
from runs.atomic_write import replacing
from runs.command import say
from stage2_classifier import cross_fitting

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
CODE = code_version()  # as this process loaded it: hours later, in a long fit, the files may be of another

Progress = Callable[[int, int], None]  # photos done, photos in all
Compute = Callable[[Photo], dict[str, np.ndarray]]
RawOutputs = list[list[list[Detections]]]  # of each photo, each detector, each of its views: boxes before merging


def models_of(evidence: Sequence["Evidence"]) -> np.ndarray:
    """Which models' word each photo's evidence is, (P,): equal numbers for the same models, from 0."""
    return np.unique([e.models for e in evidence], return_inverse=True)[1].reshape(-1)


def no_progress(done: int, total: int) -> None:
    """Reports no progress."""


@dataclass(frozen=True)
class Evidence:
    """One photo, its N merged boxes with the detectors' class evidence, and the classifiers' probabilities (N, C) if any.

    `models` tells the models that said so from others (a fingerprint): scores of different models are on different scales.
    """

    photo: Photo
    merged: Detections
    probabilities: np.ndarray | None
    models: str = ""

    @property
    def truth(self) -> Truth:
        """The annotations, as the score wants them."""
        return Truth.of(self.photo)


def withheld(
    evidence: Sequence[Evidence], floors: Sequence[float], margin: float = 1.0, typical: float = 0.0
) -> list[Evidence]:
    """The evidence as `Pipeline` has it under `Ensemble.naming_floor`, here one for each photo: unnamed boxes have rows of NaN.

    `margin` and `typical` are those of `Ensemble.naming_margin` and `naming_typical`.

    No model is run again, since a crop's probabilities do not depend on which other crops are named.
    """
    return [_withheld(e, floor, margin, typical) for e, floor in zip(evidence, floors, strict=True)]


def _withheld(e: Evidence, floor: float, margin: float, typical: float) -> Evidence:
    if e.probabilities is None or floor <= 0:
        return e
    floors = naming_floors(e.merged.scores, floor, margin, typical)
    return replace(e, probabilities=name_best(e.merged.scores, e.probabilities.__getitem__, *floors))


def judged_by_size(evidence: Sequence[Evidence], sizes: Sequence[Sizes]) -> list[Evidence]:
    """The evidence as `Pipeline` has it under `Ensemble.sizes`, here one for each photo; names are withheld before."""
    return [_judged_by_size(e, own) for e, own in zip(evidence, sizes, strict=True)]


def _judged_by_size(e: Evidence, own: Sizes) -> Evidence:
    if e.probabilities is None:
        return e
    return replace(e, probabilities=sized(e.probabilities, e.merged, own, e.photo.width, e.photo.height))


def as_judged(evidence: Sequence[Evidence], ensemble: Ensemble) -> list[Evidence]:
    """The evidence as `Pipeline` has it before the gate: names withheld below the floor, the others judged by size."""
    count = len(evidence)
    named = withheld(evidence, [ensemble.naming_floor] * count, ensemble.naming_margin, ensemble.naming_typical)
    return judged_by_size(named, [ensemble.sizes] * count)


@dataclass(frozen=True)
class OutputCache:
    """Where models lie, the folder that their outputs are cached in, and what reports progress."""

    models: Path
    folder: Path
    progress: Progress = no_progress


@dataclass(frozen=True)
class BoxesToName:
    """Photos, the boxes (N, 4) to name on each by photo id, and a key (JSON) that tells these boxes from any others."""

    photos: Sequence[Photo]
    boxes: dict[int, np.ndarray]
    key: object


@dataclass(frozen=True)
class DetectorOutputs:
    """What detectors say of photos before merging, a key (a fingerprint) of it, and where its models and its cache lie."""

    photos: Sequence[Photo]
    raw: RawOutputs
    key: str
    cache: OutputCache

    def in_views(self, kept: Sequence[Sequence[int]]) -> "DetectorOutputs":
        """The same in some of the views: of each detector those at the positions `kept`. The key is that of all if they are."""
        if [[len(views) for views in photo] for photo in self.raw[:1]] == [[len(own) for own in kept]]:
            return self
        raw = [[[views[i] for i in own] for views, own in zip(photo, kept, strict=True)] for photo in self.raw]
        return replace(self, raw=raw, key=record.digest([self.key, [list(own) for own in kept]]))


def collect(ensemble: Ensemble, folder: Path, photos: Sequence[Photo], cache: Path, progress: Progress) -> list[Evidence]:
    """Evidence for `photos` from the models in FOLDER; raw outputs and probabilities are cached in CACHE and used again.

    The keys hold the models' bytes, the code's version, the members' settings and, for the probabilities, the merging.
    """
    return named(detected(ensemble, photos, OutputCache(folder, cache, progress)), ensemble)


def detected(ensemble: Ensemble, photos: Sequence[Photo], cache: OutputCache) -> DetectorOutputs:
    """What the detectors of `ensemble` say of `photos`."""
    return DetectorOutputs(photos, *raw_outputs(ensemble, cache.models, photos, cache.folder, cache.progress), cache)


def named(outputs: DetectorOutputs, ensemble: Ensemble) -> list[Evidence]:
    """The evidence: `outputs` merged as `ensemble` does, and the merged boxes named by its classifiers."""
    photos, cache = outputs.photos, outputs.cache
    merged = [merge(views, ensemble) for views in outputs.raw]
    boxes = {photo.id: detections.boxes for photo, detections in zip(photos, merged, strict=True)}
    to_name = BoxesToName(photos, boxes, [outputs.key, asdict(ensemble.merge)])
    by_classifier = [probabilities_at(to_name, namer, len(ensemble.categories), cache) for namer in ensemble.classifiers]
    weights = [namer.weight for namer in ensemble.classifiers]
    joint = [mean(list(rows), weights) for rows in zip(*by_classifier, strict=True)] if by_classifier else [None] * len(photos)
    models = record.digest([outputs.key, models_and_code([cache.models / namer.file for namer in ensemble.classifiers])])
    return [Evidence(photo, detections, rows, models) for photo, detections, rows in zip(photos, merged, joint, strict=True)]


def raw_outputs(
    ensemble: Ensemble, folder: Path, photos: Sequence[Photo], cache: Path, progress: Progress
) -> tuple[RawOutputs, str]:
    """What `Pipeline.detect` returns for each photo, before merging, cached in CACHE; and the key that it is cached under."""
    files = [folder / member.file for member in ensemble.detectors]
    key = record.digest([models_and_code(files), [asdict(m) for m in ensemble.detectors]])
    raw = cached(cache / f"raw-{key}", photos, _detecting(ensemble, folder), progress)
    return [_detections(arrays, ensemble) for arrays in raw], key


def probabilities_at(to_name: BoxesToName, namer: ClassifierMember, width: int, cache: OutputCache) -> list[np.ndarray]:
    """One classifier's calibrated probabilities (N, width) for the boxes on each photo.

    On photos that its calibration was fitted on, the calibration is that of the other scenes (`cross_fitting`).

    Raises ValueError where it gives NaN: run.py would do without it there, but no gate can be fitted on that.
    """
    file = cache.models / namer.file
    key = record.digest(
        [models_and_code([file], [file.with_name(cross_fitting.NAME)]), namer.batch, namer.views, to_name.key, width]
    )
    load = lru_cache(maxsize=1)(lambda: calibrated_models(file))  # at the first photo that is not cached

    def compute(photo: Photo) -> dict[str, np.ndarray]:
        image, (model, by_photo) = read_image(photo.path, photo.width, photo.height), load()
        calibrated = by_photo.get(photo.id, model)
        probabilities = run_classifier(calibrated, namer, image, to_name.boxes[photo.id], width)
        if not np.isfinite(probabilities).all():
            raise ValueError(f"{file}: got numbers that are not finite on {photo.path}; train it again")
        return {"probabilities": probabilities}

    arrays = cached(cache.folder / f"names-{key}", to_name.photos, compute, cache.progress)
    return [by_name["probabilities"] for by_name in arrays]


def run_classifier(model: Model, member: ClassifierMember, image: np.ndarray, boxes: np.ndarray, width: int) -> np.ndarray:
    """The mean of `run_classifier_view` over all views of `member`, (N, `width`)."""
    each = [run_classifier_view(model, member, spec, image, boxes, width) for spec in member.views]
    return mean(each, [1.0] * len(each))


def calibrated_models(file: Path) -> tuple[Model, dict[int, Model]]:
    """The classifier as it is judged, and by photo id as it is calibrated without that photo's scene (`cross_fitting`)."""
    model = Model(file)
    by_photo = {}
    for photo, sidecar in cross_fitting.sidecars(file, model.sidecar).items():
        by_photo[photo] = copy(model)  # the session is shared
        by_photo[photo].sidecar = sidecar
    return model, by_photo


def cached(folder: Path, photos: Sequence[Photo], compute: Compute, progress: Progress) -> list[dict[str, np.ndarray]]:
    """The arrays of each photo: from its `cache_file` in FOLDER if it is there and whole, else computed and written there.

    Where the run folder may only be read, they are computed and not kept, and one line says so; a full disk is an error.
    """
    is_kept, outputs = is_written(partial(folder.mkdir, parents=True, exist_ok=True), folder.parent), []
    for i, photo in enumerate(photos):
        path = cache_file(folder, photo)
        if (arrays := whole_arrays(path)) is not None:
            outputs.append(arrays)
            continue
        outputs.append(compute(photo))
        is_kept = is_kept and is_written(partial(keep, path, outputs[-1]), folder.parent)
        progress(i + 1, len(photos))
    return outputs


def keep(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays of a photo to a file of a cache, whole or not at all."""
    with replacing(path) as (unfinished,), unfinished.open("wb") as file:
        np.savez(file, **arrays)


def is_written(write: Callable[[], None], cache: Path) -> bool:
    """Write something in CACHE; False, and one line the first time, where it may only be read."""
    try:
        write()
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        tell_unkept(cache)
        return False
    return True


@lru_cache
def tell_unkept(cache: Path) -> None:
    """Say, once for each folder, that what models find is not kept there."""
    say(f"{cache} cannot be written: what the models find is not kept")


def whole_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays in a file of a cache; None where there is none, or it is damaged, as a loss of power may leave it."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile):  # no file, pickled for numpy, empty, cut off
        return None


def cache_file(folder: Path, photo: Photo) -> Path:
    """Where the outputs for a photo are cached: under its id and what is seen of it, `of_photo`, not under its id alone."""
    return folder / f"{photo.id}-{of_photo(photo)}.npz"


def models_and_code(models: Sequence[Path], optional: Sequence[Path] = ()) -> str:
    """The fingerprint of what outputs are made by: models with their sidecars, those of `optional` that are there, the code."""
    beside = [model.with_suffix(".json") for model in models]
    return record.digest([CODE, record.fingerprint(*models, *beside, *[path for path in optional if path.is_file()])])


def _detecting(ensemble: Ensemble, folder: Path) -> Compute:
    """All detectors on one photo: the arrays of each view's Detections, named MEMBER.VIEW.FIELD."""
    load = lru_cache(maxsize=1)(lambda: [Model(folder / member.file) for member in ensemble.detectors])

    def compute(photo: Photo) -> dict[str, np.ndarray]:
        image = read_image(photo.path, photo.width, photo.height)
        arrays: dict[str, np.ndarray] = {}
        for i, (model, member) in enumerate(zip(load(), ensemble.detectors, strict=True)):
            for j, view in enumerate(run_detector(model, member, image)):
                arrays |= {f"{i}.{j}.{name}": value for name, value in vars(view).items() if value is not None}
        return arrays

    return compute


def _detections(arrays: dict[str, np.ndarray], ensemble: Ensemble) -> list[list[Detections]]:
    return [[Detections(*(arrays.get(f"{i}.{j}.{name}") for name in ("boxes", "scores", "labels", "evidence")))
             for j in range(len(member.views))] for i, member in enumerate(ensemble.detectors)]  # fmt: skip
