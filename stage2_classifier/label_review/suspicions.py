"""Which labels of a photo look wrong, and how sure that is: arithmetic on what models said of the photos. Changes nothing.

A suspicion is of one of four kinds: an annotated box with another product's name, one beside its product, a product without
a box, and a second box on one product. Scores of all kinds are in [0, 1] and rank in one list. They were compared by planted
errors, see `experiments.studies.planted_errors`.

The class-aware detector's class scores have a say in the names of found boxes, a small one where they are faint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion.boxes import Detections, area, iou
from photos.data import Photo

KINDS = ("mislabelled", "shifted", "missing", "duplicate")
PRIOR = 0.05  # chosen: share of annotations expected to bear another product's name
HALF = 0.5  # taken: the contest's overlap; below it a box is not on the same product
INSIDE = 0.9  # chosen: share of a box that lies in a larger one of the same name before the two are one product
LOOSE = 0.3  # chosen: a found box must overlap an annotated one by this for its name to speak of it
FADE = 1.5  # chosen on one drawn world: a found box is nothing new where it overlaps an annotated one by 1 / FADE
FAINT = 0.05  # chosen: added to both names' probabilities, so that a ratio of two small ones says little
FLOOR, EXPONENT = 0.1, 0.5  # chosen: class scores far below FLOOR say nothing, and their product with the names is tempered
TYPICAL = 0.75  # chosen: the quantile of all fits of found to annotated boxes that counts as a good one
FEW = 10  # chosen: with fewer found boxes on or off annotated ones, the detector's own score stands for their chance


@dataclass(frozen=True, eq=False)
class Look:
    """One photo and what was said of it.

    Args:
        photo: its T annotations.
        found: N merged boxes, objectness as scores.
        found_names: (N, C), calibrated probabilities for the found boxes, as `joined_names` gives them.
        given_names: (T, C), the classifier's for the crops under the annotated boxes.
    """

    photo: Photo
    found: Detections
    found_names: np.ndarray
    given_names: np.ndarray


@dataclass(frozen=True, eq=False)
class Suspicion:
    """One doubt about photo `photo` (a position in the list of looks).

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


def suspicions(looks: Sequence[Look]) -> list[Suspicion]:
    """All doubts about `looks`, the surest first; at most one for an annotated box, the surest."""
    pairs = [pair(look.photo.boxes, look.found) for look in looks]
    good = good_fit(looks, pairs)
    found: list[Suspicion] = []
    for i, (look, one, chance) in enumerate(zip(looks, pairs, chances(looks, pairs), strict=True)):
        found += [max(doubts, key=lambda s: s.score) for doubts in of_annotations(i, look, one, chance, good)]
        found += of_free_boxes(i, look, one, chance)
    return sorted((s for s in found if s.score > 0), key=lambda s: -s.score)


def pair(boxes: np.ndarray, found: Detections) -> np.ndarray:
    """The found box that stands for each annotated one, int64 (T,), -1 where none does; none stands for two.

    The pairs are those with the greatest sum of overlap x sqrt(objectness), so that a doubtful box of a better fit does not
    take the place of a sure one.
    """
    from scipy.optimize import linear_sum_assignment

    weight = iou(boxes, found.boxes) * np.sqrt(found.scores)  # (T, N)
    rows, columns = linear_sum_assignment(-weight)
    overlapping = weight[rows, columns] > 0
    paired = np.full(len(boxes), -1, np.int64)
    paired[rows[overlapping]] = columns[overlapping]
    return paired


def good_fit(looks: Sequence[Look], pairs: Sequence[np.ndarray]) -> float:
    """The overlap of a well found box here, in (0, 1]: one that boxes loosely everywhere says little against one box."""
    fits = [iou(look.photo.boxes, look.found.boxes)[one >= 0, one[one >= 0]] for look, one in zip(looks, pairs, strict=True)]
    every = np.concatenate([np.zeros(0), *fits])
    return float(np.quantile(every, TYPICAL)) if len(every) else 1.0


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


def chances(looks: Sequence[Look], pairs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The chance (N,) in [0, 1] of each found box that an annotator would have boxed it; one array for each photo.

    A logistic regression on objectness, the name's certainty and the box's size, fitted to the annotations in doubt themselves:
    most are right, and three numbers cannot learn the few that are not by heart.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([np.zeros((0, 3)), *[_features(look) for look in looks]])  # (sum of N, 3)
    told = np.concatenate([np.zeros(0, bool), *[_boxed(look, one) for look, one in zip(looks, pairs, strict=True)]])
    ends = np.cumsum([len(look.found) for look in looks])[:-1]
    if min(told.sum(), (~told).sum()) < FEW:
        return [look.found.scores.astype(np.float64) for look in looks]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=100.0)).fit(rows, told)
    return np.split(model.predict_proba(rows)[:, 1], ends)


def _features(look: Look) -> np.ndarray:
    score = np.clip(look.found.scores.astype(np.float64), 1e-6, 1 - 1e-6)
    sure = np.log(look.found_names.max(1, initial=0.0) + 1e-9)
    return np.stack([np.log(score / (1 - score)), sure, np.log(np.sqrt(area(look.found.boxes)) + 1)], 1)  # (N, 3)


def _boxed(look: Look, paired: np.ndarray) -> np.ndarray:
    """Which found boxes (N,) stand for an annotated one that they overlap by HALF."""
    boxed = np.zeros(len(look.found), bool)
    own = np.flatnonzero(paired >= 0)
    overlap = iou(look.photo.boxes, look.found.boxes)[own, paired[own]]
    boxed[paired[own][overlap >= HALF]] = True
    return boxed


# -- boxes that are there ------------------------------------------------------------------------------------------------


def of_annotations(i: int, look: Look, paired: np.ndarray, chance: np.ndarray, good: float) -> list[list[Suspicion]]:
    """For each annotated box of photo `i` the doubts about it, at least one each; `good` is from `good_fit`."""
    overlap = iou(look.photo.boxes, look.found.boxes)  # (T, N)
    each = []
    for k, j in enumerate(paired):
        fit = float(overlap[k, j]) if j >= 0 else 0.0
        inside = look.found_names[j] if fit >= LOOSE else look.given_names[k]  # (C,)
        doubts = [_mislabelled(i, look, k, inside)]
        if j >= 0:
            doubts.append(_shifted(i, look, k, int(j), fit / good, inside, float(chance[j])))
        each.append(doubts)
    for doubt in _duplicates(i, look, paired, chance):
        each[int(doubt.annotation)].append(doubt)
    return each


def _mislabelled(i: int, look: Look, k: int, inside: np.ndarray) -> Suspicion:
    """The posterior that the name is wrong when a share PRIOR of all names was drawn anew from the other names.

    P(wrong) = w / (w + (1 - PRIOR) p), w = PRIOR (1 - p) / (C - 1), p the name's probability: the greater of the two crops',
    since a box beside its product shows little of it, and the found one may sit badly too.
    """
    own, given = int(look.photo.labels[k]), look.given_names[k]
    support, width = float(max(given[own], inside[own])), len(given)
    wrong = PRIOR * (1 - support) / max(1, width - 1) if width > 1 else 0.0
    score = wrong / max(wrong + (1 - PRIOR) * support, 1e-12)
    others = np.where(np.arange(width) == own, -1.0, given + inside)
    other = int(others.argmax())
    why = f"the classifier gives {{now}} {support:.3f} at most, {{then}} {others[other] / 2:.2f} on average of both crops"
    return Suspicion("mislabelled", i, k, look.photo.boxes[k], other, score, why)


def _shifted(i: int, look: Look, k: int, j: int, fit: float, inside: np.ndarray, chance: float) -> Suspicion:
    """Chance that the found box is a product's x how much worse than a good fit it is x how much better it is named there.

    `fit` is the overlap over that of a good fit. The last factor is in [0, 2], and 1 where both crops show the name alike.
    """
    own = int(look.photo.labels[k])
    there, here = float(inside[own]), float(look.given_names[k, own])
    gain = 2 * (there + FAINT) / (there + here + 2 * FAINT)
    score = min(1.0, chance * max(0.0, 1 - fit) * gain)
    why = f"{fit:.0%} of a good overlap with the found box, a product with chance {chance:.2f} and {{now}} with {there:.2f}"
    return Suspicion("shifted", i, k, look.found.boxes[j], own, score, why)


def _duplicates(i: int, look: Look, paired: np.ndarray, chance: np.ndarray) -> list[Suspicion]:
    """Of two annotated boxes on one product, the one that is worse supported by a found box of its own.

    Two products that stand behind one another are both found; a second box on one product has nothing left to stand for.
    """
    boxes = look.photo.boxes
    overlap = iou(boxes, look.found.boxes)  # (T, N)
    own = np.array([chance[j] * overlap[k, j] if j >= 0 else 0.0 for k, j in enumerate(paired)])  # (T,)
    named = look.given_names[np.arange(len(boxes)), look.photo.labels]  # (T,)
    twice = _on_one_product(boxes, look.photo.labels)
    doubts = []
    for a, b in zip(*np.nonzero(np.triu(twice, 1)), strict=True):
        k, other = (a, b) if (own[a], named[a]) < (own[b], named[b]) else (b, a)
        beside = look.photo.annotation_ids[other]
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


# -- boxes that are not --------------------------------------------------------------------------------------------------


def of_free_boxes(i: int, look: Look, paired: np.ndarray, chance: np.ndarray) -> list[Suspicion]:
    """One doubt for each found box that stands for no annotated one: its chance, less what annotated boxes cover of it."""
    covered = iou(look.photo.boxes, look.found.boxes).max(0, initial=0.0)  # (N,)
    score = chance * np.maximum(0.0, 1 - FADE * covered)
    doubts = []
    for j in np.setdiff1d(np.flatnonzero(score > 0), paired):
        label = int(look.found_names[j].argmax())
        sure = f"objectness {look.found.scores[j]:.2f}, {{then}} with {look.found_names[j, label]:.2f}"
        why = f"a box was found ({sure}), and no annotated one is there"
        doubts.append(Suspicion("missing", i, None, look.found.boxes[j], label, float(score[j]), why))
    return doubts
