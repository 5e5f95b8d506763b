"""Precision over recall with the scores to cut at, and whether the probabilities mean what they say."""

from typing import NamedTuple

import numpy as np

from fusion.boxes import iou
from fusion.gate import gate_input
from photos.score import MIN_IOU
from reporting.charts import Chart, Curve, calibration, precision_recall
from reporting.held_out import HeldOut
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.operating_points import counted_hits
from stage2_classifier.reliability import calibration_error, reliability

BINS = 10  # chosen: of equal count
FEWEST = 30  # chosen: boxes; a diagram of fewer shows chance


class Point(NamedTuple):
    """What is shown at a score to cut at, on the photos judged."""

    purpose: str
    min_score: float
    precision: float
    recall: float
    boxes: int


class PrecisionRecall(NamedTuple):
    """The chart and its marked points; `absent` says which were not fitted."""

    chart: Chart
    points: list[Point]
    absent: list[str]


class Ranked(NamedTuple):
    """All boxes of all photos, best first: scores (N,) and hits bool (N,); and the number of products."""

    scores: np.ndarray
    hits: np.ndarray
    products: int

    def at(self, count: int) -> tuple[float, float]:
        """Recall and precision where the best `count` boxes are shown; a precision of 1 where none is."""
        hits = int(self.hits[:count].sum())
        return hits / max(1, self.products), hits / count if count else 1.0


class Source(NamedTuple):
    """How sure a source of names is (N,), and whether its name is right (N,)."""

    name: str
    confidence: np.ndarray
    right: np.ndarray


class Reliability(NamedTuple):
    """The diagrams, the calibration error of each source and how many boxes it rests on; `absent` where there are too few."""

    chart: Chart | None
    errors: list[tuple[str, float, int]]
    absent: list[str]


def precision_recall_of(held_out: HeldOut) -> PrecisionRecall:
    """The curves of finding alone and of finding under the right name, and the fitted scores to cut at."""
    found, named = ranked(held_out, False), ranked(held_out, held_out.named)
    points = [point_at(named, purpose, score) for purpose, score in held_out.ensemble.min_scores.items()]
    absent = [] if points else [f"no score to cut at was fitted; boxes are shown from {held_out.floor:g} on"]
    curves = [curve("found", found), *([curve("found and named", named)] if held_out.named else [])]
    marks = {point.purpose: (point.recall, point.precision) for point in points}
    ends = [f"{line.name} reaches a recall of {line.x[-1] if len(line.x) else 0:.2f}" for line in curves]
    return PrecisionRecall(precision_recall(curves, marks, f"Precision over recall: {'; '.join(ends)}."), points, absent)


def ranked(held_out: HeldOut, named: bool) -> Ranked:
    """All boxes under their first names; hits by place and name, or by place alone."""
    pairs = [counted_hits(e.truth, own, named) for e, own in zip(held_out.evidence, held_out.first_names, strict=True)]
    scores = np.concatenate([np.zeros(0, np.float32), *(own.scores for own, _ in pairs)])  # (N,)
    hits = np.concatenate([np.zeros(0, bool), *(hits for _, hits in pairs)])  # (N,)
    order = np.argsort(-scores, kind="stable")
    return Ranked(scores[order], hits[order], sum(len(e.photo.boxes) for e in held_out.evidence))


def curve(name: str, ranking: Ranked) -> Curve:
    """Precision over recall, after each box."""
    hits = np.cumsum(ranking.hits)
    return Curve(name, hits / max(1, ranking.products), hits / np.arange(1, len(hits) + 1))


def point_at(ranking: Ranked, purpose: str, min_score: float) -> Point:
    """What is shown from a score on."""
    count = int((ranking.scores >= min_score).sum())
    recall, precision = ranking.at(count)
    return Point(purpose, min_score, precision, recall, count)


def reliability_of(held_out: HeldOut) -> Reliability:
    """The detector's and the classifier's probabilities of their best name, on the best box of each product."""
    sources = [source for source in sources_of(held_out) if len(source.confidence) >= FEWEST]
    if not sources:
        return Reliability(None, [], [f"too few boxes on products for a reliability diagram, need {FEWEST}"])
    curves, errors = [], []
    for source in sources:
        bins = reliability(source.confidence, source.right, BINS, "count")
        curves.append(Curve(source.name, np.array([b.confidence for b in bins]), np.array([b.accuracy for b in bins])))
        error = calibration_error(source.confidence, source.right, BINS, "count")
        errors.append((source.name, error, len(source.confidence)))
    said = "; ".join(f"the {name} is off by {error:.3f} on average" for name, error, _ in errors)
    absent = [] if len(sources) == 2 else ["only one source gives names, so there is one line"]
    return Reliability(calibration(curves, f"Reliability diagram: {said}."), errors, absent)


def sources_of(held_out: HeldOut) -> list[Source]:
    """The sources of names that the run has: detector, classifier."""
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"detector": [], "classifier": []}
    for e, gate in zip(held_out.evidence, held_out.gates, strict=True):
        boxes, labels = best_boxes(e)
        given = gate_input(e.merged, e.probabilities, gate)
        if given is None or not len(boxes):
            continue
        by_source = {
            "detector": given.detector if e.merged.evidence is not None else None,
            "classifier": e.probabilities,
        }
        for name, values in by_source.items():
            if values is not None:
                own, true = values[boxes], labels  # (K, C), (K,)
                named = np.isfinite(own).all(1)  # boxes below the naming floor are not
                rows[name].append((own[named].max(1), own[named].argmax(1) == true[named]))
    return [Source(name, *map(np.concatenate, zip(*own, strict=True))) for name, own in rows.items() if own]


def best_boxes(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """For each product that is found, the best-scored merged box on it (K,), and its true label (K,)."""
    if not len(evidence.merged) or not len(evidence.photo.boxes):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    overlap = iou(evidence.photo.boxes, evidence.merged.boxes)  # (M, N)
    value = np.where(overlap >= MIN_IOU, evidence.merged.scores, -1.0)  # (M, N)
    found = value.max(1) >= 0
    return value.argmax(1)[found], evidence.photo.labels[found]
