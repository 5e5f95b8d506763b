"""Which labels of a photo look wrong, and how sure that is: arithmetic on the models' outputs. Changes nothing.

A suspicion is of one of four kinds: an annotated box with another product's name, one beside its product, a product without
a box, and a second box on one product. Scores of all kinds are in [0, 1] and rank in one list. They were compared on errors
planted into annotations that were right, see `experiments.studies.planted_errors`.

The class-aware detector's class scores count in the names of detected boxes, but little where they are faint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fusion.boxes import Detections, area, iou
from photos.data import Photo
from photos.score import in_regions

KINDS = ("mislabelled", "shifted", "missing", "duplicate")
PRIOR = 0.05  # chosen: share of annotations expected to bear another product's name
HALF = 0.5  # taken: the contest's overlap; below it a box is not on the same product
INSIDE = 0.9  # chosen: share of a box that lies in a larger one of the same name before the two are one product
LOOSE = 0.3  # chosen: a detected box must overlap an annotated one by this for its name to count as evidence about it
FADE = 1.5  # chosen on one drawn shop: a detected box is nothing new where it overlaps an annotated one by 1 / FADE
FAINT = 0.05  # chosen: added to both names' probabilities, so that a ratio of two small ones says little
FLOOR, EXPONENT = 0.1, 0.5  # chosen: class scores far below FLOOR hardly count, and EXPONENT tempers their product
TYPICAL = 0.75  # chosen: the quantile of all fits of detected to annotated boxes that counts as a good one
FEW = 10  # chosen: with fewer detected boxes on or off annotated ones, the objectness is taken as their chance


@dataclass(frozen=True, eq=False)
class PhotoEvidence:
    """One photo's annotations and what the models found on it.

    Args:
        photo: its T annotations.
        detections: N merged boxes, objectness as scores.
        names_at_detections: (N, C), calibrated probabilities for the detected boxes, as `joined_names` gives them.
        names_at_annotations: (T, C), the classifier's for the crops under the annotated boxes.
    """

    photo: Photo
    detections: Detections
    names_at_detections: np.ndarray
    names_at_annotations: np.ndarray


@dataclass(frozen=True, eq=False)
class Suspicion:
    """One doubt about photo `photo` (a position in the list of photos).

    `annotation` is the position of the box in doubt, None where a box is missing; `box` (4,) and `label` are what it should be,
    None where it should go. `score` in [0, 1]; `why` is one sentence, with {now} and {then} in place of names.
    """

    kind: str
    photo: int
    annotation: int | None
    box: np.ndarray | None
    label: int | None
    score: float
    why: str


class Counterpart(NamedTuple):
    """The detected box that is paired with an annotated one.

    `position` is its index among the detections, `overlap` its IoU with the annotated box, `chance` that of `chances`.
    """

    position: int
    overlap: float
    chance: float


def suspicions(photos: Sequence[PhotoEvidence]) -> list[Suspicion]:
    """All doubts about `photos`, the surest first; at most one for an annotated box, the surest."""
    pairs = [pair(evidence.photo.boxes, evidence.detections) for evidence in photos]
    good = good_fit(photos, pairs)
    doubts: list[Suspicion] = []
    for i, (evidence, paired, chance) in enumerate(zip(photos, pairs, chances(photos, pairs), strict=True)):
        doubts += [max(own, key=lambda s: s.score) for own in of_annotations(i, evidence, paired, chance, good)]
        doubts += of_unpaired_detections(i, evidence, paired, chance)
    return sorted((s for s in doubts if s.score > 0), key=lambda s: -s.score)


def pair(boxes: np.ndarray, detections: Detections) -> np.ndarray:
    """The detected box that belongs to each annotated one, int64 (T,), -1 where none does; none belongs to two.

    The pairs are those with the greatest sum of overlap x sqrt(objectness), so that a doubtful box of a better fit does not
    take the place of a sure one.
    """
    from scipy.optimize import linear_sum_assignment

    weight = iou(boxes, detections.boxes) * np.sqrt(detections.scores)  # (T, N)
    rows, columns = linear_sum_assignment(-weight)
    overlapping = weight[rows, columns] > 0
    paired = np.full(len(boxes), -1, np.int64)
    paired[rows[overlapping]] = columns[overlapping]
    return paired


def good_fit(photos: Sequence[PhotoEvidence], pairs: Sequence[np.ndarray]) -> float:
    """The overlap of a well detected box on these photos, in (0, 1].

    Where a detector boxes loosely everywhere, a loose fit is no sign that an annotated box is wrong.
    """
    overlaps = [np.zeros(0)]
    for evidence, paired in zip(photos, pairs, strict=True):
        overlaps.append(iou(evidence.photo.boxes, evidence.detections.boxes)[paired >= 0, paired[paired >= 0]])
    fits = np.concatenate(overlaps)
    return float(np.quantile(fits, TYPICAL)) if len(fits) else 1.0


def joined_names(names: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
    """The classifier's probabilities (N, C) x (class scores (N, D) + FLOOR) ^ EXPONENT; rows keep their sums.

    A name that the detector was not taught (D < C) counts as the best of its row; scores None change nothing.

    >>> joined_names(np.array([[0.4, 0.4], [0.4, 0.4]]), np.array([[0.0, 0.3], [0.0, 0.0]])).round(3).tolist()
    [[0.267, 0.533], [0.4, 0.4]]
    """
    if scores is None or not scores.size:
        return names
    full = np.pad(scores, ((0, 0), (0, names.shape[1] - scores.shape[1])), constant_values=np.nan)
    full = np.where(np.isnan(full), scores.max(1, keepdims=True), full)  # (N, C)
    product = names * (full + FLOOR) ** EXPONENT
    return np.asarray(product * (names.sum(1) / np.maximum(product.sum(1), 1e-12))[:, None], names.dtype)


def chances(photos: Sequence[PhotoEvidence], pairs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The chance (N,) in [0, 1] of each detected box that an annotator would have boxed it; one array for each photo.

    A logistic regression on objectness, the name's certainty and the box's size, fitted to the annotations in doubt themselves:
    most are right, and a model of three weights cannot memorise the few that are not.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([np.zeros((0, 3)), *[_features(evidence) for evidence in photos]])  # (sum of N, 3)
    by_photo = [_boxed(evidence, paired) for evidence, paired in zip(photos, pairs, strict=True)]
    boxed = np.concatenate([np.zeros(0, bool), *by_photo])  # (sum of N,)
    ends = np.cumsum([len(evidence.detections) for evidence in photos])[:-1]
    if min(boxed.sum(), (~boxed).sum()) < FEW:
        return [evidence.detections.scores.astype(np.float64) for evidence in photos]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=100.0)).fit(rows, boxed)
    return np.split(model.predict_proba(rows)[:, 1], ends)


def _features(evidence: PhotoEvidence) -> np.ndarray:
    boxes, scores = evidence.detections.boxes, evidence.detections.scores
    score = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    certainty = np.log(evidence.names_at_detections.max(1, initial=0.0) + 1e-9)
    return np.stack([np.log(score / (1 - score)), certainty, np.log(np.sqrt(area(boxes)) + 1)], 1)  # (N, 3)


def _boxed(evidence: PhotoEvidence, paired: np.ndarray) -> np.ndarray:
    """Which detected boxes (N,) are paired with an annotated one that they overlap by HALF."""
    boxed = np.zeros(len(evidence.detections), bool)
    own = np.flatnonzero(paired >= 0)
    overlap = iou(evidence.photo.boxes, evidence.detections.boxes)[own, paired[own]]
    boxed[paired[own][overlap >= HALF]] = True
    return boxed


# -- annotated boxes -----------------------------------------------------------------------------------------------------


def of_annotations(
    i: int, evidence: PhotoEvidence, paired: np.ndarray, chance: np.ndarray, good: float
) -> list[list[Suspicion]]:
    """For each annotated box of photo `i` the doubts about it, at least one each; `good` is from `good_fit`."""
    overlap = iou(evidence.photo.boxes, evidence.detections.boxes)  # (T, N)
    by_annotation = []
    for k, j in enumerate(paired):
        fit = float(overlap[k, j]) if j >= 0 else 0.0
        inside = evidence.names_at_detections[j] if fit >= LOOSE else evidence.names_at_annotations[k]  # (C,)
        doubts = [_mislabelled(i, evidence, k, inside)]
        if j >= 0:
            doubts.append(_shifted(i, evidence, k, Counterpart(int(j), fit, float(chance[j])), inside, good))
        by_annotation.append(doubts)
    for doubt in _duplicates(i, evidence, paired, chance):
        by_annotation[int(doubt.annotation)].append(doubt)
    return by_annotation


def _mislabelled(i: int, evidence: PhotoEvidence, k: int, inside: np.ndarray) -> Suspicion:
    """The posterior that the name is wrong when a share PRIOR of all names was drawn anew from the other names.

    P(wrong) = w / (w + (1 - PRIOR) p), w = PRIOR (1 - p) / (C - 1), p the name's probability: the greater of the two crops',
    since a box beside its product shows little of it, and the detected one may sit badly too.
    """
    own, given = int(evidence.photo.labels[k]), evidence.names_at_annotations[k]
    support, width = float(max(given[own], inside[own])), len(given)
    wrong = PRIOR * (1 - support) / max(1, width - 1) if width > 1 else 0.0
    score = wrong / max(wrong + (1 - PRIOR) * support, 1e-12)
    others = np.where(np.arange(width) == own, -1.0, given + inside)
    other = int(others.argmax())
    why = f"the classifier gives {{now}} {support:.3f} at most, {{then}} {others[other] / 2:.2f} on average of both crops"
    return Suspicion("mislabelled", i, k, evidence.photo.boxes[k], other, score, why)


def _shifted(i: int, evidence: PhotoEvidence, k: int, counterpart: Counterpart, inside: np.ndarray, good: float) -> Suspicion:
    """Chance that the detected box is a product's x how much worse than a `good` fit it is x how much better it is named there.

    The last factor is in [0, 2], and 1 where both crops show the name alike.
    """
    own, fit, chance = int(evidence.photo.labels[k]), counterpart.overlap / good, counterpart.chance
    detected, annotated = float(inside[own]), float(evidence.names_at_annotations[k, own])
    gain = 2 * (detected + FAINT) / (detected + annotated + 2 * FAINT)
    score = min(1.0, chance * max(0.0, 1 - fit) * gain)
    why = f"{fit:.0%} of a good overlap with the found box, a product with chance {chance:.2f} and {{now}} with {detected:.2f}"
    return Suspicion("shifted", i, k, evidence.detections.boxes[counterpart.position], own, score, why)


def _duplicates(i: int, evidence: PhotoEvidence, paired: np.ndarray, chance: np.ndarray) -> list[Suspicion]:
    """Of two annotated boxes on one product, the one that is worse supported by a detected box of its own.

    Two products that stand behind one another are both detected; a second box on one product has no detection of its own.
    """
    boxes, labels = evidence.photo.boxes, evidence.photo.labels
    overlap = iou(boxes, evidence.detections.boxes)  # (T, N)
    own = np.array([chance[j] * overlap[k, j] if j >= 0 else 0.0 for k, j in enumerate(paired)])  # (T,)
    named = evidence.names_at_annotations[np.arange(len(boxes)), labels]  # (T,)
    twice = _on_one_product(boxes, labels)
    doubts = []
    for a, b in zip(*np.nonzero(np.triu(twice, 1)), strict=True):
        k, other = (a, b) if (own[a], named[a]) < (own[b], named[b]) else (b, a)
        beside = evidence.photo.annotation_ids[other]
        why = f"it shares {twice[a, b]:.0%} with annotation {beside}; a found box of its own backs it by {own[k]:.2f}"
        doubts.append(Suspicion("duplicate", i, int(k), None, None, float(twice[a, b] * (1 - own[k])), why))
    return doubts


def _on_one_product(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much (T, T) two boxes look like boxes of one product: their IoU from HALF on; else, for one name, the share of the
    smaller that lies in the larger, from INSIDE on; else 0.

    >>> _on_one_product(np.array([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 4.0, 4.0]]), np.array([5, 5])).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    overlap, size = iou(boxes, boxes), area(boxes)
    shared = overlap * (size[:, None] + size[None]) / (1 + overlap)  # (T, T) square pixels
    inside = shared / np.minimum(size[:, None], size[None])
    same = labels[:, None] == labels[None]
    return np.where(overlap >= HALF, overlap, np.where(same & (inside >= INSIDE), np.minimum(inside, 1.0), 0.0))


# -- boxes that are missing ----------------------------------------------------------------------------------------------


def of_unpaired_detections(i: int, evidence: PhotoEvidence, paired: np.ndarray, chance: np.ndarray) -> list[Suspicion]:
    """One doubt for each detected box without an annotated one: its chance, less what annotated boxes cover of it."""
    detections = evidence.detections
    covered = iou(evidence.photo.boxes, detections.boxes).max(0, initial=0.0)  # (N,)
    score = chance * np.maximum(0.0, 1 - FADE * covered)
    score[in_regions(detections.boxes, evidence.photo.ignored)] = 0
    doubts = []
    for j in np.setdiff1d(np.flatnonzero(score > 0), paired):
        names = evidence.names_at_detections[j]  # (C,)
        label = int(names.argmax())
        sure = f"objectness {detections.scores[j]:.2f}, {{then}} with {names[label]:.2f}"
        why = f"a box was found ({sure}), and no annotated one is there"
        doubts.append(Suspicion("missing", i, None, detections.boxes[j], label, float(score[j]), why))
    return doubts
