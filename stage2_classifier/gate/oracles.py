"""What perfect names on the boxes that are found would score, and what the names are worth on perfect boxes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fusion.boxes import Detections
from fusion.ensemble import Ensemble
from fusion.gate import Gate
from runs import record
from stage2_classifier.gate.calibrate import true_names
from stage2_classifier.gate.evidence import BoxesToName, Evidence, OutputCache, probabilities_at

ON_TRUE_BOXES = Gate("raw", name_exponent=0.5)  # how evidence on true boxes is decided: by the classifier's names


def with_true_names(evidence: Evidence, detections: Detections) -> Detections:
    """`detections` with the true name wherever there is one: what perfect naming would score."""
    truth = true_names(evidence.truth, detections.boxes)
    return replace(detections, labels=np.where(truth >= 0, truth, detections.labels))


def on_true_boxes(runs: Path, ensemble: Ensemble, evidence: Sequence[Evidence]) -> list[Evidence]:
    """Evidence of the first classifier on the true boxes of the same photos, each of objectness 1, cached in RUNS/raw."""
    boxes = {e.photo.id: e.photo.boxes for e in evidence}
    key = record.digest({photo_id: rows.tolist() for photo_id, rows in boxes.items()})
    true_boxes = BoxesToName([e.photo for e in evidence], boxes, key)
    rows = probabilities_at(true_boxes, ensemble.classifiers[0], len(ensemble.categories), OutputCache(runs, runs / "raw"))
    return [
        replace(e, merged=Detections(e.photo.boxes, np.ones(len(p), np.float32), e.photo.labels), probabilities=p)
        for e, p in zip(evidence, rows, strict=True)
    ]
