"""The blend of prototypes and classifier: adopted where held-out names gain, not where they lose or scenes are few."""

import numpy as np
import pytest

from stage2_classifier.gate.choose import LEAST
from stage2_classifier.prototype_blend import GRID, Blend, BlendChoice, HeldOutCrops, choose_blend, decided, in_words, truths

NAMES, SCENES = 6, 12


def crops_where(prototypes_know: float, unseen: int, seed: int = 0) -> HeldOutCrops:
    """12 photos: the classifier takes the last `unseen` names for the first; prototypes are right in a share of crops."""
    rng = np.random.default_rng(seed)
    photos = np.repeat(np.arange(SCENES), 12)
    labels = rng.integers(NAMES, size=len(photos))
    said = np.where(labels >= NAMES - unseen, 0, labels)
    probabilities = np.full((len(labels), NAMES), 0.04, np.float32)
    probabilities[np.arange(len(labels)), said] = 0.8 - 0.3 * (labels >= NAMES - unseen)
    seen_by_prototypes = np.where(rng.random(len(labels)) < prototypes_know, labels, rng.integers(NAMES, size=len(labels)))
    cosines = np.full((len(labels), NAMES), 0.1, np.float32)
    cosines[np.arange(len(labels)), seen_by_prototypes] = 0.8
    counts = np.where(np.arange(NAMES) >= NAMES - unseen, 0, 50)
    return HeldOutCrops(probabilities / probabilities.sum(1, keepdims=True), cosines, counts, labels, photos)


def chosen(crops: HeldOutCrops, scenes: int = SCENES) -> BlendChoice:
    return choose_blend([crops], {photo: photo % scenes for photo in range(SCENES)}, np.random.default_rng(0))


def test_names_without_a_box_gain() -> None:
    crops = crops_where(prototypes_know=0.9, unseen=2)
    choice = chosen(crops)
    assert choice.blend is not None and choice.gain is not None and choice.gain.low > 0
    assert choice.names_without == 2 and choice.crops_without == int((crops.labels >= 4).sum())
    assert "prototypes adopted" in in_words(choice)
    right = (decided(crops, choice.blend).argmax(1) == crops.labels).mean()
    assert right > (decided(crops, None).argmax(1) == crops.labels).mean() + 0.1


@pytest.mark.parametrize(
    ("know", "unseen", "scenes"),
    [
        pytest.param(0.9, 0, SCENES, id="no name is missing and the classifier is right"),
        pytest.param(0.0, 2, SCENES, id="prototypes know nothing"),
        pytest.param(0.9, 2, 2, id="two scenes"),
    ],
)
def test_the_classifier_s_word_stays(know: float, unseen: int, scenes: int) -> None:
    choice = chosen(crops_where(know, unseen), scenes)
    assert choice.blend is None and "prototypes not used" in in_words(choice)


def test_no_photo() -> None:
    empty = HeldOutCrops(*(np.zeros(shape, kind) for shape, kind in (
        ((0, 2), np.float32), ((0, 2), np.float32), ((2,), np.int64), ((0,), np.int64), ((0,), np.int64))))  # fmt: skip
    assert chosen(empty).blend is None


@pytest.mark.parametrize("blend", GRID[::9], ids=str)
def test_background_stays(blend: Blend) -> None:
    crops = crops_where(0.5, 2)
    with_background = np.concatenate([0.7 * crops.probabilities, np.full((len(crops.labels), 1), 0.3, np.float32)], 1)
    names = decided(crops._replace(probabilities=with_background), blend)
    np.testing.assert_allclose(names.sum(1), 0.7, atol=1e-5)


def test_a_crop_of_background_has_no_true_box() -> None:
    labels, photos = np.array([1, 2, 0, 2]), np.array([5, 5, 8, 9])  # 2: background
    crops = HeldOutCrops(np.full((4, 3), 1 / 3, np.float32), np.zeros((4, 2), np.float32), np.array([9, 9]), labels, photos)
    assert [(own.labels.tolist(), own.boxes[:, 0].tolist()) for own in truths(crops)] == [([1], [0.0]), ([0], [0.0]), ([], [])]


def test_the_fewest_scenes_are_enough_to_measure_a_gain() -> None:
    choice = chosen(crops_where(0.9, 2), LEAST)
    assert choice.gain is not None and choice.offered is not None
