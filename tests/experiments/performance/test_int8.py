"""Scores of 8 bits are of photos that no model was adopted on, where there are such, and the figures say which."""

from dataclasses import replace

import numpy as np
from place import Place

from experiments.performance import int8
from photos import folds
from photos.data import read
from submission.int8_choice import held


def test_scores_are_of_the_test_photos_where_there_are_any(place: Place) -> None:
    photos, parts = held(place.runs, place.data), folds.load(place.runs / folds.NAME, read(place.data))
    judged, told = int8.judged_photos(place.runs, place.data, photos)
    assert [photo.id for photo in judged.valid] == [photo.id for photo in parts.photos("test")] != []
    assert judged.scenes.tolist() == [parts.scene[photo.id] for photo in judged.valid]
    assert told == "test photos, over scenes"


def test_without_test_photos_it_is_told_that_the_same_photos_adopted(place: Place) -> None:
    photos, path = held(place.runs, place.data), place.runs / folds.NAME
    parts = folds.load(path, read(place.data))
    folds.save(path, replace(parts, part={i: "train" if part == "test" else part for i, part in parts.part.items()}))
    judged, told = int8.judged_photos(place.runs, place.data, photos)
    assert judged is photos and "on which 8 bits were adopted" in told
    assert np.array_equal(judged.scenes, photos.scenes)
