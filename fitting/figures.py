"""What a procedure is worth: its figures on photos that neither its models nor its gate saw, and what is missing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fitting.cross_fit import FOLDER
from fitting.pooled import Pooled
from fusion.boxes import Detections
from fusion.ensemble import Ensemble
from fusion.gate import MIN_FIRST_SCORE, Gate
from photos.folds import Folds
from photos.intervals import Intervals, interval
from photos.score import match, scores
from stage2_classifier.gate.calibrate import n_categories, predictions, score
from stage2_classifier.gate.choose import Choice, resampling_groups, with_further
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.oracles import ON_TRUE_BOXES, on_true_boxes, with_true_names


def cross_fitted(pooled: Pooled, choice: Choice, rng: np.random.Generator) -> Intervals:
    """det, cls and score of the whole procedure: each photo by models and a gate that did not see it, over scenes.

    Whether the gate changes names at all was decided on all photos; all else is nested. The photos are one ranking, as at
    judgment; objectness of the folds' models is compared as it is, which costs a little where their scales differ.
    """
    return intervals(pooled.evidence, nested_decisions(pooled.evidence, choice), pooled.scenes, rng)


def on_test(evidence: Sequence[Evidence], scenes: np.ndarray, gate: Gate, rng: np.random.Generator) -> Intervals:
    """The same figures of the models and the gate that ship, on the test part that the set came with."""
    return intervals(evidence, predictions(evidence, [gate] * len(evidence)), scenes, rng)


def intervals(
    evidence: Sequence[Evidence], decisions: Sequence[Detections], scenes: np.ndarray, rng: np.random.Generator
) -> Intervals:
    """The figures of `decisions` on the photos of `evidence`."""
    matched = match([e.truth for e in evidence], decisions, n_categories(evidence))
    return interval(matched, resampling_groups(scenes)[0], rng)


def nested_decisions(evidence: Sequence[Evidence], choice: Choice) -> list[Detections]:
    """Each photo decided by the gate of its turn, all on the scale of scores of `choice.gate`."""
    scale = first_scores(predictions(evidence, [choice.gate] * len(evidence)))
    index = {e.photo.id: i for i, e in enumerate(evidence)}
    decisions: list[Detections] = [e.merged for e in evidence]
    for turn in choice.turns:
        by_own = predictions(evidence, [with_further(turn.gate)] * len(evidence))
        own_scale = first_scores(by_own)
        for photo in turn.photos:
            decisions[index[photo]] = rescaled(by_own[index[photo]], own_scale, scale)
    return decisions


def first_scores(decisions: Sequence[Detections]) -> np.ndarray:
    """The scores of all boxes under their first names, ascending."""
    return np.sort(np.concatenate([d.scores[d.scores >= MIN_FIRST_SCORE] for d in decisions]))


def rescaled(detections: Detections, own: np.ndarray, reference: np.ndarray) -> Detections:
    """`detections` on another scale: the score that is the n-th of `own` becomes the n-th of `reference` (both ascending).

    Gates of two turns may score in different ways, as by an exponent and by a regression; on the same boxes their n-th scores
    mean the same. Further names, which score below all first ones, stay as they are.
    """
    first = detections.scores >= MIN_FIRST_SCORE
    place = np.searchsorted(own, detections.scores, "left") + np.searchsorted(own, detections.scores, "right") - 1
    moved = reference[np.clip(place // 2, 0, len(reference) - 1)] if len(reference) else detections.scores
    return replace(detections, scores=np.where(first, moved, detections.scores).astype(np.float32))


def name_oracle(evidence: Sequence[Evidence]) -> float:
    """The score if every box that is found had its true name, in the order of objectness."""
    named = [with_true_names(e, e.merged) for e in evidence]
    return scores(match([e.truth for e in evidence], named, n_categories(evidence))).score


def box_oracle(pooled: Pooled, ensemble: Ensemble, runs: Path, by_fold: Sequence[Folds]) -> float:
    """The score if the boxes were the true ones, named by the fold's classifier that did not see the photo."""
    perfect: list[Evidence] = []
    for k, fold in enumerate(by_fold):
        own = {photo.id for photo in fold.photos("valid")}
        perfect += on_true_boxes(runs / FOLDER / str(k), ensemble, [e for e in pooled.evidence if e.photo.id in own])
    return score(perfect, [ON_TRUE_BOXES] * len(perfect))
