"""What the page names for doubtful labels can be done: of a fit by its folds, of a zip or the starter by a run folder."""

import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
from place import IDS, Place, put_models

from fitting import cross_fit
from fitting.procedure import Procedure
from hylle.verbs import main
from photos import folds
from photos.data import read
from photos.fit_folds import is_of_a_fit_without
from reviewing import review
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from submission import log


@pytest.fixture
def fit(place: Place) -> Path:
    """A run folder as `hylle fit` leaves it: constant models of all photos and of each fold."""
    folder = place.root / "fit"
    cross_fit.deal(read(place.data), folder, Procedure(DetectorConfig(), ClassifierConfig(), groups="photo"), lambda line: None)
    for models in (folder, *(folder / "cross_fit" / str(k) for k in range(3))):
        put_models(models, IDS)
    shutil.copy(place.runs / "ensemble.json", folder)
    return folder


@pytest.fixture
def fit_without_refit(place: Place) -> Path:
    """The same where one fold was left out for good, and the classifier learnt from studio photos too."""
    folder, procedure = place.root / "a fit", Procedure(DetectorConfig(), ClassifierConfig(), groups="photo", refit=False)
    cross_fit.deal(read(place.data), folder, procedure, lambda line: None)
    put_models(folder, IDS)
    (folder / "classifier_shelf").rename(folder / "classifier_both")
    return folder


def note_of(data: Path, model: object, *flags: str) -> str:
    """What the tab says."""
    args = review.checked(review.parser("hylle review").parse_args([str(model), "--data", str(data), *flags]))
    from reviewing.desk import Desk
    from reviewing.visitors import Bounds, Visitors

    desk = Desk(None, Visitors(Bounds()))  # type: ignore[arg-type]
    review.add_doubts(desk, args, read(data), review.out_of(args))
    return desk.notes.get("labels", "")


def command_in(text: str) -> list[str]:
    """The words of the command that a text names."""
    found = re.search(r"run: hylle (labels .*?)(?: \(|, then)", text)
    assert found, text
    return shlex.split(found.group(1))


def test_of_a_fit_a_fold_looks_at_the_photos_that_it_left_out(
    place: Place, fit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = note_of(place.data, fit)
    assert "likewise" in note and "K = 1, 2" in note
    assert main(command_in(note)) == 0
    told = re.search(r"start again with (.*)", note)
    assert told and "no label" not in note_of(place.data, fit, *shlex.split(told.group(1)))
    assert main(["labels", "--data", str(place.data), "--runs", str(fit)]) == 2
    refusal = capsys.readouterr().err
    assert refusal.count("\n") == 1 and command_in(refusal) == command_in(note)


def test_folds_that_were_never_trained_are_not_named(place: Place, fit: Path) -> None:
    shutil.rmtree(fit / "cross_fit" / "0" / "one")
    (fit / "cross_fit" / "1" / "classifier_shelf").rename(fit / "cross_fit" / "1" / "classifier_both")
    assert command_in(note_of(place.data, fit))[-4:] == [
        "--runs",
        str(fit / "cross_fit" / "1"),
        "--classifier",
        "classifier_both",
    ]
    shutil.rmtree(fit / "cross_fit")
    assert "hylle labels" not in note_of(place.data, fit)


def test_of_a_fit_without_a_refit_its_own_folder_looks_at_the_fold_that_it_left_out(
    place: Place, fit_without_refit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fold = fit_without_refit / "cross_fit" / "0"
    assert main(["labels", "--data", str(place.data), "--runs", str(fold)]) == 2
    refusal = capsys.readouterr().err
    assert "has no such fold" in refusal and "hylle folds" not in refusal
    assert main(command_in(refusal)) == 0
    assert "asks" not in capsys.readouterr().out
    assert main(["labels", "--data", str(place.data), "--runs", str(fit_without_refit), "--out", str(place.root / "l")]) == 0
    assert f"asks classifier_both, as {fit_without_refit} has no classifier_shelf" in capsys.readouterr().out
    shutil.copytree(fit_without_refit / "classifier_both", fit_without_refit / "classifier_mine")
    assert main(["labels", "--data", str(place.data), "--runs", str(fit_without_refit), "--out", str(place.root / "l")]) == 2
    assert "classifier_both, classifier_mine; name one by --classifier" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["gate", "--runs"], ["train-classifier", "--out"]], ids=lambda words: words[0])
def test_other_commands_deal_no_folds_inside_a_fit_either(
    place: Place, fit_without_refit: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fold = fit_without_refit / "cross_fit" / "0"
    assert main([*words, str(fold), "--data", str(place.data)]) == 2
    assert f"name {fit_without_refit} itself" in capsys.readouterr().err
    assert main(["folds", "--data", str(place.data), "--out", str(fold), "--groups", "photo"]) == 2
    assert "is of hylle fit" in capsys.readouterr().err and not fold.exists()


def test_a_fold_that_a_fit_has_not_is_answered_with_those_it_has(
    place: Place, fit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["labels", "--data", str(place.data), "--runs", str(fit / "cross_fit" / "7")]) == 2
    refusal = capsys.readouterr().err
    assert command_in(refusal)[-1] == str(fit / "cross_fit" / "0") and main(command_in(refusal)) == 0


def test_a_run_folder_is_asked_for_where_there_is_none(place: Place) -> None:
    (place.root / "a.zip").write_bytes(b"")
    for model in (place.root / "a.zip", "starter"):
        note = note_of(place.data, model)
        assert f"{model} does not tell" in note and "--runs R, then start again with --proposals R/" in note


def test_of_other_runs_the_command_names_them(place: Place) -> None:
    assert f"run: hylle labels --data {place.data} --runs {place.runs}, then start again" in note_of(place.data, place.runs)


def test_a_zip_of_a_fit_is_noted_without_an_ablation(place: Place, fit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipfile.ZipFile(fit / "a.zip", "w").close()
    words = ["add", str(fit / "a.zip"), "--log", str(place.root / "log.jsonl")]
    assert log.main([*words, "--runs", str(fit)]) == 2
    error = capsys.readouterr().err
    assert error.endswith("leave out --runs\n") and "experiments.ablation" not in error
    assert log.main(words) == 0 and len(log.read(place.root / "log.jsonl")) == 1
    assert not is_of_a_fit_without(place.runs / folds.NAME, "test")
