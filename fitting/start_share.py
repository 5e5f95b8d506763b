"""How much of its start the detector of a fit keeps: as much as costs it nothing that photos left out can show.

They are of the shops that the others are of, so they hardly tell how it would do in another one; a detector that is nearer to
what it started from does better there (`stage1_detector.start_share`). One share is chosen on the folds' detectors, before the
classifiers learn what boxes these find, and holds for them and for the one that ships.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fitting import cross_fit
from fitting.procedure import SHARES, SHOWN, Procedure, Say
from fitting.trainings import Clock, classifier_name
from fusion.models import Sidecar, read_object
from photos.data import Photo
from photos.folds import Folds
from runs import gpu_memory, record
from runs.command import say_progress
from stage1_detector import pretrained, start_share, validation
from stage1_detector.engine import device_of
from stage1_detector.families import Network
from stage2_classifier.gate.calibrate import first_near_best

RECORD = f"{cross_fit.FOLDER}/{start_share.NAME}"


def choose_for_folds(runs: Path, procedure: Procedure, by_fold: Sequence[Folds], clock: Clock, say: Say) -> float:
    """The share of the start, noted in RUNS/cross_fit/start_share.json; the folds' detectors have it then.

    0 where there is no start or it is no such detector, and where a fit that an older version began has classifiers without it.
    """
    if start_of(procedure) is None:
        return 0.0
    folders = cross_fit.folders(runs, by_fold)
    begun = any((folder / classifier_name(procedure)).is_dir() for folder in folders)
    if not (runs / RECORD).is_file() and begun:
        say("fit: start: nothing of it is kept: the classifiers here have learned from detectors without it")
        return 0.0
    with clock.timed("start"):
        shares = SHARES if procedure.start_share is None else (procedure.start_share,)
        scores = kept_scores(runs, procedure, shares, folders, by_fold)
        if not scores:
            say("fit: start: nothing of it is kept: it was no detector of the same outputs")
            return 0.0
        share = shares[first_near_best([scores[share] for share in shares])]
        for folder, fold in zip(folders, by_fold, strict=True):
            apply(folder, procedure, share, fold.labelled("valid"))
    without = f", {scores[0.0]:.4f} with none; other shops gain more" if procedure.start_share is None else ", as wished"
    told = f"on photos left out det mAP50 {scores[share]:.4f}{without}"
    say(f"fit: start: the detector keeps {share:.0%} of the weights that it started from: {told}")
    return share


def apply(folder: Path, procedure: Procedure, share: float, photos: Sequence[Photo]) -> None:
    """Let FOLDER/one/model.onnx have this share of its start."""
    start_share.export_with(folder / "one", start_of(procedure), share, procedure.detector, photos)


def start_of(procedure: Procedure) -> Path | None:
    """The weights that the detector started from; None for random ones."""
    return pretrained.start(procedure.pretrained_path, procedure.detector).path


def kept_scores(
    runs: Path, procedure: Procedure, shares: Sequence[float], folders: Sequence[Path], by_fold: Sequence[Folds]
) -> dict[float, float]:
    """det mAP50 by each of `shares`, the mean of the folds, looked up now or by an earlier call; none where the start is of
    another kind.
    """
    start = start_of(procedure)
    shown = [spread([photo for photo in fold.labelled("valid") if len(photo.labels)]) for fold in by_fold]
    files = [*(record.weights_of(folder / "one") for folder in folders), *([start] if start else [])]
    key = record.digest([shares, record.fingerprint(*files), [[photo.id for photo in fold] for fold in shown]])
    path = runs / RECORD
    if path.is_file() and (kept := read_object(path)).get("made_from") == key:
        return {float(share): value for share, value in kept["det_map50"].items()}
    scores: dict[float, float] = {}
    for share in shares:
        each = []
        for folder, photos in zip(folders, shown, strict=True):
            found = score(folder, start, share, procedure, photos)
            if found is None:
                return {}
            each.append(found)
            say_progress(f"start: {len(scores) * len(folders) + len(each)}/{len(shares) * len(folders)} looks")
        scores[share] = float(np.mean(each))
    record.write_json(path, {"made_from": key, "det_map50": scores})
    return scores


@gpu_memory.released_afterwards()
def score(folder: Path, start: Path | None, share: float, procedure: Procedure, photos: Sequence[Photo]) -> float | None:
    """det mAP50 of FOLDER's detector with `share` of the start on `photos`; None where the start does not fit."""
    network = start_share.between(record.weights_of(folder / "one"), start, share, procedure.detector)
    if network is None:
        return None
    network = network.to(device_of(procedure.detector.device))
    described = Sidecar(**read_object(folder / "one" / "model.json"))
    n_categories = 1 + max((int(photo.labels.max()) for photo in photos if len(photo.labels)), default=0)
    return validation.score(Network(network, procedure.detector, described), tuple(photos), n_categories)["det_map50"]


def spread(photos: Sequence[Photo]) -> list[Photo]:
    """At most SHOWN of them, evenly."""
    picks = np.unique(np.linspace(0, len(photos) - 1, min(SHOWN, len(photos))).round().astype(int))
    return [photos[pick] for pick in picks]
