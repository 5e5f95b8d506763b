"""Folds dealt anew after a training: no photo that a model has seen is used as held out, by a fit or by a score."""

from collections.abc import Callable

import pytest
from place import Place, mains

from photos import folds, trained_on
from photos.data import read
from stage2_classifier.gate import search
from stage2_classifier.label_review import review
from submission.int8_choice import held

MODELS = ("one", "all", "classifier_shelf")


@pytest.fixture
def dealt_anew(place: Place) -> Place:
    """Models that tell what they were trained with, and folds of another seed."""
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    for name in MODELS:
        trained_on.write(place.runs / name, parts.photos("train"), parts.photos("valid"))
    for name in ("gate", "build"):
        assert mains()[name](place.words(name)) == 0
    assert mains()["folds"]([*place.words("folds"), "--seed", "1", "--force"]) == 0
    return place


@pytest.mark.parametrize("command", ["gate", "ablation", "judge"])
def test_no_command_fits_or_scores_on_photos_that_a_model_has_seen(dealt_anew: Place, refused: Callable, command: str) -> None:
    refused(command, [], "hold out now, in ")
    refused(command, [], "train it again from the start, or deal the folds as they were")


def test_a_search_and_the_choice_of_8_bits_refuse_too(dealt_anew: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(["--data", str(dealt_anew.data), "--runs", str(dealt_anew.runs), "--folds", "2"]) == 2
    assert "one: trained with 2 photos that the folds hold out now, in valid" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"one: trained with 2 photos that the folds hold out now, in valid"):
        held(dealt_anew.runs, dealt_anew.data)


def test_the_ranking_of_labels_tells(dealt_anew: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert review.main(["--data", str(dealt_anew.data), "--runs", str(dealt_anew.runs)]) == 0
    assert "labels: 2 of 2 photos were trained on" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["gate", "judge", "ablation"])
@pytest.mark.parametrize("records", [True, False], ids=["copy in train", "no trained_on.json"])
def test_copies_of_train_photos_and_runs_that_tell_nothing_are_not_refused(place: Place, command: str, records: bool) -> None:
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    for part, photo in zip(("valid", "test"), parts.photos("train"), strict=False):
        parts.photos(part)[0].path.write_bytes(photo.path.read_bytes())
    for name in MODELS if records else ():
        trained_on.write(place.runs / name, parts.photos("train"), parts.photos("valid"))
    for name in dict.fromkeys(("gate", "build", command)):
        assert mains()[name](place.words(name)) == 0


def test_photos_that_chose_the_epoch_are_no_test_photos(place: Place) -> None:
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    trained_on.write(place.runs / "one", [], [*parts.photos("train"), *parts.photos("test")])
    trained_on.refuse_judging([place.runs / "one" / "model.onnx"], "valid", parts)
    trained_on.refuse_judging([place.runs / "one" / "model.onnx"], "train", parts)
    with pytest.raises(ValueError, match=r"one: trained with 2 photos that the folds hold out now, in test; train it again"):
        trained_on.refuse_judging([place.runs / "one" / "model.onnx"], "test", parts)
