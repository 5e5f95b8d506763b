"""Scores of several fitted procedures made comparable: each becomes its quantile within its turn of cross-validation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fusion.boxes import Detections


def scores_as_quantiles(detections: Sequence[Detections], turn: np.ndarray) -> list[Detections]:
    """The detections of P photos, each score replaced by its quantile, in (0, 1], among those of the photos of its turn.

    What one turn's procedure scores 0.5 another's may score 0.9. In one ranking of all photos the scale would then count as
    much as the order: a gate that changes no name once gained 0.012 [0.004, 0.019] by that alone.

    Args:
        detections: of each photo, by what was fitted on the photos of the other turns.
        turn: (P,), the turn of each photo.
    """
    from scipy.stats import rankdata  # here: mistakes in arguments are answered without it

    ranked = list(detections)
    for k in np.unique(turn):
        own = np.flatnonzero(turn == k)
        ranks = rankdata(np.concatenate([detections[i].scores for i in own]))
        ends = np.cumsum([len(detections[i]) for i in own])
        for i, quantiles in zip(own, np.split(ranks / max(1, len(ranks)), ends[:-1]), strict=True):
            ranked[i] = replace(detections[i], scores=quantiles.astype(np.float32))
    return ranked
