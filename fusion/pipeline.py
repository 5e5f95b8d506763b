"""ensemble.json -> predictions: detect and classify run models (slow); merge and decide are numpy (fast).

run.py calls all four on a photo. Search and ablation call `merge` and `decide` alone, on saved raw outputs, with the same
ensemble.json: what they measure is what is judged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fusion import crops
from fusion import merge as merging
from fusion.boxes import Detections, clip, join, xyxy_to_xywh
from fusion.decode import decode
from fusion.gate import Gate, decide
from fusion.models import Model, Sidecar, read_object
from fusion.views import View, make_views

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Part = TypeVar("Part")


@dataclass(frozen=True)
class Member:
    """One detector of the ensemble.

    `weight` > 0 lets its boxes take part in merging, `evidence_weight` > 0 its class scores in naming. Of each entry of `views`
    the boxes above `conf` survive NMS at `nms_iou`, the best `max_det` of them. `views` as in `fusion.views.make_views`.
    """

    file: str
    weight: float = 1.0
    evidence_weight: float = 0.0
    conf: float = 0.001
    nms_iou: float = 0.7
    max_det: int = 300
    views: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, file: str, sidecar: Sidecar, **values: Any) -> "Member":
        """A member as its sidecar suggests: one view of the size and shape it was trained at."""
        view = {"size": sidecar.size, "shape": sidecar.shape, "stride": sidecar.stride}
        options: dict[str, Any] = {"max_det": sidecar.max_det, "views": [view]} | values
        return cls(file, **options)


@dataclass(frozen=True)
class Merge:
    """How many boxes become one: `method` nms, soft_nms or wbf; `iou` joins or removes; `sigma` is soft_nms's; class evidence
    comes from boxes that overlap by `evidence_iou`; at most `max_det` boxes a photo.
    """

    method: str = "wbf"
    iou: float = 0.55
    sigma: float = 0.5
    max_det: int = 300
    evidence_iou: float = 0.5


@dataclass(frozen=True)
class Namer:
    """A crop classifier: its file, how many crops it takes at once, and its share in the mean of all classifiers."""

    file: str
    batch: int = 16
    weight: float = 1.0


@dataclass(frozen=True)
class Ensemble:
    """ensemble.json: everything of the method that is a number. `categories` are the ids that labels index.

    A model may know fewer, the first ones: those after were added to another (`stage2_classifier.enroll`). `most` caps the
    further names of a whole run, of which each photo has an equal share; a box's first name is always there.
    """

    categories: list[int]
    detectors: list[Member]
    merge: Merge = field(default_factory=Merge)
    classifiers: list[Namer] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    most: int = 50_000


def _part(kind: Callable[..., Part], values: Mapping[str, Any], where: str) -> Part:
    """`kind` from JSON values. Raises ValueError for no object, an unknown field, listing the known, or a missing one."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: got {values!r}, need an object")
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}, known: {', '.join(known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def parse(values: dict[str, Any], where: str = "ensemble.json") -> Ensemble:
    """An Ensemble from the JSON's values; every part checked for unknown fields (ValueError)."""
    whole = dict(values)
    for name, kind in (("detectors", Member), ("classifiers", Namer)):
        members = values.get(name, [])
        if not isinstance(members, list):
            raise ValueError(f"{where}: {name}: got {members!r}, need a list")
        whole[name] = [_part(kind, member, f"{where}: {name}[{i}]") for i, member in enumerate(members)]
    if not whole["detectors"]:
        raise ValueError(f"{where}: detectors: got none, need at least 1")
    for name, part in (("merge", Merge), ("gate", Gate)):
        if whole.get(name) is not None:
            whole[name] = _part(part, whole[name], f"{where}: {name}")
    return _part(Ensemble, whole, where)


def detect_one(model: Model, member: Member, image: Image) -> list[Detections]:
    """What one detector finds on a photo, in its pixels: one Detections for each entry of `member.views`."""
    height, width = image.shape[:2]
    return [_spec(model, member, image, make_views(spec, width, height)) for spec in member.views]


def _spec(model: Model, member: Member, image: Image, views: list[View]) -> Detections:
    """All views of one entry (several when it asks for tiles), as one: NMS over their union, then cut to the photo.

    Cutting comes last, as in ultralytics: boxes that leave the photo overlap each other more once they are cut.
    """
    whole = join([_view(model, member, image, view) for view in views])
    best = whole.take(merging.nms(whole.boxes, whole.scores, member.nms_iou)[: member.max_det])
    boxes = clip(best.boxes, image.shape[1], image.shape[0])
    seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Detections(boxes, best.scores, best.labels, best.evidence).take(seen)


def _view(model: Model, member: Member, image: Image, view: View) -> Detections:
    raw = model(view.warp(image)[None])[0]  # (4 + C, A) for yolo
    found = decode(model.sidecar.family, raw, member.conf, model.sidecar.categories is None)
    return Detections(view.to_image(found.boxes), found.scores, found.labels, found.evidence)


def merge(raw: list[list[Detections]], ensemble: Ensemble) -> Detections:
    """The raw outputs of `detect` (a list of views for each member) become one Detections with class evidence. Pure."""
    flat = [(view, member) for views, member in zip(raw, ensemble.detectors, strict=True) for view in views]
    m = ensemble.merge
    return merging.merge(
        [view for view, _ in flat], [member.weight for _, member in flat], [member.evidence_weight for _, member in flat],
        m.method, m.iou, m.sigma, m.max_det, m.evidence_iou,
    )  # fmt: skip


def classify_one(model: Model, namer: Namer, image: Image, boxes: Floats, width: int) -> Floats:
    """One classifier's calibrated probabilities (N, `width`) of the crops under `boxes`; 0 for names it does not know."""
    side = model.sidecar
    known = len(side.categories or [])
    parts = [model(batch)[:n] for batch, n in crops.batches(image, boxes, side.size, side.margin, namer.batch, side.fit)]
    logits = np.concatenate([np.zeros((0, known + side.background), np.float32), *parts])  # (N, known [+ 1])
    return np.pad(calibrated(logits, side)[:, :known], ((0, 0), (0, width - known)))


def mean(probabilities: list[Floats], weights: list[float]) -> Floats:
    """The weighted mean of several classifiers' probabilities, each (N, C)."""
    shares = np.asarray(weights, np.float64) / sum(weights)
    return np.asarray(sum(p * share for p, share in zip(probabilities, shares, strict=True)), np.float32)


class Pipeline:
    """The models of one ensemble, loaded; call it with a photo."""

    def __init__(self, ensemble: Ensemble, folder: Path, threads: int = 0) -> None:
        """Load every model `ensemble` names from `folder`. Raises ValueError where one does not fit its class map."""
        self.ensemble = ensemble
        self.detectors = [Model(folder / member.file, threads) for member in ensemble.detectors]
        self.classifiers = [Model(folder / namer.file, threads) for namer in ensemble.classifiers]
        for model in [*self.detectors, *self.classifiers]:
            known = model.sidecar.categories or []
            if known != ensemble.categories[: len(known)]:
                raise ValueError(
                    f"{model.path}: class map of {len(known)} categories, "
                    f"must be the {len(ensemble.categories)} of ensemble.json, in their order, or the first of them"
                )

    def detect(self, image: Image) -> list[list[Detections]]:
        """Raw boxes of every member and view on a uint8 RGB photo, in its pixels."""
        return [detect_one(model, member, image) for model, member in zip(self.detectors, self.ensemble.detectors, strict=True)]

    def classify(self, image: Image, boxes: Floats) -> Floats | None:
        """Calibrated probabilities (N, C) of the crops under `boxes` (N, 4): the weighted mean of the classifiers'.

        Rows sum to 1, or to less by the probability of background. None without a classifier.
        """
        namers = self.ensemble.classifiers
        if not namers:
            return None
        width = len(self.ensemble.categories)
        each = [classify_one(model, n, image, boxes, width) for model, n in zip(self.classifiers, namers, strict=True)]
        return mean(each, [namer.weight for namer in namers])

    def __call__(self, image: Image, photos: int = 1) -> list[dict[str, Any]]:
        """Predictions for a uint8 (H, W, 3) RGB photo: category_id, bbox x y w h in its pixels, score; best first.

        `photos` is of how many this is one, for its share of `Ensemble.most`.
        """
        merged = merge(self.detect(image), self.ensemble)
        share = self.ensemble.most // max(1, photos)
        return self.rows(decide(merged, self.classify(image, merged.boxes), self.ensemble.gate, share))

    def rows(self, found: Detections) -> list[dict[str, Any]]:
        """`found` in the contest's JSON form, labels turned into category ids."""
        xywh = xyxy_to_xywh(found.boxes.astype(np.float64))
        return [
            {
                "category_id": int(self.ensemble.categories[label]),
                "bbox": [round(float(v), 3) for v in box],
                "score": float(str(score)),
            }
            for box, score, label in zip(xywh, found.scores, found.labels, strict=True)
        ]


def calibrated(logits: Floats, side: Sidecar) -> Floats:
    """Logits (N, C) -> probabilities (N, C), float32, rows summing to 1: softmax(logits / temperature x scale + bias)."""
    scaled = logits.astype(np.float64) / side.temperature
    scaled = scaled * np.asarray(side.scale or 1.0) + np.asarray(side.bias or 0.0)
    powers = np.exp(scaled - scaled.max(1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def load(folder: Path) -> Pipeline:
    """The pipeline that FOLDER/ensemble.json describes. Raises ValueError for a missing or malformed file or model."""
    path = folder / "ensemble.json"
    if not path.is_file():
        raise ValueError(f"{path}: not found")
    return Pipeline(parse(read_object(path)), folder)
