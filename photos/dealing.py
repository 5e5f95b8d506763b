"""Scenes dealt into folds that weigh about the same: how many folds there can be, and which one each photo falls into."""

from collections.abc import Iterator, Sequence

import numpy as np

from photos.data import DataError

SLACK = 0.1  # chosen: of a fold's mean weight, by which folds may differ for the sake of their names
NEAREST = 50  # chosen: scenes of other folds that one is exchanged with, at most


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


def names_apart(fold: np.ndarray, weight: np.ndarray, scene: np.ndarray, names: Sequence[np.ndarray]) -> np.ndarray:
    """The folds (n,) with scenes exchanged such that fewer names of several scenes lie in one fold alone, where no other fold
    can teach them; the folds weigh as much alike as before, or within SLACK of their mean.

    Args:
        fold: of each photo; photos of one scene share theirs.
        weight: of each photo, (n,).
        scene: of each photo, (n,).
        names: the labels on each photo.
    """
    kinds, first, index = np.unique(scene, return_index=True, return_inverse=True)
    deal = _Deal(fold[first].copy(), np.bincount(index, weight), _presence(names, index, len(kinds)), int(fold.max()) + 1)
    while deal.improve():
        pass
    return deal.fold[index]


def _presence(names: Sequence[np.ndarray], index: np.ndarray, n_scenes: int) -> np.ndarray:
    """Which names that are in several scenes each scene has, bool (S, C); `index` is the scene of each photo."""
    rows = np.repeat(index, [len(own) for own in names])
    labels = np.concatenate([np.zeros(0, np.int64), *names])
    present = np.zeros((n_scenes, int(labels.max(initial=-1)) + 1), bool)
    present[rows, labels] = True
    return present[:, present.sum(0) > 1]


class _Deal:
    """S scenes in F folds: the fold (S,) of each, its size (S,), and which names it has, (S, C).

    `filled` (F,) is what each fold weighs, `scenes` (F, C) in how many of its scenes each name is.
    """

    def __init__(self, fold: np.ndarray, size: np.ndarray, has: np.ndarray, count: int) -> None:
        self.fold, self.size, self.has = fold, size, has.astype(np.int64)
        self.filled = np.bincount(fold, size, count)
        self.scenes = np.stack([self.has[fold == k].sum(0) for k in range(count)])
        self.allowed = max(float(np.ptp(self.filled)), SLACK * float(size.sum()) / count)

    def improve(self) -> bool:
        """Exchange two scenes, or move one, where that leaves fewer names alone; whether it did."""
        alone = (self.scenes > 0).sum(0) == 1  # (C,)
        for a in np.flatnonzero(self.has[:, alone].any(1)).tolist():
            for b, to in self.partners(a):
                filled, scenes = self.moved(a, b, to)
                if np.ptp(filled) <= self.allowed and ((scenes > 0).sum(0) == 1).sum() < alone.sum():
                    self.filled, self.scenes = filled, scenes
                    self.fold[a], self.fold[b] = to, self.fold[a] if b != a else to
                    return True
        return False

    def partners(self, a: int) -> Iterator[tuple[int, int]]:
        """The scenes of other folds that scene `a` may be exchanged with, each with its fold, the most alike in size first.
        Then `a` itself with every other fold, to be just moved: a scene of the same name is left in its own.
        """
        others = np.flatnonzero((self.fold != self.fold[a]) & self.has.any(1))
        nearest = others[np.argsort(np.abs(self.size[others] - self.size[a]), kind="stable")][:NEAREST]
        yield from zip(nearest.tolist(), self.fold[nearest].tolist(), strict=True)
        yield from ((a, k) for k in range(len(self.filled)) if k != self.fold[a])

    def moved(self, a: int, b: int, to: int) -> tuple[np.ndarray, np.ndarray]:
        """`filled` and `scenes` after `a` went to the fold `to` and `b`, unless it is `a`, to that of `a`."""
        filled, scenes, own = self.filled.copy(), self.scenes.copy(), self.fold[a]
        for k, sign in ((to, 1), (own, -1)):
            filled[k] += sign * (self.size[a] - self.size[b] * (a != b))
            scenes[k] += sign * (self.has[a] - self.has[b] * (a != b))
        return filled, scenes
