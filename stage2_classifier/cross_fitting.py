"""Calibration of the valid crops by scalings that never saw their scene, so that valid does not flatter the classifier.

The sidecar's scaling is fitted on all valid crops. A scale and bias for each name change names, so on valid itself they change
some for the better that would not be elsewhere, and the gate, which is fitted on valid, would trust the classifier too much.
So the training keeps, beside the model, a scaling of the same method for each turn of scenes, fitted on the other scenes; the
evidence on valid photos is calibrated by these (cross-fitting, as in Wolpert 1992, Stacked Generalization).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion.models import Sidecar, read_object
from runs import record
from runs.command import say
from stage2_classifier.scaling import Scaling, fit_scaling, split

NAME = "cross_fitted.json"  # beside the model


@dataclass(frozen=True)
class CrossFitted:
    """The scaling of each turn, fitted on the crops of the other turns, and the turn (N,) of each crop."""

    scalings: Sequence[Scaling]
    turn: np.ndarray

    def scaled(self, logits: np.ndarray) -> np.ndarray:
        """The logits (N, C) of the crops, calibrated by the scaling that did not see them."""
        scaled = np.zeros(logits.shape)
        for k, scaling in enumerate(self.scalings):
            scaled[self.turn == k] = scaling.scaled(logits[self.turn == k])
        return scaled


def cross_fit(
    method: str, logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> CrossFitted | None:
    """A scaling of `method` for each turn of `groups` (N,), scenes; None with fewer than two, where nothing is left out.

    Args and errors as in `stage2_classifier.scaling.choose_scaling`.
    """
    if len(np.unique(groups)) < 2:
        return None
    scalings, turn = [], np.zeros(len(groups), np.int64)
    for k, (rest, own) in enumerate(split(groups, rng)):
        scalings.append(fit_scaling(method, logits[rest], labels[rest]))
        turn[own] = k
    return CrossFitted(scalings, turn)


def write(folder: Path, scaling: Scaling, crossed: CrossFitted | None, photos: np.ndarray) -> None:
    """Write FOLDER/cross_fitted.json, or remove it where nothing was cross-fitted; `photos` (N,) is the id of each crop's."""
    if crossed is None:
        (folder / NAME).unlink(missing_ok=True)
        return
    turns = [
        {"photos": np.unique(photos[crossed.turn == k]).tolist(), "scaling": fitted.sidecar()}
        for k, fitted in enumerate(crossed.scalings)
    ]
    record.write_json(folder / NAME, {"fitted_on_all": scaling.sidecar(), "turns": turns})


def sidecars(model: Path, sidecar: Sidecar) -> dict[int, Sidecar]:
    """By photo id the sidecar to calibrate that photo with, of those that the calibration of `model` was fitted on.

    Empty where nothing was cross-fitted. A classifier that was calibrated otherwise since, as by `hylle enroll`, is calibrated
    by its own sidecar; that is said.
    """
    path = model.with_name(NAME)
    if not path.is_file():
        return {}
    values: dict[str, Any] = read_object(path)
    if any(getattr(sidecar, name) != value for name, value in values["fitted_on_all"].items()):
        say(f"{model}: changed since its calibration was cross-fitted; on valid its probabilities flatter it a little")
        return {}
    return {photo: replace(sidecar, **turn["scaling"]) for turn in values["turns"] for photo in turn["photos"]}
