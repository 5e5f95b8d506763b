"""Names without shelf crops in a fit: whether prototypes count beside the classifier's word, chosen on the folds.

Names that only one fold's photos show have no box in training where they are judged: they are the held-out names. The choice is
made once, before the gate, of all folds, and holds for their classifiers and the one that ships.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from fitting import cross_fit
from fitting.procedure import Procedure, Say
from fitting.trainings import Clock, classifier_name
from fusion.models import calibrated, read_sidecar
from photos.folds import Folds
from runs import record
from stage2_classifier import held_out, studio_prototypes
from stage2_classifier.prototype_blend import Blend, HeldOutCrops, choose_blend, in_words

RECORD = f"{cross_fit.FOLDER}/prototypes.json"


def choose_for_folds(runs: Path, procedure: Procedure, by_fold: Sequence[Folds], clock: Clock, say: Say) -> Blend | None:
    """Choose, write RUNS/cross_fit/prototypes.json, and let the folds' classifiers do so; None without studio crops."""
    if procedure.crops != "both":
        return None
    folders = [folder / classifier_name(procedure) for folder in cross_fit.folders(runs, by_fold)]
    scene_of = {photo: scene for fold in by_fold for photo, scene in fold.scene.items()}
    with clock.timed("prototypes"):
        crops = [held_out_crops(folder) for folder in folders]
        choice = choose_blend(crops, scene_of, np.random.default_rng(procedure.seed))
        record.write_json(runs / RECORD, asdict(choice))
        for folder in folders:
            apply(folder, procedure, choice.blend)
    say(f"fit: {in_words(choice)}")
    return choice.blend


def held_out_crops(folder: Path) -> HeldOutCrops:
    """What the classifier in FOLDER, without prototypes, makes of the crops that it was not trained on."""
    logits, labels, photos = held_out.read(folder)
    _, counts, cosines = studio_prototypes.read(folder)
    plain = replace(read_sidecar(folder / "model.json"), prototype_weights=None)
    return HeldOutCrops(calibrated(logits, plain), cosines, counts, labels, photos)


def apply(folder: Path, procedure: Procedure, blend: Blend | None) -> None:
    """Let the prototypes of the classifier in FOLDER count by `blend`, where it learned from studio crops."""
    if procedure.crops == "both":
        studio_prototypes.blend_in(folder, blend)
