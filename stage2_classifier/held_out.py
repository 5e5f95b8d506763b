"""What a classifier makes of the crops that it is calibrated on, kept beside the model: OUT/held_out.npz.

`hylle fit` pools those of the folds, in each of which other photos are left out, to calibrate a classifier that is trained on
all photos.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from runs.atomic_write import replacing

NAME = "held_out.npz"


class HeldOut(NamedTuple):
    """Logits float32 (N, C) of crops that the classifier was not trained on, their labels (N,) and photo ids (N,)."""

    logits: np.ndarray
    labels: np.ndarray
    photos: np.ndarray


def write(folder: Path, held_out: HeldOut) -> None:
    """Write FOLDER/held_out.npz: a kill leaves the old file or the new one."""
    arrays = {"logits": held_out.logits.astype(np.float32), "labels": held_out.labels, "photos": held_out.photos}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / NAME) as (unfinished,), unfinished.open("wb") as file:
        np.savez(file, **arrays)


def read(folder: Path) -> HeldOut:
    """What `write` wrote. Raises ValueError where there is no such file."""
    if not (folder / NAME).is_file():
        raise ValueError(f"{folder / NAME}: no such file; remove {folder} and train it again")
    with np.load(folder / NAME) as arrays:
        return HeldOut(*(arrays[field] for field in HeldOut._fields))


def joined(parts: list[HeldOut]) -> HeldOut:
    """Those of several classifiers as one, in their order; at least one."""
    return HeldOut(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
