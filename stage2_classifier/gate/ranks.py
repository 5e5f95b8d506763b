"""Scores of several fitted procedures made comparable, by their order within a turn of cross-validation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fusion.boxes import Detections
from photos.score import Truth


def scores_by_rank(detections: Sequence[Detections], truths: Sequence[Truth], turn: np.ndarray) -> list[Detections]:
    """The detections of P photos, each score replaced by 1 / (1 + r), with r its rank among those of the photos of its turn, of
    which the best is 1, over the number of products there.

    What one turn's procedure scores 0.5 another's may score 0.9. In one ranking of all photos the scale would then count as
    much as the order: a gate that changes no name once gained 0.012 [0.004, 0.019] by that alone. Counted from the best, and a
    product, a rank does not depend on how many faint boxes a procedure leaves, as one's quantile among all boxes would: by
    quantiles turns of one view beside turns of two lost up to 0.04 (`experiments/LOG.md`).

    Args:
        detections: of each photo, by what was fitted on the photos of the other turns.
        truths: of each photo.
        turn: (P,), the turn of each photo.
    """
    from scipy.stats import rankdata  # here: mistakes in arguments are answered without it

    ranked = list(detections)
    for k in np.unique(turn):
        own = np.flatnonzero(turn == k)
        products = max(1, sum(len(truths[i].boxes) for i in own))
        by_rank = 1 / (1 + rankdata(-np.concatenate([detections[i].scores for i in own])) / products)
        ends = np.cumsum([len(detections[i]) for i in own])
        for i, scores in zip(own, np.split(by_rank, ends[:-1]), strict=True):
            ranked[i] = replace(detections[i], scores=scores.astype(np.float32))
    return ranked


def scores_of_same_rank(
    detections: Sequence[Detections], reference: Sequence[Detections], turn: np.ndarray
) -> list[Detections]:
    """The detections of P photos, each score replaced by the one that `reference` has at the same rank among its turn's photos.

    So the order is that of `detections`, which were decided by what was fitted on the other turns, and the scale is that of
    `reference`. It assumes that both give a new photo scores of like distribution, not that they rank alike. Raises ValueError
    where a turn has other numbers of boxes in both.

    Args:
        detections: of each photo, by what was fitted on the photos of the other turns.
        reference: of each photo, by what was fitted on all of them.
        turn: (P,), the turn of each photo.
    """
    rescored = list(detections)
    for k in np.unique(turn):
        own = np.flatnonzero(turn == k)
        scores = np.concatenate([detections[i].scores for i in own])  # (N,)
        values = np.sort(np.concatenate([reference[i].scores for i in own]))[::-1]  # (N,), descending
        if len(values) != len(scores):
            raise ValueError(f"reference: got {len(values)} boxes in turn {k}, must be {len(scores)} as in the detections")
        same_rank = np.empty_like(values)
        same_rank[np.argsort(-scores, kind="stable")] = values
        ends = np.cumsum([len(detections[i]) for i in own])
        for i, new in zip(own, np.split(same_rank, ends[:-1]), strict=True):
            rescored[i] = replace(detections[i], scores=new)
    return rescored
