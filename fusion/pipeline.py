"""ensemble.json -> predictions: detect and classify run models (slow); merge and decide are numpy (fast).

run.py calls all four on a photo. Search and ablation call `merge` and `decide` alone, on saved raw outputs, with the same
ensemble.json, so they measure the very code that is judged.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fusion.boxes import Detections, name_best, sureness, usable, xyxy_to_xywh
from fusion.decode import begin_detector_view, run_detector
from fusion.ensemble import (
    ClassifierMember,
    CropView,
    Ensemble,
    Part,
    PartFilter,
    allow_all,
    parse_record,
    parts_of,
    read_ensemble,
)
from fusion.gate import decide
from fusion.merge import merge as merge_members
from fusion.models import Model, calibrated, mean, sized
from fusion.reading import Aside, Canvases, one_ahead
from fusion.views import PADDING, crop_batches, make_views

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
RawViews = Sequence[Sequence[Detections | None]]  # of each detector, each of its views; None for one that was not done
STEEPNESS = 6.0  # chosen: of 3, 4 and 6 the one that left no product of a shop with lower scores unnamed (experiments/LOG.md)
OnFailure = Callable[[Part | str, Exception], object]
Result = TypeVar("Result")


def raise_error(part: Part | str, error: Exception) -> None:
    """The failure handler that lets a failed part end the work."""
    raise error


def merge(raw: RawViews, ensemble: Ensemble) -> Detections:
    """Merge the raw outputs of `Pipeline.detect`, for each member a list of views, into one Detections. Pure.

    A view that was not done (None) takes no part, nor does its weight.
    """
    flat = [
        (detections, member, spec.get("weight", 1.0))
        for views, member in zip(raw, ensemble.detectors, strict=True)
        for detections, spec in zip(views, member.views, strict=True)
        if detections is not None
    ]
    weights = [member.weight * view_weight for _, member, view_weight in flat]
    evidence_weights = [member.evidence_weight * view_weight for _, member, view_weight in flat]
    return merge_members([detections for detections, _, _ in flat], weights, evidence_weights, ensemble.merge)


def run_classifier_view(
    model: Model, member: ClassifierMember, spec: dict[str, Any], image: Image, boxes: Floats, width: int
) -> Floats:
    """One classifier's calibrated probabilities (N, `width`) in one view of the crops under `boxes`.

    Categories that the classifier does not know have probability 0.

    Raises ValueError for an unknown field of `spec`.
    """
    side = model.sidecar
    view = parse_record(CropView, spec, f"{member.file}: views")
    margin = side.margin if view.margin is None else view.margin
    known = len(side.categories or [])
    parts = [np.zeros((0, side.columns), np.float32)]
    for canvases, n in one_ahead(crop_batches(image, boxes, side.size, margin, member.batch, side.fit)):
        batch = canvases if model.fixed else canvases[:n]
        parts.append(model(np.ascontiguousarray(batch[:, :, ::-1]) if view.flip else batch)[:n])
    logits = np.concatenate(parts)  # (N, side.columns)
    return np.pad(calibrated(logits, side)[:, :known], ((0, 0), (0, width - known)))


def naming_floors(scores: Floats, floor: float, margin: float, typical: float) -> tuple[float, float]:
    """The scores (N,) from which all boxes of a photo are named, and from which they are while the classifiers are sure.

    On photos whose boxes are less sure than `typical`, where the scores of products are lower too, `floor` is lowered by the
    ratio to the power STEEPNESS, to `floor` / `margin` at most.

    >>> [round(naming_floors(np.array([sure, 0.1], np.float32), 0.5, 5.0, 0.8)[0], 2) for sure in (0.9, 0.8, 0.2)]
    [0.5, 0.27, 0.1]
    """
    if floor > 1:  # no name is worth its crop
        return floor, floor
    sure = sureness(scores)
    share = (sure / typical) ** STEEPNESS if sure < typical else 1.0
    return floor * max(share, 1 / margin), floor / margin


def load_model(file: str, ensemble: Ensemble, folder: Path, sessions: dict[Path, Any]) -> Model:
    """Load one model; `sessions` as in `Model`. Raises ValueError where its categories do not fit those of `ensemble`."""
    model = Model(folder / file, ensemble.threads, sessions)
    known = model.sidecar.categories or []
    if known != ensemble.categories[: len(known)]:
        raise ValueError(
            f"{model.path}: class map of {len(known)} categories, "
            f"must be the {len(ensemble.categories)} of ensemble.json, in their order, or the first of them"
        )
    return model


class Pipeline:
    """The loaded models of one ensemble; call it with a photo. `spent` holds the seconds of each part of the last photo."""

    def __init__(self, ensemble: Ensemble, folder: Path, sessions: dict[Path, Any] | None = None) -> None:
        """Load every model that `ensemble` names from `folder`; `sessions` as in `Model`.

        Raises ValueError where one does not fit its categories.
        """
        self.ensemble = ensemble
        self.parts, self.needed = parts_of(ensemble)
        self.spent: dict[Part | str, float] = {}
        self.naming_share = 1.0  # of the boxes to name on a photo, the best: the deadline may lower it
        sessions = {} if sessions is None else sessions
        self.detectors = [load_model(member.file, ensemble, folder, sessions) for member in ensemble.detectors]
        self.classifiers = [load_model(member.file, ensemble, folder, sessions) for member in ensemble.classifiers]

    def warm_up(self) -> None:
        """Run every model on a grey canvas where the first call is slow, as on a GPU, to keep that out of the photos' times."""
        for model, classifier in zip(self.classifiers, self.ensemble.classifiers, strict=True):
            if model.fixed:
                model(np.full((classifier.batch, model.sidecar.size, model.sidecar.size, 3), PADDING, np.uint8))
        for model, detector in zip(self.detectors, self.ensemble.detectors, strict=True):
            if model.fixed:
                run_detector(model, detector, np.full((model.sidecar.size, model.sidecar.size, 3), PADDING, np.uint8))

    def prepare(self, image: Image) -> Canvases:
        """The photo with the canvases of all views of the whole of it, those that several detectors share made once."""
        height, width = image.shape[:2]
        shown = zip(self.ensemble.detectors, self.detectors, strict=True)
        by_spec = (make_views(spec, width, height, model.sidecar.shrinking) for member, model in shown for spec in member.views)
        return Canvases(image, (views[0] for views in by_spec if len(views) == 1))

    def detect(self, photo: Image | Canvases, allows: PartFilter = allow_all, failed: OnFailure = raise_error) -> RawViews:
        """Raw detections of every member and view, in pixels of the photo (RGB or `prepare`d); None for what is not allowed."""
        self.spent = {}
        raw: list[list[Detections | None]] = [[None] * len(member.views) for member in self.ensemble.detectors]
        begun: dict[Part, Callable[[], Detections]] = {}
        parts = [part for part in self.parts if part.kind == "detectors"]
        with Aside() as aside:
            for part in filter(allows, parts):
                member = self.ensemble.detectors[part.model]
                with self._do(part, failed):
                    rest = begin_detector_view(self.detectors[part.model], member, member.views[part.view], photo, aside)
                    begun[part] = rest if part is parts[-1] else aside(rest)  # beside the next view, so not the last one's
        for part, result in begun.items():
            raw[part.model][part.view] = attempt(part, failed, result, lambda: None)
        return raw

    def classify(
        self, image: Image, boxes: Floats, allows: PartFilter = allow_all, failed: OnFailure = raise_error
    ) -> Floats | None:
        """Calibrated probabilities (N, C) of the crops under `boxes` (N, 4): the weighted mean of the classifiers'.

        Rows sum to 1, or to less by the probability of background; a crop that no classifier has an answer to has a row of NaN.
        None without a classifier that `allows` lets through.
        """
        width, each, weights = len(self.ensemble.categories), [], []
        for part in (part for part in self.parts if part.kind == "classifiers" and allows(part)):
            member = self.ensemble.classifiers[part.model]
            with self._do(part, failed):
                model, spec = self.classifiers[part.model], member.views[part.view]
                each.append(run_classifier_view(model, member, spec, image, boxes, width))
                weights.append(member.weight / len(member.views))
        return mean(each, weights) if sum(weights) else None

    @contextmanager
    def _do(self, part: Part, failed: OnFailure) -> Iterator[None]:
        """Measure the time of a part, and pass an exception in it to `failed`."""
        started = time.perf_counter()
        try:
            yield
        except Exception as error:
            failed(part, error)
        self.spent[part] = self.spent.get(part, 0.0) + time.perf_counter() - started

    def __call__(
        self, photo: Image | Canvases, photos: int = 1, allows: PartFilter = allow_all, failed: OnFailure = raise_error
    ) -> list[dict[str, Any]]:
        """Predictions for a uint8 (H, W, 3) RGB photo, or `prepare` of it: category_id, bbox, score; best first.

        `photos` is the number of photos of the run, for the share of `Ensemble.most`. Only the parts that `allows` lets through
        are done. An exception in a part is passed to `failed`; if that returns, the photo goes on without the part: without
        merging it has the boxes of its most important view, and without the gate the detectors' own names.
        """
        return self.begin(photo, photos, allows, failed)()

    def begin(
        self, photo: Image | Canvases, photos: int = 1, allows: PartFilter = allow_all, failed: OnFailure = raise_error
    ) -> Callable[[], list[dict[str, Any]]]:
        """All that the models do of `__call__`; what is returned does the rest, and needs neither models nor photo."""
        raw, limit = self.detect(photo, allows, failed), self.ensemble.most // max(1, photos)
        image, first = photo.image if isinstance(photo, Canvases) else photo, self._first_view(raw)
        merged = attempt("merge", failed, lambda: usable(merge(raw, self.ensemble), min(1, len(first))), lambda: first)
        probabilities = attempt("classify", failed, lambda: self.name(image, merged, allows, failed), lambda: None)
        return partial(self._decided, merged, probabilities, limit, failed)

    def _decided(self, merged: Detections, probabilities: Floats | None, limit: int, failed: OnFailure) -> list[dict[str, Any]]:
        decided = attempt(
            "gate",
            failed,
            lambda: usable(decide(merged, probabilities, self.ensemble.gate, limit), len(merged)),
            lambda: merged.take(np.argsort(-merged.scores, kind="stable")),
        )
        return self.rows(decided)

    def name(
        self, image: Image, merged: Detections, allows: PartFilter = allow_all, failed: OnFailure = raise_error
    ) -> Floats | None:
        """`classify` of the boxes to name, `sized`; others have rows of NaN, as crops that no classifier has an answer to.

        A classifier's view that fails is not tried again on the photo.
        """
        e, broken = self.ensemble, set[Part | str]()

        def failed_here(part: Part | str, error: Exception) -> None:
            broken.add(part)
            failed(part, error)

        def classify(rows: Ints) -> Floats | None:
            return self.classify(image, merged.boxes[rows], lambda part: part not in broken and allows(part), failed_here)

        floors = naming_floors(merged.scores, e.naming_floor, e.naming_margin, e.naming_typical)
        named = name_best(merged.scores, classify, *floors, self.naming_share)
        return None if named is None else sized(named, merged, e.sizes, *image.shape[1::-1])

    def _first_view(self, raw: RawViews) -> Detections:
        """The detections of the most important view that was done, at most `max_det` of merging."""
        forming = (p for p in self.parts if p.kind == "detectors" and self.ensemble.detectors[p.model].weight > 0)
        done = (detections for part in forming if (detections := raw[part.model][part.view]))
        first = next(done, Detections.empty())
        return first.take(np.argsort(-first.scores, kind="stable")[: self.ensemble.merge.max_det])

    def not_finite(self) -> dict[str, int]:
        """How many numbers in the outputs so far of each model, by its file, were NaN or infinite, where there were any."""
        files = [member.file for member in self.ensemble.detectors] + [member.file for member in self.ensemble.classifiers]
        models = zip(files, [*self.detectors, *self.classifiers], strict=True)
        return {file: model.not_finite for file, model in models if model.not_finite}

    def full_answers(self) -> dict[str, int]:
        """How often so far the graph of each detector, by its file, may have kept back boxes above its `conf`, where it did."""
        models = zip(self.ensemble.detectors, self.detectors, strict=True)
        return {member.file: model.full_answers for member, model in models if model.full_answers}

    def rows(self, detections: Detections) -> list[dict[str, Any]]:
        """`detections` in the contest's JSON form, labels turned into category ids."""
        boxes = xyxy_to_xywh(detections.boxes.astype(np.float64)).round(3).tolist()
        scores = detections.scores.astype(str).astype(float).tolist()  # the shortest decimal of each float32
        return [
            {"category_id": int(self.ensemble.categories[label]), "bbox": box, "score": score}
            for box, score, label in zip(boxes, scores, detections.labels.tolist(), strict=True)
        ]


def attempt(step: Part | str, failed: OnFailure, work: Callable[[], Result], otherwise: Callable[[], Result]) -> Result:
    """What `work` returns or, where it raises an exception that `failed` takes, what `otherwise` does."""
    try:
        return work()
    except Exception as error:
        failed(step, error)
        return otherwise()


def load(folder: Path) -> Pipeline:
    """The pipeline that FOLDER/ensemble.json describes. Raises ValueError for a missing or malformed file or model."""
    return Pipeline(read_ensemble(folder), folder)


def load_usable(folder: Path) -> Pipeline:
    """As `load`, but models that do not load are left out: at judgment some predictions are better than none.

    Raises ValueError where no detector is left that forms boxes.
    """
    ensemble = read_ensemble(folder)

    def works(file: str) -> bool:
        with suppress(Exception):
            return bool(load_model(file, ensemble, folder, {}))
        return False

    detectors = [member for member in ensemble.detectors if works(member.file)]
    classifiers = [member for member in ensemble.classifiers if works(member.file)]
    if not any(member.weight > 0 for member in detectors):
        raise ValueError(f"{folder}: no detector that forms boxes can be loaded")
    return Pipeline(replace(ensemble, detectors=detectors, classifiers=classifiers), folder)
