"""A detector's boxes, to learn crops from: its box error, its false positives, and, with `--folds K`, its own boxes.

`python -m stage2_classifier.train --folds K` trains K detectors like R/one, each on the train photos of all scenes but a K-th,
and keeps the boxes that each finds on the scenes it has not seen in R/oof/fold_k.json. So the classifier learns from boxes as
they are at judgment; those that R/one finds on its own training photos are too good. A stopped run resumes with its fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion.boxes import iou
from fusion.decode import run_detector
from fusion.ensemble import Member
from fusion.models import Model, read_object
from photos import trained_on
from photos.data import Photo, read_image
from photos.dealing import allowed_turns
from photos.fingerprint import of_file, of_training
from photos.folds import Folds
from runs import process, record
from runs.counted import counted
from runs.first_command import train
from stage1_detector import config as detector_config
from stage1_detector import model_yaml
from stage1_detector.pretrained import start
from stage1_detector.recipes import rehearsal
from stage2_classifier.config import Columns
from stage2_classifier.crops import DRAWN, Boxes, box_error, with_background
from stage2_classifier.training_request import Plan

MIN_SCORE = 0.05  # chosen: the objectness above which a detector's box is worth learning from, right or wrong
NO_BOXES = np.zeros((0, 4), np.float32)
Progress = Callable[[str], None]


def detected_boxes(detector: Path, photos: Sequence[Photo]) -> list[Boxes]:
    """The boxes (N, 4) above MIN_SCORE that the model DETECTOR finds on each photo; none without that file."""
    if not detector.is_file():
        return [NO_BOXES] * len(photos)
    model = Model(detector)
    member = Member.of(detector.name, model.sidecar, conf=MIN_SCORE)
    return [run_detector(model, member, read_image(p.path, p.width, p.height))[0].boxes for p in photos]


def measured_error(photos: Sequence[Photo], detected: Sequence[Boxes]) -> np.ndarray:
    """The box error (4,) of a detector that finds the boxes `detected` on `photos`, which it was not trained on."""
    pairs = [matched(photo.boxes, boxes) for photo, boxes in zip(photos, detected, strict=True)]
    return box_error([truth for truth, _ in pairs], [boxes for _, boxes in pairs])


def matched(truth: Boxes, detected: Boxes) -> tuple[Boxes, Boxes]:
    """The true boxes that some detected box (N, 4) overlaps by half or more, and that box for each: both (M, 4)."""
    overlap = iou(truth, detected) if len(detected) else np.zeros((len(truth), 1))  # (T, N)
    hit = overlap.max(1, initial=0.0) >= 0.5
    best = overlap.argmax(1)[hit]
    return truth[hit], detected[best] if len(detected) else NO_BOXES


def background(photos: Sequence[Photo], detected: Sequence[Boxes], outputs: Columns, seed: int) -> tuple[Photo, ...]:
    """`photos` with boxes of no product added, wrongly `detected` ones too; unchanged without an output for no product."""
    if not outputs.background:
        return tuple(photos)
    rng = np.random.default_rng((seed, len(photos)))
    return tuple(with_background(photo, outputs, rng, boxes) for photo, boxes in zip(photos, detected, strict=True))


def with_detected(photo: Photo, detected: Boxes) -> Photo:
    """`photo` with those of `detected` (N, 4) added that overlap a true box by half or more, under the name of the nearest.

    They are marked as DRAWN, so that they are not shaken: they have the detector's error already.
    """
    overlap = iou(detected, photo.boxes)  # (N, T)
    hit = overlap.max(1, initial=0.0) >= 0.5
    labels = photo.labels[overlap[hit].argmax(1)] if hit.any() else np.zeros(0, np.int64)
    return replace(
        photo,
        boxes=np.concatenate([photo.boxes, detected[hit]]),
        labels=np.concatenate([photo.labels, labels]),
        annotation_ids=np.concatenate([photo.annotation_ids, np.full(len(labels), DRAWN)]),
    )


# -- detectors of the folds ------------------------------------------------------------------------------------------------


def out_of_fold(runs: Path, parts: Folds, plan: Plan, progress: Progress) -> list[Boxes]:
    """What detectors find on each train photo, in order, that were not trained on any photo of its scene.

    They are kept in R/oof, a folder for each settings. Raises ValueError for more folds than the train photos have scenes,
    without R/one, and where another process trains a fold.
    """
    from sklearn.model_selection import GroupKFold  # here: it takes a second to load

    photos, settings = parts.photos("train"), fold_settings(runs, plan, parts)
    scenes = np.array([parts.scene[photo.id] for photo in photos])
    if not 2 <= plan.folds <= len(np.unique(scenes)):
        raise ValueError(f"--folds: got {plan.folds}, {allowed_turns(len(np.unique(scenes)), 'part train')}")
    if plan.weights is not None:
        refuse_seen(plan.weights, photos)
    by_photo: dict[int, Boxes] = {}
    for k, (rest, own) in enumerate(GroupKFold(plan.folds).split(scenes, groups=scenes)):
        path = runs / "oof" / record.digest(settings) / f"fold_{k}.json"
        if not path.is_file():
            with process.claimed(path.with_suffix("")):  # another classifier may be learning from the same folds
                progress(f"fold {k + 1} of {plan.folds}: a detector on {counted(len(rest), 'photo')}")
                model = train_fold(path.with_suffix(""), [photos[i] for i in rest], parts, settings, plan, progress)
                boxes = detected_boxes(model, [photos[i] for i in own])
                values = {str(photos[i].id): box.round(2).tolist() for i, box in zip(own, boxes, strict=True)}
                record.write_json(path, {"settings": settings, "boxes": values})
        content = read_object(path)["boxes"]
        by_photo |= {int(i): np.array(boxes, np.float32).reshape(-1, 4) for i, boxes in content.items()}
    return [by_photo[photo.id] for photo in photos]


def refuse_seen(weights: Path, photos: Sequence[Photo]) -> None:
    """Raises ValueError where the weights that the folds' detectors start from have seen photos that a fold leaves out."""
    known = trained_on.seen_by(weights)["train"] & {of_file(photo.path) for photo in photos}
    if known:
        raise ValueError(
            f"--folds: {weights} has seen {len(known)} of the train photos, so no boxes would be out of fold; "
            "train R/one and the folds from other weights"
        )


def fold_settings(runs: Path, plan: Plan, parts: Folds) -> dict[str, Any]:
    """What the folds' detectors are made from: R/one's settings, its folds, their number, the photos and their boxes.

    Raises ValueError without R/one.
    """
    run = runs / "one" / "run.json"
    if not run.is_file():
        raise ValueError(f"--folds: {run} not found; train it first: {train(runs, 'one')}")
    trained = read_object(run)["settings"]
    if kind := next((name for name in ("teacher", "distill_model") if trained.get(name)), None):
        raise ValueError(
            f"--folds: {run.parent} was taught by another detector ({kind}), as the folds' would not be; leave it out"
        )
    config = detector_config.from_settings(trained)
    weights = start(plan.weights, config).path
    given = weights and record.fingerprint(weights)
    if trained.get("pretrained") != given:
        raise ValueError(
            f"--detector-weights: got {plan.weights}, must be the file that {run.parent} started from"
            if trained.get("pretrained") else f"--detector-weights: got {plan.weights}, but {run.parent} started from none"
        )  # fmt: skip
    file = model_yaml.own_file(getattr(config, "model", ""))
    model_file = file and record.fingerprint(file)
    if trained.get("model_file", model_file) != model_file:  # older runs do not record it
        raise ValueError(f"--folds: {file or trained['model']} is not what {run.parent} was trained from; put that back")
    config = replace(config, synthetic_ratio=0.0)  # synthetic photos hold facings of the photos that a fold leaves out
    if plan.quick:
        config = rehearsal(config)
    made_from = of_training(parts.photos("train"), parts.photos("valid"), None)
    made_from |= {"model_file": model_file} if model_file else {}
    return {"detector": asdict(config), "weights": given, "folds": trained["folds"], "count": plan.folds} | made_from


def train_fold(
    out: Path, photos: Sequence[Photo], parts: Folds, settings: dict[str, Any], plan: Plan, progress: Progress
) -> Path:
    """Train a detector on `photos` in the folder OUT and return its exported model; resumes a stopped one."""
    from stage1_detector import families, validation  # here: ultralytics takes seconds to load, and most runs do without
    from stage1_detector.engine import Job
    from stage1_detector.sidecar import sidecar

    config = detector_config.from_settings(settings["detector"])
    trained_on.write(out, photos, parts.labelled("valid"), [] if plan.weights is None else [plan.weights])
    both = {"train": tuple(photos), "valid": parts.labelled("valid")}
    described, weights = sidecar(config, None, both), start(plan.weights, config).path
    scorer = validation.network_score(config, described, both["valid"], len(parts.dataset.categories))
    fit = families.FAMILIES[config.family].fit
    trained = fit(Job(config, both, ["product"], out, progress, scorer, weights, resume=record.is_stopped(out)))
    network = families.FAMILIES[config.family].load(trained)
    validation.finish(network, out, config, described, both["valid"], len(parts.dataset.categories))
    return out / "model.onnx"
