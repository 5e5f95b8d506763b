"""Prototypes in a fit: chosen on the folds' held-out crops, and let into the folds' classifiers and the one that ships."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cosine_models import SIZE, save_classifier

from fitting import studio_names
from fitting.procedure import SECOND, Procedure
from fitting.trainings import Clock, classifier_name
from fusion.models import Model, calibrated, read_object, read_sidecar
from photos.folds import Folds
from stage1_detector import recipes as detector_recipes
from stage2_classifier import config as classifier_config
from stage2_classifier import held_out, studio_prototypes
from stage2_classifier.held_out import HeldOut
from stage2_classifier.studio_prototypes import Prototypes

IDS, PHOTOS = [3, 7, 9], 16
BOTH = Procedure(detector_recipes.small(), classifier_config.small(), crops="both")
SHELF = replace(BOTH, crops="shelf")


class Fold:
    """What is asked of a fold here: scenes by photo."""

    def __init__(self, photos: range) -> None:
        self.scene = {photo: photo for photo in photos}


def fold_in(folder: Path, photos: range, right: bool) -> None:
    """A classifier that takes the last name, of which it had no box, for the first; its prototypes know it where `right`."""
    save_classifier(folder / "model.onnx", [np.zeros((3, 3), np.float32)], IDS, linear=True)
    labels = np.tile([0, 1, 2], 4 * len(photos))
    logits = 3 * np.eye(3, dtype=np.float32)[[0, 1, 0]][labels]
    cosines = np.eye(3, dtype=np.float32)[labels if right else (labels + 1) % 3]
    held_out.write(folder, HeldOut(logits, labels, np.repeat(photos, 12)))
    studio_prototypes.write(folder, Prototypes(np.eye(3, dtype=np.float32), np.array([50, 50, 0]), cosines))


def folds_in(runs: Path, right: bool) -> list[Folds]:
    parts = [range(8), range(8, PHOTOS)]
    for k, photos in enumerate(parts):
        fold_in(runs / "cross_fit" / str(k) / classifier_name(BOTH), photos, right)
    return [Fold(photos) for photos in parts]  # type: ignore[misc]


@pytest.mark.parametrize("right", [True, False], ids=["prototypes know the name", "prototypes are wrong"])
def test_adopted_where_held_out_names_gain(tmp_path: Path, right: bool) -> None:
    lines: list[str] = []
    say: Callable[[str], None] = lines.append
    (blend,) = studio_names.choose_for_folds(tmp_path, BOTH, folds_in(tmp_path, right), Clock(), say).values()
    assert (blend is not None) == right and "64 held-out crops of 1 name without a box" in lines[0]
    assert (read_object(tmp_path / studio_names.RECORD)[classifier_name(BOTH)]["blend"] is not None) == right
    folder = tmp_path / "cross_fit" / "1" / classifier_name(BOTH)
    side = read_sidecar(folder / "model.json")
    assert (side.prototype_weights is not None) == right
    blue = np.full((1, SIZE, SIZE, 3), (0, 0, 255), np.uint8)
    named = calibrated(Model(folder / "model.onnx")(blue), side)
    assert named.shape == (1, 3) and (named[0, 2] > 0.5) == right
    again = studio_names.choose_for_folds(tmp_path, BOTH, [Fold(range(PHOTOS))] * 2, Clock(), say)  # type: ignore[list-item]
    assert again == {classifier_name(BOTH): blend} and lines[1] == lines[0]


def test_of_two_classifiers_each_has_its_own_choice(tmp_path: Path) -> None:
    two, lines = replace(BOTH, second=BOTH.classifier), list[str]()
    by_fold = folds_in(tmp_path, True)
    for k, photos in enumerate([range(8), range(8, PHOTOS)]):
        fold_in(tmp_path / "cross_fit" / str(k) / SECOND, photos, False)
    blends = studio_names.choose_for_folds(tmp_path, two, by_fold, Clock(), lines.append)
    assert list(blends) == [classifier_name(BOTH), SECOND] == list(read_object(tmp_path / studio_names.RECORD))
    assert blends[SECOND] is None and blends[classifier_name(BOTH)] is not None
    assert [line.split(": ")[1] for line in lines] == [classifier_name(BOTH), SECOND]


def test_without_studio_crops_nothing_is_chosen(tmp_path: Path) -> None:
    assert studio_names.choose_for_folds(tmp_path, SHELF, [], Clock(), pytest.fail) == {}
    assert not list(tmp_path.iterdir())
