"""What the folds' models say of photos that they did not see, pooled: all that a refitted classifier would fit on valid.

A folder of folds holds a run folder for each fold, with folds.json, one/ and the classifier; every photo with boxes is in the
valid part of exactly one (`fitting.cross_fit` makes it so).
"""

from pathlib import Path

import numpy as np

from photos import folds
from photos.data import Photo
from photos.folds import Folds
from runs import record
from runs.first_command import refuse_untrained
from stage2_classifier import held_out
from stage2_classifier.held_out import HeldOut
from stage2_classifier.out_of_fold import Boxes, detected_boxes


def run_folders(cross_fit: Path) -> list[Path]:
    """The run folder of each fold. ValueError where there is none."""
    folders = sorted(path.parent for path in cross_fit.glob(f"*/{folds.NAME}"))
    if not folders:
        raise ValueError(f"--refit: got {cross_fit}, must be a folder of the folds' run folders, as hylle fit makes it")
    return folders


def fingerprint(cross_fit: Path, classifier: str) -> str:
    """The fingerprint of the folds' models and held-out crops. ValueError where one is not trained."""
    files = []
    for runs in run_folders(cross_fit):
        for name in ("one", classifier):
            refuse_untrained(runs, name)
        held_out.read(runs / classifier)
        files += [runs / "one" / "model.onnx", runs / classifier / "model.onnx", runs / classifier / held_out.NAME]
    return record.fingerprint(*files)


def read(cross_fit: Path, classifier: str, parts: Folds, width: int) -> HeldOut:
    """The held-out crops of all folds' classifiers in the folders CLASSIFIER.

    Raises ValueError where a photo of `parts` with boxes was left out by none or by two of them, or another photo was, or they
    have another number of columns than `width`.
    """
    by_fold = [held_out.read(runs / classifier) for runs in run_folders(cross_fit)]
    left_out = np.concatenate([np.unique(fold.photos) for fold in by_fold]).tolist()
    photos = {photo.id: len(photo.boxes) for photo in parts.photos("train")}
    wanted = {photo for photo, n_boxes in photos.items() if n_boxes}
    if len(set(left_out)) < len(left_out) or not wanted <= set(left_out) <= set(photos):
        raise ValueError(
            f"--refit: {cross_fit} left out {len(left_out)} photos, must be each of the {len(wanted)} with boxes once"
        )
    widths = {fold.logits.shape[1] for fold in by_fold}
    if widths != {width}:
        raise ValueError(f"--refit: the classifiers in {cross_fit} have {sorted(widths)} columns, must be {width}")
    return held_out.joined(by_fold)


def boxes_of_detectors(cross_fit: Path, photos: tuple[Photo, ...], parts: Folds) -> list[Boxes]:
    """What the folds' detectors find on each of `photos`, of the fold that left it out."""
    by_photo: dict[int, Boxes] = {}
    for runs in run_folders(cross_fit):
        left_out = {photo.id for photo in folds.load(runs / folds.NAME, parts.dataset).photos("valid")}
        own = [photo for photo in photos if photo.id in left_out]
        by_photo |= dict(zip([p.id for p in own], detected_boxes(runs / "one" / "model.onnx", own), strict=True))
    return [by_photo[photo.id] for photo in photos]
