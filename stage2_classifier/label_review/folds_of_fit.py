"""Which commands look at the labels of a fit: a fold's models did not see some photos, or its own where it left a fold out."""

from pathlib import Path

from photos import folds
from photos.fit_folds import CROSS_FIT, fit_above, is_of_a_fit_without
from runs.typed import typed

CLASSIFIER = "classifier_shelf"  # what `hylle labels` takes where it is not told


def trained_folds(runs: Path) -> list[Path]:
    """The run folders of the folds, in their order, in which a detector and a classifier are trained."""
    found = (runs / CROSS_FIT).glob(f"*/{folds.NAME}")
    trained = [path.parent for path in found if (path.parent / "one" / "model.onnx").is_file() and classifiers_of(path.parent)]
    return sorted(trained, key=lambda folder: (len(folder.name), folder.name))


def classifiers_of(runs: Path) -> list[str]:
    """The folders of the trained classifiers in RUNS, the one that is taken by default first."""
    found = [path.parent.name for path in runs.glob("classifier_*/model.onnx")]
    return sorted(found, key=lambda name: (name != CLASSIFIER, name))


def default_classifier(runs: Path) -> str:
    """CLASSIFIER, or the only trained one of RUNS where that was never begun. Raises ValueError where several others wait."""
    others = classifiers_of(runs)
    if (runs / CLASSIFIER).exists() or not others:
        return CLASSIFIER
    if len(others) > 1:
        raise ValueError(f"{runs}: no {CLASSIFIER}, but {', '.join(others)}; name one by --classifier")
    return others[0]


def command(data: Path, fold: Path) -> str:
    """The command that ranks the labels of the photos that `fold` left out."""
    first, *_ = [*classifiers_of(fold), CLASSIFIER]
    named = "" if first == CLASSIFIER else typed(" --classifier", Path(first))
    return typed("hylle labels --data", data, "--runs", fold) + named


def remedy(data: Path, runs: Path) -> str:
    """What to call for the labels of the fit in RUNS, in words."""
    if not is_of_a_fit_without(runs / folds.NAME, "valid"):
        return f"run: {command(data, runs)} (it left one fold out for good)"
    trained = trained_folds(runs)
    if not trained:
        return f"hylle fit trained on every photo, and {runs / CROSS_FIT} has no trained fold that left some out"
    others = ", ".join(fold.name for fold in trained[1:])
    rest = f"; likewise {trained[0].parent}/K for K = {others}, with the other photos" if others else ""
    return f"run: {command(data, trained[0])} (a fold, with the photos that it left out){rest}"


def refuse_no_fold(data: Path, runs: Path) -> None:
    """Raises ValueError, with the right command, where RUNS would be a fold of a fit that has no such one."""
    path = runs / folds.NAME
    if not path.is_file() and (fit := fit_above(path)):
        raise ValueError(f"--runs {runs}: {fit} is of hylle fit and has no such fold; {remedy(data, fit)}")
