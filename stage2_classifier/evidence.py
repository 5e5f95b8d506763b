"""What the models say about photos, computed once and kept: raw detector outputs, merged boxes, classifier probabilities.

Calibration and ablation then work on these arrays alone, through the same `merge` and `decide` that are judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fusion.boxes import Detections
from fusion.pipeline import Ensemble, Pipeline, merge
from stage1_detector import record
from stage1_detector.data import Photo, read_image
from stage1_detector.score import Truth


@dataclass(frozen=True)
class Evidence:
    """One photo: what is on it, the merged boxes with the detectors' class evidence, the classifier's probabilities (N, C)."""

    photo: Photo
    merged: Detections
    probabilities: np.ndarray | None

    @property
    def truth(self) -> Truth:
        """The annotations, as the score wants them."""
        return Truth(self.photo.boxes, self.photo.labels)


def collect(
    ensemble: Ensemble, folder: Path, photos: Sequence[Photo], cache: Path, progress: Callable[[int, int], None]
) -> list[Evidence]:
    """Evidence for `photos` from the models in FOLDER; raw outputs and probabilities are kept in CACHE and used again.

    The cache's key holds the models' bytes, the members' settings and, for the probabilities, the merging.
    """
    files = [folder / m.file for m in ensemble.detectors] + [folder / n.file for n in ensemble.classifiers]
    key = record.fingerprint(*files, *[f.with_suffix(".json") for f in files])
    members = [*ensemble.detectors, *ensemble.classifiers]
    method = record.digest([[asdict(m) for m in members], asdict(ensemble.merge), len(ensemble.categories)])
    place = cache / f"{key}-{method}"
    place.mkdir(parents=True, exist_ok=True)
    pipeline: list[Pipeline] = []  # loaded at the first photo that is not cached
    found = []
    for i, photo in enumerate(photos):
        path = place / f"{photo.id}.npz"
        if not path.is_file():
            pipeline = pipeline or [Pipeline(ensemble, folder)]
            _run(pipeline[0], photo, path)
        found.append(_load(path, ensemble, photo))
        progress(i + 1, len(photos))
    return found


def _run(pipeline: Pipeline, photo: Photo, path: Path) -> None:
    """All models on one photo; the raw arrays go to PATH (beside it first, then renamed)."""
    image = read_image(photo.path, photo.width, photo.height)
    raw = pipeline.detect(image)
    probabilities = pipeline.classify(image, merge(raw, pipeline.ensemble).boxes)
    arrays: dict[str, np.ndarray] = {} if probabilities is None else {"probabilities": probabilities}
    for i, views in enumerate(raw):
        for j, view in enumerate(views):
            arrays |= {f"{i}.{j}.{name}": value for name, value in vars(view).items() if value is not None}
    beside = path.with_suffix(".part.npz")
    np.savez(beside, **arrays)
    beside.replace(path)


def _load(path: Path, ensemble: Ensemble, photo: Photo) -> Evidence:
    with np.load(path) as arrays:
        raw = [[Detections(*(arrays.get(f"{i}.{j}.{name}") for name in ("boxes", "scores", "labels", "evidence")))
                for j in range(len(member.views))] for i, member in enumerate(ensemble.detectors)]  # fmt: skip
        return Evidence(photo, merge(raw, ensemble), arrays.get("probabilities"))
