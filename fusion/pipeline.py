"""ensemble.json -> predictions: detect and classify run models (slow); merge and decide are numpy (fast).

run.py calls all four on a photo. Search and ablation call `merge` and `decide` alone, on saved raw outputs, with the same
ensemble.json: what they measure is what is judged.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion import merge as merging
from fusion.boxes import Detections, clip, nms, xyxy_to_xywh
from fusion.decode import decode, stitch
from fusion.ensemble import Allows, CropView, Ensemble, Member, Namer, Part, always, discover, parse, parts_of, record
from fusion.gate import decide
from fusion.models import Model, Sidecar, read_object, read_sidecar
from fusion.views import PADDING, View, crop_batches, make_views

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Failed = Callable[[Part, Exception], object]
SLIVER = 0.01  # chosen: pixels; a box less wide or high than this is none, and would be 0 wide once it is written


def loud(part: Part, error: Exception) -> None:
    """A part that fails ends the work."""
    raise error


def detect_one(model: Model, member: Member, image: Image) -> list[Detections]:
    """What one detector finds on a photo, in its pixels: one Detections for each entry of `member.views`."""
    return [detect_view(model, member, spec, image) for spec in member.views]


def detect_view(model: Model, member: Member, spec: dict[str, Any], image: Image) -> Detections:
    """What one detector finds in one entry of its views, in pixels of the photo.

    Several canvases when the entry asks for tiles: NMS in each, what their borders cut is stitched, NMS over all. Boxes are cut
    to the photo last, as in ultralytics: those that leave it overlap each other more once they are cut.
    """
    height, width = image.shape[:2]
    views = make_views(spec, width, height)
    each = [_canvas(model, member, image, view) for view in views]
    if len(views) > 1:
        each = [found.take(nms(found.boxes, found.scores, member.nms_iou, member.max_det)) for found in each]
        each = [Detections(clip(f.boxes, width, height), f.scores, f.labels, f.evidence) for f in each]
        seen = np.concatenate([clip(view.to_image(view.whole), width, height) for view in views])  # (T, 4)
        whole = stitch(each, seen, width, height)
    else:
        whole = each[0]
    best = whole.take(nms(whole.boxes, whole.scores, member.nms_iou, member.max_det))
    boxes = clip(best.boxes, width, height)
    real = (boxes[:, 2:] - boxes[:, :2] >= SLIVER).all(1)
    return Detections(boxes, best.scores, best.labels, best.evidence).take(real)


def _canvas(model: Model, member: Member, image: Image, view: View) -> Detections:
    raw = model(view.warp(image)[None])[0]  # (4 + C, A) for yolo
    found = decode(model.sidecar.family, raw, member.conf, model.sidecar.categories is None)
    return Detections(view.to_image(found.boxes), found.scores, found.labels, found.evidence)


def merge(raw: list[list[Detections]], ensemble: Ensemble) -> Detections:
    """The raw outputs of `detect` (a list of views for each member) become one Detections with class evidence. Pure."""
    flat = [
        (view, member, spec.get("weight", 1.0))
        for views, member in zip(raw, ensemble.detectors, strict=True)
        for view, spec in zip(views, member.views, strict=False)  # the last views may have been left out
    ]
    m = ensemble.merge
    return merging.merge(
        [view for view, _, _ in flat], [member.weight * weight for _, member, weight in flat],
        [member.evidence_weight * weight for _, member, weight in flat],
        m.method, m.iou, m.sigma, m.max_det, m.evidence_iou,
    )  # fmt: skip


def classify_view(model: Model, namer: Namer, spec: dict[str, Any], image: Image, boxes: Floats, width: int) -> Floats:
    """One classifier's calibrated probabilities (N, `width`) of one view of the crops under `boxes`; 0 for unknown names.

    Raises ValueError for an unknown field of `spec`.
    """
    side = model.sidecar
    view = record(CropView, spec, f"{namer.file}: views")
    margin = side.margin if view.margin is None else view.margin
    known = len(side.categories or [])
    parts = [np.zeros((0, known + side.background), np.float32)]
    for canvases, n in crop_batches(image, boxes, side.size, margin, namer.batch, side.fit):
        seen = canvases if model.fixed else canvases[:n]
        parts.append(model(np.ascontiguousarray(seen[:, :, ::-1]) if view.flip else seen)[:n])
    logits = np.concatenate(parts)  # (N, known [+ 1])
    return np.pad(calibrated(logits, side)[:, :known], ((0, 0), (0, width - known)))


def classify_one(model: Model, namer: Namer, image: Image, boxes: Floats, width: int) -> Floats:
    """The mean of `classify_view` over all views of `namer`."""
    each = [classify_view(model, namer, spec, image, boxes, width) for spec in namer.views]
    return mean(each, [1.0] * len(each))


def mean(probabilities: list[Floats], weights: list[float]) -> Floats:
    """The weighted mean of several probabilities, each (N, C)."""
    shares = np.asarray(weights, np.float64) / sum(weights)
    return np.asarray(sum(p * share for p, share in zip(probabilities, shares, strict=True)), np.float32)


def load_model(file: str, ensemble: Ensemble, folder: Path, sessions: dict[Path, Any]) -> Model:
    """One model of `ensemble`; `sessions` as in `Model`. Raises ValueError where it does not fit the ensemble's categories."""
    model = Model(folder / file, ensemble.threads, sessions)
    known = model.sidecar.categories or []
    if known != ensemble.categories[: len(known)]:
        raise ValueError(
            f"{model.path}: class map of {len(known)} categories, "
            f"must be the {len(ensemble.categories)} of ensemble.json, in their order, or the first of them"
        )
    return model


class Pipeline:
    """The models of one ensemble, loaded; call it with a photo. `spent`: the seconds that each part of the last one took."""

    def __init__(self, ensemble: Ensemble, folder: Path) -> None:
        """Load every model `ensemble` names from `folder`. Raises ValueError where one does not fit its class map."""
        self.ensemble = ensemble
        self.parts, self.needed = parts_of(ensemble)
        self.spent: dict[Part | str, float] = {}
        sessions: dict[Path, Any] = {}
        self.detectors = [load_model(member.file, ensemble, folder, sessions) for member in ensemble.detectors]
        self.classifiers = [load_model(namer.file, ensemble, folder, sessions) for namer in ensemble.classifiers]

    def warm_up(self) -> None:
        """Let every model see a grey canvas where the first call is slow, as on a GPU: no photo's time is then mistaken."""
        for model, namer in zip(self.classifiers, self.ensemble.classifiers, strict=True):
            if model.fixed:
                model(np.full((namer.batch, model.sidecar.size, model.sidecar.size, 3), PADDING, np.uint8))
        for model, member in zip(self.detectors, self.ensemble.detectors, strict=True):
            if model.fixed:
                detect_one(model, member, np.full((model.sidecar.size, model.sidecar.size, 3), PADDING, np.uint8))

    def detect(self, image: Image, allows: Allows = always, failed: Failed = loud) -> list[list[Detections]]:
        """Raw boxes of every member and view on a uint8 RGB photo, in its pixels; of those that `allows` lets through."""
        found: list[list[Detections]] = [[] for _ in self.detectors]
        for part in (part for part in self.parts if part.kind == "detectors" and allows(part)):
            member = self.ensemble.detectors[part.model]
            with self._do(part, failed):
                found[part.model] += [detect_view(self.detectors[part.model], member, member.views[part.view], image)]
        return found

    def classify(self, image: Image, boxes: Floats, allows: Allows = always, failed: Failed = loud) -> Floats | None:
        """Calibrated probabilities (N, C) of the crops under `boxes` (N, 4): the weighted mean of the classifiers'.

        Rows sum to 1, or to less by the probability of background. None without a classifier that `allows` lets through.
        """
        width, seen, weights = len(self.ensemble.categories), [], []
        for part in (part for part in self.parts if part.kind == "classifiers" and allows(part)):
            namer = self.ensemble.classifiers[part.model]
            with self._do(part, failed):
                model, spec = self.classifiers[part.model], namer.views[part.view]
                seen.append(classify_view(model, namer, spec, image, boxes, width))
                weights.append(namer.weight / len(namer.views))
        return mean(seen, weights) if sum(weights) else None

    @contextmanager
    def _do(self, part: Part, failed: Failed) -> Iterator[None]:
        """Time a part, and tell `failed` of its failure."""
        started = time.perf_counter()
        try:
            yield
        except Exception as error:
            failed(part, error)
        self.spent[part] = time.perf_counter() - started

    def __call__(self, image: Image, photos: int = 1, allows: Allows = always, failed: Failed = loud) -> list[dict[str, Any]]:
        """Predictions for a uint8 (H, W, 3) RGB photo: category_id, bbox x y w h in its pixels, score; best first.

        `photos` is of how many this is one, for its share of `Ensemble.most`. Done are the parts that `allows` lets through;
        where one raises an exception `failed` hears of it, and the photo goes on without it if that returns.
        """
        self.spent = {}
        merged = merge(self.detect(image, allows, failed), self.ensemble)
        names = self.classify(image, merged.boxes, allows, failed)
        return self.rows(decide(merged, names, self.ensemble.gate, self.ensemble.most // max(1, photos)))

    def rows(self, found: Detections) -> list[dict[str, Any]]:
        """`found` in the contest's JSON form, labels turned into category ids."""
        boxes = xyxy_to_xywh(found.boxes.astype(np.float64)).round(3).tolist()
        scores = found.scores.astype(str).astype(float).tolist()  # the shortest number that is this float32
        return [
            {"category_id": int(self.ensemble.categories[label]), "bbox": box, "score": score}
            for box, score, label in zip(boxes, scores, found.labels.tolist(), strict=True)
        ]


def calibrated(logits: Floats, side: Sidecar) -> Floats:
    """Logits (N, C) -> probabilities (N, C), float32, rows summing to 1: softmax(logits / temperature x scale + bias)."""
    scaled = logits.astype(np.float64) / side.temperature
    scaled = scaled * np.asarray(side.scale or 1.0) + np.asarray(side.bias or 0.0)
    powers = np.exp(scaled - scaled.max(1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def load(folder: Path) -> Pipeline:
    """The pipeline that FOLDER/ensemble.json describes. Raises ValueError for a missing or malformed file or model."""
    return Pipeline(read_ensemble(folder), folder)


def read_ensemble(folder: Path) -> Ensemble:
    """What FOLDER/ensemble.json says or, without it, every model in FOLDER with its sidecar's defaults.

    Raises ValueError where it is malformed, or where there is neither.
    """
    path = folder / "ensemble.json"
    if path.is_file():
        return parse(read_object(path))
    files = sorted(folder.glob("*.onnx"))
    if not files:
        raise ValueError(f"{path}: not found")
    return discover({file.name: read_sidecar(file.with_suffix(".json")) for file in files})


def salvage(folder: Path) -> Pipeline:
    """As `load`, without the models that do not load: better some predictions than none, at the judge.

    Raises ValueError when no detector is left that forms boxes.
    """
    ensemble = read_ensemble(folder)

    def works(file: str) -> bool:
        with suppress(Exception):
            return bool(load_model(file, ensemble, folder, {}))
        return False

    detectors = [member for member in ensemble.detectors if works(member.file)]
    classifiers = [namer for namer in ensemble.classifiers if works(namer.file)]
    if not any(member.weight > 0 for member in detectors):
        raise ValueError(f"{folder}: no detector that forms boxes can be loaded")
    return Pipeline(replace(ensemble, detectors=detectors, classifiers=classifiers), folder)
