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
from fitting.trainings import Clock
from fusion.models import calibrated, read_sidecar
from photos.folds import Folds
from runs import record
from stage2_classifier import held_out, studio_prototypes
from stage2_classifier.prototype_blend import Blend, BlendChoice, HeldOutCrops, choose_blend, in_words

RECORD = f"{cross_fit.FOLDER}/prototypes.json"


def choose_for_folds(
    runs: Path, procedure: Procedure, by_fold: Sequence[Folds], clock: Clock, say: Say
) -> dict[str, Blend | None]:
    """Choose for each classifier, by its folder's name, note it in RUNS/cross_fit/prototypes.json, and let the folds' do so.

    None are chosen for without studio crops.
    """
    if procedure.crops != "both":
        return {}
    scene_of = {photo: scene for fold in by_fold for photo, scene in fold.scene.items()}
    chosen: dict[str, BlendChoice] = {}
    with clock.timed("prototypes"):
        for name in procedure.classifiers:
            folders = [folder / name for folder in cross_fit.folders(runs, by_fold)]
            crops = [held_out_crops(folder) for folder in folders]
            chosen[name] = choose_blend(crops, scene_of, np.random.default_rng(procedure.seed))
            for folder in folders:
                studio_prototypes.blend_in(folder, chosen[name].blend)
        record.write_json(runs / RECORD, {name: asdict(choice) for name, choice in chosen.items()})
    for name, choice in chosen.items():
        say(f"fit: {f'{name}: ' * (len(chosen) > 1)}{in_words(choice)}")
    return {name: choice.blend for name, choice in chosen.items()}


def held_out_crops(folder: Path) -> HeldOutCrops:
    """What the classifier in FOLDER, without prototypes, makes of the crops that it was not trained on."""
    logits, labels, photos = held_out.read(folder)
    _, counts, cosines = studio_prototypes.read(folder)
    plain = replace(read_sidecar(folder / "model.json"), prototype_weights=None)
    return HeldOutCrops(calibrated(logits, plain), cosines, counts, labels, photos)
