"""What the models say about photos, computed once and kept: raw detector outputs, merged boxes, classifier probabilities.

Calibration and ablation then work on these arrays alone, through the same `merge` and `decide` that are judged. Detectors and
classifiers are kept apart, so that another classifier on the same boxes costs its own passes only.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from fusion.boxes import Detections
from fusion.ensemble import ClassifierMember, Ensemble
from fusion.models import Model
from fusion.pipeline import mean, merge, run_classifier, run_detector
from photos.data import Photo, read_image
from photos.score import Truth
from runs import record

Progress = Callable[[int, int], None]
Answer = Callable[[Photo], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Evidence:
    """One photo: what is on it, the merged boxes with the detectors' class evidence, the classifiers' probabilities (N, C)."""

    photo: Photo
    merged: Detections
    probabilities: np.ndarray | None

    @property
    def truth(self) -> Truth:
        """The annotations, as the score wants them."""
        return Truth(self.photo.boxes, self.photo.labels)


def collect(ensemble: Ensemble, folder: Path, photos: Sequence[Photo], cache: Path, progress: Progress) -> list[Evidence]:
    """Evidence for `photos` from the models in FOLDER; raw outputs and probabilities are kept in CACHE and used again.

    The keys hold the models' bytes, the members' settings and, for the probabilities, the merging.
    """
    raw, key = raw_outputs(ensemble, folder, photos, cache, progress)
    merged = [merge(views, ensemble) for views in raw]
    boxes = {photo.id: found.boxes for photo, found in zip(photos, merged, strict=True)}
    place, width = [key, asdict(ensemble.merge)], len(ensemble.categories)
    each = [named(namer, folder, width, photos, boxes, cache, place, progress) for namer in ensemble.classifiers]
    weights = [namer.weight for namer in ensemble.classifiers]
    joint = [mean(list(rows), weights) for rows in zip(*each, strict=True)] if each else [None] * len(photos)
    return [Evidence(photo, found, rows) for photo, found, rows in zip(photos, merged, joint, strict=True)]


def raw_outputs(
    ensemble: Ensemble, folder: Path, photos: Sequence[Photo], cache: Path, progress: Progress
) -> tuple[list[list[list[Detections]]], str]:
    """What `Pipeline.detect` says of each photo, before merging, kept in CACHE; and the key that it is kept under."""
    files = [folder / member.file for member in ensemble.detectors]
    key = record.digest([_fingerprint(files), [asdict(m) for m in ensemble.detectors]])
    raw = kept(cache / f"raw-{key}", photos, _detecting(ensemble, folder), progress)
    return [_detections(arrays, ensemble) for arrays in raw], key


def named(
    namer: ClassifierMember, folder: Path, width: int, photos: Sequence[Photo], boxes: dict[int, np.ndarray], cache: Path,
    place: object,
    progress: Progress,
) -> list[np.ndarray]:  # fmt: skip
    """One classifier's calibrated probabilities (N, width) at `boxes`, by photo id; `place` (JSON) says whose boxes."""
    key = record.digest([_fingerprint([folder / namer.file]), namer.batch, namer.views, place, width])
    model = lru_cache(maxsize=1)(lambda: Model(folder / namer.file))  # loaded at the first photo that is not kept

    def answer(photo: Photo) -> dict[str, np.ndarray]:
        image = read_image(photo.path, photo.width, photo.height)
        return {"probabilities": run_classifier(model(), namer, image, boxes[photo.id], width)}

    return [arrays["probabilities"] for arrays in kept(cache / f"names-{key}", photos, answer, progress)]


def kept(place: Path, photos: Sequence[Photo], answer: Answer, progress: Progress) -> list[dict[str, np.ndarray]]:
    """`answer` of each photo: from PLACE/ID.npz where it is there, else computed and put there (beside it, then renamed)."""
    place.mkdir(parents=True, exist_ok=True)
    found = []
    for i, photo in enumerate(photos):
        path = place / f"{photo.id}.npz"
        if path.is_file():
            with np.load(path) as arrays:
                found.append(dict(arrays))
            continue
        found.append(answer(photo))
        beside = path.with_suffix(".part.npz")
        np.savez(beside, **found[-1])
        beside.replace(path)
        progress(i + 1, len(photos))
    return found


def _fingerprint(models: Sequence[Path]) -> str:
    return record.fingerprint(*models, *[model.with_suffix(".json") for model in models])


def _detecting(ensemble: Ensemble, folder: Path) -> Answer:
    """All detectors on one photo: the arrays of each view's Detections, named MEMBER.VIEW.FIELD."""
    load = lru_cache(maxsize=1)(lambda: [Model(folder / member.file) for member in ensemble.detectors])

    def answer(photo: Photo) -> dict[str, np.ndarray]:
        image = read_image(photo.path, photo.width, photo.height)
        arrays: dict[str, np.ndarray] = {}
        for i, (model, member) in enumerate(zip(load(), ensemble.detectors, strict=True)):
            for j, view in enumerate(run_detector(model, member, image)):
                arrays |= {f"{i}.{j}.{name}": value for name, value in vars(view).items() if value is not None}
        return arrays

    return answer


def _detections(arrays: dict[str, np.ndarray], ensemble: Ensemble) -> list[list[Detections]]:
    return [[Detections(*(arrays.get(f"{i}.{j}.{name}") for name in ("boxes", "scores", "labels", "evidence")))
             for j in range(len(member.views))] for i, member in enumerate(ensemble.detectors)]  # fmt: skip
