"""The arms of the ablation: ways of naming the same boxes, each fitted on valid and deciding on test."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.figures.ablation_table import Arm
from fusion.boxes import Detections
from fusion.ensemble import Ensemble
from fusion.gate import POLICIES, Gate, choose_labels, detector_probabilities, mass_above
from fusion.models import Model
from fusion.views import crop
from photos.data import Dataset, read_image
from photos.folds import Folds
from photos.studio import STUDIO
from runs import record
from runs.command import say
from stage2_classifier import neighbours
from stage2_classifier.crops import shelf_regions, studio_regions
from stage2_classifier.gate.calibrate import EXPONENTS, conformal_threshold, fit_policy, named_boxes, predictions, true_names
from stage2_classifier.gate.evidence import Evidence, named

ADOPTED = "gate + further names"
NAIVE = (1.0, 1e-6)  # a detector taken at its word: temperature and floor
COVERAGE = 0.95  # taken: what nobody has tuned
K = 5  # taken: what entrants' kNN used is not told; five is the usual


def arm(title: str, test: Sequence[Evidence], gate: Gate) -> Arm:
    """The decisions of one gate."""
    names = [choose_labels(e.merged, e.probabilities, gate)[0] for e in test]
    return Arm(title, predictions(test, [gate] * len(test)), names)


def policies(valid: Sequence[Evidence], test: Sequence[Evidence], adopted: Gate) -> list[Arm]:
    """Every policy, `detector` first, then the gate adopted, without and with further names."""
    made = [arm(policy, test, fit_policy(policy, valid)) for policy in POLICIES]
    return [*made, arm("gate", test, replace(adopted, further=0)), arm(ADOPTED, test, adopted)]


def raw(title: str, valid: Sequence[Evidence], test: Sequence[Evidence]) -> Arm:
    """The classifier's names always, in the order that valid likes best."""
    return arm(title, test, fit_policy("raw", valid))


def uncalibrated(valid: Sequence[Evidence], test: Sequence[Evidence]) -> list[Arm]:
    """`raw`, and `agree` with nothing fitted but its set, on evidence of a classifier whose logits are taken at their word."""
    rows, labels = named_boxes(valid)
    threshold = conformal_threshold(mass_above(detector_probabilities(rows, *NAIVE), labels), COVERAGE)
    agree = Gate("agree", *NAIVE, COVERAGE, threshold, name_exponent=EXPONENTS[0])
    return [raw("raw, uncalibrated", valid, test), arm("agree, uncalibrated", test, agree)]


def knn(
    runs: Path, classifier: str, dataset: Dataset, parts: Folds, valid: Sequence[Evidence], test: Sequence[Evidence]
) -> list[Arm]:
    """kNN on the classifier's embeddings in its place: on shelf crops, and on studio photos where there are any."""
    model = neighbours.load_embedder(runs / classifier / "model.onnx")
    size = model.sidecar.size
    galleries = {"shelf": shelf_regions(parts.photos("train"), size)}
    if (dataset.root / STUDIO).is_dir():
        galleries["studio"] = studio_regions(dataset.root / STUDIO, dataset.categories, size)
    say("kNN: embeds the crops of both parts")
    queries = [[_embedded(model, e) for e in part] for part in (valid, test)]
    made = []
    for title, regions in galleries.items():
        gallery = neighbours.embed_regions(model, regions)
        both = [[replace(e, probabilities=_voted(gallery, q, len(dataset.categories))) for e, q in zip(part, of, strict=True)]
                for part, of in zip((valid, test), queries, strict=True)]  # fmt: skip
        made.append(raw(f"raw: kNN {title}", *both))
    return made


def _embedded(model: Model, e: Evidence) -> np.ndarray:
    image = read_image(e.photo.path, e.photo.width, e.photo.height)
    side = model.sidecar
    crops = [crop(image, box, side.size, side.margin, side.fit) for box in e.merged.boxes]
    return neighbours.embed(model, np.stack(crops)) if crops else np.zeros((0, 1), np.float32)


def _voted(gallery: neighbours.Embedded, queries: np.ndarray, n_names: int) -> np.ndarray:
    if len(queries) == 0:
        return np.zeros((0, n_names), np.float32)
    return neighbours.knn_probabilities(gallery.vectors, gallery.labels, queries, n_names, K)


def oracles(runs: Path, ensemble: Ensemble, test: Sequence[Evidence]) -> list[Arm]:
    """Perfect names on the found boxes, in their order; and the first classifier's names on perfect boxes."""
    boxes = {e.photo.id: e.photo.boxes for e in test}
    photos, width = [e.photo for e in test], len(ensemble.categories)
    first = ensemble.classifiers[0]
    place = record.digest({photo_id: rows.tolist() for photo_id, rows in boxes.items()})
    rows = named(first, runs, width, photos, boxes, runs / "raw", place, lambda i, n: None)
    perfect = [Evidence(e.photo, Detections(e.photo.boxes, np.ones(len(p), np.float32), e.photo.labels), p)
               for e, p in zip(test, rows, strict=True)]  # fmt: skip
    named_rightly = [with_true_names(e, e.merged) for e in test]
    boxes_arm = arm("box oracle (raw)", perfect, Gate("raw", name_exponent=0.5))
    return [Arm("name oracle", named_rightly, [d.labels for d in named_rightly]), Arm(boxes_arm.name, boxes_arm.found)]


def with_true_names(evidence: Evidence, found: Detections) -> Detections:
    """`found` with the true name wherever there is one: what perfect naming would score."""
    truth = true_names(evidence.truth, found.boxes)
    return Detections(found.boxes, found.scores, np.where(truth >= 0, truth, found.labels), found.evidence)
