"""The health of the data: long tail, box sizes, near-duplicates, places that look unlabelled, and what is odd."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from fusion.boxes import iou
from photos.data import Dataset
from photos.folds import Folds
from photos.overview.anomalies import Anomaly, anomalies
from photos.overview.summary import Summary, summarise
from reporting.charts import Chart, histogram, long_tail
from reporting.held_out import HeldOut
from reporting.pictures import View, crop_of

PLACES = 12  # chosen: crops shown of places that look unlabelled
SURE = 0.5  # chosen: a box on no product looks like one if it scores more than this share of the boxes that are right
APART = 0.2  # chosen: IoU; a box that overlaps a labelled one more is a second box on that product
LISTED = 5  # chosen: groups of like photos named


class Place(NamedTuple):
    """A crop that the models take for a product and that nobody labelled: what they call it, and how sure they are."""

    crop: View
    label: int
    score: float


class Health(NamedTuple):
    """What a data set is like; `summary` is that of `hylle data`, `alike` names groups of photos of one scene."""

    summary: Summary
    tail: Chart
    sizes: Chart | None
    odd: list[Anomaly]
    sound: list[str]
    alike: list[str]
    alike_how: str
    unlabelled: list[Place]
    unlabelled_count: int


def health(held_out: HeldOut) -> Health:
    """The health of the whole set; unlabelled places on the photos judged alone."""
    dataset = held_out.folds.dataset
    summary = summarise(dataset)
    found = list(anomalies(summary))
    places = unlabelled(held_out)
    return Health(
        summary,
        tail_of(dataset),
        sizes_of(dataset),
        [anomaly for anomaly in found if anomaly.text],
        [anomaly.looked_for for anomaly in found if not anomaly.text],
        scenes(held_out.folds),
        how_scenes_were_found(held_out.folds),
        places[:PLACES],
        len(places),
    )


def tail_of(dataset: Dataset) -> Chart:
    """Boxes of each product."""
    labels = np.concatenate([np.zeros(0, np.int64), *(photo.labels for photo in dataset.photos)])
    counts = np.bincount(labels, minlength=len(dataset.categories))  # (C,)
    few = int((counts < 5).sum())
    alt = f"Long tail: from {counts.max()} boxes of the most frequent product to {counts.min()}; {few} products have under 5."
    return long_tail(counts, alt)


def sizes_of(dataset: Dataset) -> Chart | None:
    """The shorter side of each box, in percent of its photo's long side; None without boxes."""
    relative = [
        100 * (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(1) / max(photo.width, photo.height)
        for photo in dataset.photos
        if len(photo.boxes)
    ]
    if not relative:
        return None
    values = np.concatenate(relative)
    alt = f"Box sizes: the shorter side is {np.median(values):.1f} % of the photo's long side in the median."
    return histogram(values, "shorter side, % of the photo's long side", alt)


def scenes(folds: Folds) -> list[str]:
    """The photos of scenes with two or more, the largest scenes first, as text."""
    groups: dict[int, list[str]] = defaultdict(list)
    for photo in folds.dataset.photos:
        groups[folds.scene[photo.id]].append(photo.name)
    large = sorted((names for names in groups.values() if len(names) > 1), key=len, reverse=True)
    lines = [
        " = ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "") for names in large
    ]
    more = len(lines) - LISTED
    return lines[:LISTED] + ([f"and {more} more scenes of several photos"] if more > 0 else [])


def how_scenes_were_found(folds: Folds) -> str:
    """What makes photos one scene here."""
    groups = folds.settings.groups
    if groups == "auto":
        return "near-duplicates and photos that show the same place, by what they look like"
    return "every photo counts as a scene of its own" if groups == "photo" else f"as {groups.split(' ')[0]} says"


def unlabelled(held_out: HeldOut) -> list[Place]:
    """Boxes on no product that score like those that are right, the surest first."""
    right = np.concatenate([np.zeros(0), *(own.shown.scores[own.right] for own in held_out.verdicts)])
    least = float(np.quantile(right, SURE)) if len(right) else 1.0
    places = []
    for photo, own in zip(held_out.photos, held_out.verdicts, strict=True):
        apart = iou(own.shown.boxes, photo.boxes).max(1, initial=0.0) < APART  # (N,)
        for i in np.flatnonzero((own.product < 0) & apart & (own.shown.scores >= least)).tolist():
            crop, label = crop_of(photo.id, own.shown.boxes[i]), int(own.shown.labels[i])
            places.append(Place(crop, label, float(own.shown.scores[i])))
    return sorted(places, key=lambda place: -place.score)
