"""The variants that the ablation compares: ways of naming the same boxes, each fitted on valid and deciding on test."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.figures.ablation_table import Variant
from fusion.ensemble import Ensemble
from fusion.gate import POLICIES, Gate, choose_labels, detector_probabilities, mass_above
from fusion.models import Model
from fusion.views import crop
from photos.data import Dataset, Photo, read_image
from photos.folds import Folds
from photos.studio import STUDIO
from runs import record
from runs.command import say
from stage2_classifier import neighbours
from stage2_classifier.crops import shelf_regions, studio_regions
from stage2_classifier.gate.calibrate import EXPONENTS, conformal_threshold, fit_policies, fit_policy, named_boxes, predictions
from stage2_classifier.gate.evidence import Evidence, as_judged, cached, models_and_code, no_progress
from stage2_classifier.gate.oracles import ON_TRUE_BOXES, on_true_boxes, with_true_names

ADOPTED = "gate + further names"
UNCALIBRATED = (1.0, 1e-6)  # temperature and floor of class evidence that is not calibrated
COVERAGE = 0.95  # taken: a usual value, not tuned
K = 5  # taken: a usual value; what contestants' kNN used is not published


def variant(title: str, test: Sequence[Evidence], gate: Gate) -> Variant:
    """The decisions of one gate."""
    names = [choose_labels(e.merged, e.probabilities, gate)[0] for e in test]
    return Variant(title, predictions(test, [gate] * len(test)), names)


def policies(valid: Sequence[Evidence], test: Sequence[Evidence], ensemble: Ensemble) -> list[Variant]:
    """Every policy, `detector` first, then the gate of `ensemble`, without and with further names.

    The policies name every box, whatever its size; the gate has the ensemble's naming floor and sizes, as at judgment.

    Without class evidence all policies give the classifier's names, and `raw` stands for them.
    """
    tried = list(POLICIES) if any(e.merged.evidence is not None for e in valid) else ["raw"]
    fitted = [variant(policy, test, gate) for policy, gate in fit_policies(tried, valid).items()]
    judged, gate = as_judged(test, ensemble), ensemble.gate
    return [*fitted, variant("gate", judged, replace(gate, further=0)), variant(ADOPTED, judged, gate)]


def raw(title: str, valid: Sequence[Evidence], test: Sequence[Evidence]) -> Variant:
    """The classifier's names always, in the order that valid likes best."""
    return variant(title, test, fit_policy("raw", valid))


def uncalibrated(valid: Sequence[Evidence], test: Sequence[Evidence]) -> list[Variant]:
    """`raw`, and `agree` with nothing fitted but its plausible set, on evidence of a classifier that is not calibrated.

    `agree` is left out where there is no class evidence to agree with.
    """
    rows, labels = named_boxes(valid)
    threshold = conformal_threshold(mass_above(detector_probabilities(rows, *UNCALIBRATED), labels), COVERAGE)
    agree = Gate("agree", *UNCALIBRATED, COVERAGE, threshold, name_exponent=EXPONENTS[0])
    with_class_evidence = [variant("agree, uncalibrated", test, agree)] if len(rows) else []
    return [raw("raw, uncalibrated", valid, test), *with_class_evidence]


def knn(
    runs: Path, classifier: str, dataset: Dataset, parts: Folds, valid: Sequence[Evidence], test: Sequence[Evidence]
) -> list[Variant]:
    """kNN on the classifier's embeddings in its place: on shelf crops, and on studio photos where there are any."""
    model = neighbours.load_embedder(runs / classifier / "model.onnx")
    size = model.sidecar.size
    galleries = {"shelf": shelf_regions(parts.photos("train"), size)}
    if (dataset.root / STUDIO).is_dir():
        galleries["studio"] = studio_regions(dataset.root / STUDIO, dataset.categories, size)
    say("kNN: embeds the crops of both parts")
    queries = [_embedded(model, part, runs / "raw") for part in (valid, test)]
    variants = []
    for title, regions in galleries.items():
        gallery = neighbours.embed_regions(model, regions)
        both = [
            _named_by(gallery, part, own, len(dataset.categories)) for part, own in zip((valid, test), queries, strict=True)
        ]
        variants.append(raw(f"raw: kNN {title}", *both))
    return variants


def _embedded(model: Model, evidence: Sequence[Evidence], cache: Path) -> list[np.ndarray]:
    """The embeddings (N, D) of each photo's merged boxes; kept in CACHE by model, boxes and photos, and used again."""
    boxes = {e.photo.id: e.merged.boxes for e in evidence}
    key = record.digest([models_and_code([model.path]), {photo_id: rows.tolist() for photo_id, rows in boxes.items()}])

    def compute(photo: Photo) -> dict[str, np.ndarray]:
        image, side = read_image(photo.path, photo.width, photo.height), model.sidecar
        crops = [crop(image, box, side.size, side.margin, side.fit) for box in boxes[photo.id]]
        return {"embeddings": neighbours.embed(model, np.stack(crops)) if crops else np.zeros((0, 1), np.float32)}

    arrays = cached(cache / f"embeddings-{key}", [e.photo for e in evidence], compute, no_progress)
    return [by_name["embeddings"] for by_name in arrays]


def _named_by(
    gallery: neighbours.Embedded, evidence: Sequence[Evidence], queries: Sequence[np.ndarray], n_names: int
) -> list[Evidence]:
    """`evidence` with kNN's probabilities in place of the classifier's; `queries` (N, D) are each photo's embeddings."""
    by_photo = zip(evidence, queries, strict=True)
    return [replace(e, probabilities=_knn_probabilities(gallery, own, n_names)) for e, own in by_photo]


def _knn_probabilities(gallery: neighbours.Embedded, queries: np.ndarray, n_names: int) -> np.ndarray:
    if len(queries) == 0:
        return np.zeros((0, n_names), np.float32)
    return neighbours.knn_probabilities(gallery.vectors, gallery.labels, queries, n_names, K)


def oracles(runs: Path, ensemble: Ensemble, test: Sequence[Evidence]) -> list[Variant]:
    """Perfect names on the merged boxes, in their order; and the first classifier's names on perfect boxes."""
    named_rightly = [with_true_names(e, e.merged) for e in test]
    perfect = on_true_boxes(runs, ensemble, test)
    box_oracle = replace(variant("box oracle (raw)", perfect, ON_TRUE_BOXES), names=None)
    return [Variant("name oracle", named_rightly, [d.labels for d in named_rightly]), box_oracle]
