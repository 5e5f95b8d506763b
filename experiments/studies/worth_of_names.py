"""What a crop classifier's names are worth on photos held out: of the labelled boxes, and of those that a detector finds."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from experiments.studies.unseen_names import aps
from fusion.boxes import Detections
from fusion.decode import run_detector
from fusion.ensemble import Member, Merge
from fusion.gate import Gate
from fusion.merge import merge
from fusion.models import Model
from fusion.views import crop_batches
from photos.data import Photo, read_image
from photos.score import Truth, match, scores
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.crops import TYPICAL_ERROR, CropFormat, crops_of, shelf_regions
from stage2_classifier.gate.calibrate import predictions
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.learning import predict
from stage2_classifier.model import Classifier
from stage2_classifier.prototype_blend import HeldOutCrops

GATE = Gate("raw", name_exponent=1.0)  # the classifier's names, each score times the name's probability


class Worth(NamedTuple):
    """Of the labelled boxes the names' mean AP and the share named rightly; the classification mAP50 of those found, if any."""

    ap: float
    top1: float
    cls: float | None

    def __str__(self) -> str:
        """As text, for the command."""
        return f"AP {self.ap:.3f}, top-1 {self.top1:.3f}" + ("" if self.cls is None else f", cls mAP50 {self.cls:.3f}")


class HeldOut(NamedTuple):
    """Photos to judge on, what a detector finds on each (or nothing at all), and the number C of names."""

    photos: Sequence[Photo]
    boxes: Sequence[Detections]
    names: int

    @property
    def labels(self) -> np.ndarray:
        """The names of all labelled boxes, int64 (N,)."""
        return np.concatenate([photo.labels for photo in self.photos]).astype(np.int64)


def detected_by(detector: Path, photos: Sequence[Photo]) -> list[Detections]:
    """What the model DETECTOR finds in one view of each photo, merged by the default."""
    model = Model(detector)
    member = Member.of(detector.name, model.sidecar)
    views = (run_detector(model, member, read_image(photo.path, photo.width, photo.height)) for photo in photos)
    return [merge(found, [1.0] * len(found), [1.0] * len(found), Merge()) for found in views]


def probabilities(network: Classifier, config: ClassifierConfig, held_out: HeldOut) -> np.ndarray:
    """The probabilities (2, N + M, C) of the N labelled boxes and the M found: of their crops, and with mirrored ones too."""
    shown = shelf_regions(held_out.photos, config.size)
    form = CropFormat(config.size, config.margin, config.fit)
    rng = np.random.default_rng(0)  # the same boxes for all
    crops = [crops_of(shown, np.arange(len(shown)), np.array(TYPICAL_ERROR), form, rng)]
    for photo, found in zip(held_out.photos, held_out.boxes, strict=len(held_out.boxes) > 0):
        image = read_image(photo.path, photo.width, photo.height)
        crops += [
            some for some, _ in crop_batches(image, found.boxes, config.size, config.margin, max(1, len(found)), config.fit)
        ]
    every = np.concatenate(crops)  # (N + M, size, size, 3)
    views = every, np.ascontiguousarray(every[:, :, ::-1])
    plain, mirrored = (softmax(predict(network, view), axis=1)[:, : held_out.names] for view in views)
    return np.stack([plain, (plain + mirrored) / 2])


def worth(says: np.ndarray, held_out: HeldOut) -> Worth:
    """What probabilities (N + M, C) of the labelled boxes, and of those found after them, are worth."""
    labels, c = held_out.labels, held_out.names
    numbers = np.repeat([photo.id for photo in held_out.photos], [len(photo.labels) for photo in held_out.photos])
    own, rest = says[: len(labels)], says[len(labels) :]
    ap = aps(HeldOutCrops(own, np.zeros((1, c)), np.zeros(c), labels, numbers), None)
    top1 = float((own.argmax(1) == labels).mean())
    return Worth(float(np.nanmean(ap)), top1, cls_of(rest, held_out) if held_out.boxes else None)


def cls_of(says: np.ndarray, held_out: HeldOut) -> float:
    """The classification mAP50 of the boxes found, named by probabilities (M, C)."""
    ends = np.cumsum([len(found) for found in held_out.boxes])[:-1]
    each = zip(held_out.photos, held_out.boxes, np.split(says.astype(np.float32), ends), strict=True)
    evidence = [Evidence(photo, found, own) for photo, found, own in each]
    decided = predictions(evidence, [GATE] * len(evidence))
    return scores(match([Truth.of(photo) for photo in held_out.photos], decided, held_out.names)).cls_map50
