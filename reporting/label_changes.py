"""Whether the labels that a page counts by are those that the run was made from: if not, its top says so."""

from dataclasses import replace

from fusion.models import read_object
from photos import trained_names
from photos.data import Dataset
from reporting.figures import is_of_other_labels
from reporting.held_out import HeldOut
from stage2_classifier.gate.ensemble import folders_of

COUNTED = "here the boxes and names of now are counted, while models, gate and the scores to cut at are of the old ones"


def label_changes(held_out: HeldOut) -> list[str]:
    """What is labelled otherwise than when the run was made, a sentence each; none where nothing is, or the run does not tell.

    A product that is only called otherwise is no other label where its model notes the names of then.
    """
    folders, folds = folders_of(held_out.runs, held_out.ensemble), held_out.folds
    lines = trained_names.changes(folders, folds)
    path = held_out.runs / ("fitted.json" if folds.settings.pooled else "gate.json")
    told = read_object(path) if path.is_file() else {}
    names = {number: name for folder in folders for number, name in trained_names.trained_under(folder).items()}
    as_called_then = replace(folds, dataset=with_names(folds.dataset, names))
    if is_of_other_labels(told, folds) and is_of_other_labels(told, as_called_then):
        since = "The labels" if folds.settings.pooled else "The labels of the part valid"
        what = "the fit" if folds.settings.pooled else "the gate was fitted"
        lines.insert(0, f"{since} changed since {what}: {COUNTED}")
    return lines


def with_names(dataset: Dataset, names: trained_names.Names) -> Dataset:
    """The same set with these names of its products, by id; others stay."""
    categories = (replace(category, name=names.get(category.id, category.name)) for category in dataset.categories)
    return replace(dataset, categories=tuple(categories))
