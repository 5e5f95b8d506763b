"""Scenes are exchanged between folds so that names of several scenes lie in several folds; folds stay as heavy as they were."""

from collections import Counter

import numpy as np
import pytest

from photos.dealing import SLACK, balanced, names_apart


def lone(fold: np.ndarray, names: list[np.ndarray]) -> int:
    """How many names lie in one fold alone."""
    in_folds = Counter(
        i for k in np.unique(fold) for i in {int(i) for at, own in zip(fold, names, strict=True) if at == k for i in own}
    )
    return sum(count == 1 for count in in_folds.values())


def test_names_of_two_scenes_come_into_two_folds() -> None:
    names = [np.array(own) for own in ([0, 0], [0, 1], [1, 2], [2], [3])]
    fold, weight = np.array([0, 0, 1, 1, 1]), np.array([3, 3, 3, 2, 2])
    apart = names_apart(fold, weight, np.arange(5), names)
    assert lone(fold, names) == 3 and lone(apart, names) == 1  # the name 3 is of one scene
    assert np.bincount(apart, weight).tolist() == [6, 7]


def test_photos_of_one_scene_stay_together_and_nothing_to_part_changes_nothing() -> None:
    scene, weight = np.array([7, 7, 9, 9, 4]), np.ones(5, np.int64)
    fold = np.array([0, 0, 1, 1, 1])
    names = [np.array([0]), np.array([1]), np.array([1]), np.array([0]), np.array([], np.int64)]
    assert names_apart(fold, weight, scene, names).tolist() == fold.tolist()  # both are in both
    names = [np.array([0]), np.array([1]), np.array([2]), np.array([2]), np.array([2])]
    apart = names_apart(fold, weight, scene, names)
    assert apart[0] == apart[1] and apart[2] == apart[3] and lone(apart, names) == 2
    assert names_apart(fold, weight, scene, [np.zeros(0, np.int64)] * 5).tolist() == fold.tolist()


@pytest.mark.parametrize("seed", range(20))
def test_of_any_set_fewer_names_are_alone_and_folds_stay_alike_and_full(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_scenes, n_names, count = int(rng.integers(4, 40)), int(rng.integers(1, 60)), int(rng.integers(2, 5))
    chances = 1 / np.arange(1, n_names + 1)
    scene = np.repeat(np.arange(n_scenes), rng.integers(1, 4, n_scenes))
    names = [rng.choice(n_names, int(rng.integers(0, 6)), p=chances / chances.sum()) for _ in scene]
    names[0] = np.array([0])
    weight = np.array([len(own) + 1 for own in names])
    labelled = np.array([len(own) > 0 for own in names])
    count = min(count, len(np.unique(scene[labelled])))
    fold = balanced(weight, scene, count, rng, labelled)
    apart = names_apart(fold, weight, scene, names)
    assert lone(apart, names) <= lone(fold, names)
    assert set(apart[labelled]) == set(fold[labelled]) == set(range(count))
    assert all(len(set(apart[scene == k])) == 1 for k in np.unique(scene))
    before, after = (np.ptp(np.bincount(own, weight, count)) for own in (fold, apart))
    assert after <= max(before, SLACK * weight.sum() / count)
