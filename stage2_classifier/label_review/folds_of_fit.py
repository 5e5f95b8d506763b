"""Which commands look at the labels of a fit that holds no photo out: each of its folds has models that did not see some."""

from pathlib import Path

from photos import folds
from runs.typed import typed

CROSS_FIT = "cross_fit"  # below the run folder of a fit: a run folder for each fold
CLASSIFIER = "classifier_shelf"  # what `hylle labels` takes where it is not told


def trained_folds(runs: Path) -> list[Path]:
    """The run folders of the folds, in their order, in which a detector and a classifier are trained."""
    found = (runs / CROSS_FIT).glob(f"*/{folds.NAME}")
    trained = [path.parent for path in found if (path.parent / "one" / "model.onnx").is_file() and classifier_of(path.parent)]
    return sorted(trained, key=lambda folder: (len(folder.name), folder.name))


def classifier_of(fold: Path) -> str:
    """The folder of a fold's trained classifier; empty where there is none."""
    return next((path.parent.name for path in sorted(fold.glob("classifier_*/model.onnx"))), "")


def command(data: Path, fold: Path) -> str:
    """The command that ranks the labels of the photos that `fold` left out."""
    named = "" if (name := classifier_of(fold)) == CLASSIFIER else typed(" --classifier", Path(name))
    return typed("hylle labels --data", data, "--runs", fold) + named


def remedy(data: Path, runs: Path) -> str:
    """What to call for the labels of the fit in RUNS, in words."""
    trained = trained_folds(runs)
    if not trained:
        return f"hylle fit trained on every photo, and {runs / CROSS_FIT} has no trained fold that left some out"
    others = ", ".join(fold.name for fold in trained[1:])
    rest = f"; likewise {trained[0].parent}/K for K = {others}, with the other photos" if others else ""
    return f"run: {command(data, trained[0])} (a fold, with the photos that it left out){rest}"
