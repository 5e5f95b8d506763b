"""Scenes dealt into folds that weigh about the same: how many folds there can be, and which one each photo falls into."""

import numpy as np

from photos.data import DataError


def allowed_turns(n_scenes: int, what: str) -> str:
    """How many turns the scenes of `what` can be dealt into, in words.

    >>> allowed_turns(4, "part valid"), allowed_turns(1, "part valid")
    ('allowed 2 to 4, the scenes of part valid', 'but part valid has 1 scene, need 2 or more; add photos of other shelves')
    """
    if n_scenes >= 2:
        return f"allowed 2 to {n_scenes}, the scenes of {what}"
    return f"but {what} has {n_scenes} scene{'s' * (n_scenes != 1)}, need 2 or more; add photos of other shelves"


def fold_count(boxes: np.ndarray, scene: np.ndarray, held_out: int, wanted: int) -> int:
    """The number of folds, `wanted` at most: each needs a scene with boxes, and one at least is for training."""
    if wanted < held_out + 1:
        raise DataError(f"folds: got --folds {wanted}, need >= {held_out + 1} (held out: {held_out}, and one to train on)")
    scenes_with_boxes = len(np.unique(scene[boxes > 0]))
    if not scenes_with_boxes:
        raise DataError(f"folds: none of {len(boxes)} photos to train on has a box")
    if scenes_with_boxes < held_out + 1:
        plural = "s" * (scenes_with_boxes != 1)
        raise DataError(
            f"folds: {(boxes > 0).sum()} photos form {scenes_with_boxes} scene{plural}, need >= {held_out + 1} to hold "
            f"{'one' if held_out == 1 else held_out} out; pass --groups photo or --groups FILE.csv (columns file_name,scene) "
            "if they are different shelves"
        )
    return min(wanted, scenes_with_boxes)


def balanced(
    weight: np.ndarray, scene: np.ndarray, count: int, rng: np.random.Generator, labelled: np.ndarray | None = None
) -> np.ndarray:
    """The fold 0..count-1 of each photo, int64 (n,): the heaviest scene first, each into the lightest fold; ties at random.

    Scenes without any of the photos `labelled`, bool (n,), come after all others, whatever they weigh: so no fold is of them
    alone where `count` others are there. The heaviest fold gets the last number, so that one scene that outweighs all others is
    trained on, not held out.
    """
    names, index = np.unique(scene, return_inverse=True)  # (S,), (n,)
    size = np.bincount(index, weight, len(names))  # (S,)
    bare = np.zeros(len(names), bool) if labelled is None else np.bincount(index, labelled, len(names)) == 0  # (S,)
    filled, fold_of = np.zeros(count), np.zeros(len(names), np.int64)  # (F,), (S,)
    for k in np.lexsort((rng.random(len(names)), -size, bare)):
        fold_of[k] = np.lexsort((rng.random(count), filled))[0]
        filled[fold_of[k]] += size[k]
    heaviest, last = int(filled.argmax()), count - 1
    swap = np.arange(count)
    swap[[heaviest, last]] = last, heaviest
    return swap[fold_of][index]  # (S,) -> (n,)
