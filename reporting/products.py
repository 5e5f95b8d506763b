"""Every product: how often it is labelled, how well it is found, and a labelled crop of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from photos.data import Photo
from photos.score import average_precisions
from reporting.held_out import HeldOut, lone_in
from reporting.pictures import View, crop_of

EDGE = 2.0  # chosen: pixels; a box that comes closer to the photo's edge may be cut off
MOST_READ = 60  # chosen: photos that are read for the crops


class Product(NamedTuple):
    """One product: boxes in the whole set and on the photos judged, AP and recall there (None: no box), and a crop if any.

    Where no model knows names, recall is of its boxes found, and there is no AP. `lone`: it is on photos of one fold only, so
    the models that were judged learned it from no shelf.
    """

    label: int
    name: str
    boxes: int
    judged: int
    ap: float | None
    recall: float | None
    crop: View | None
    lone: bool = False


class ProductTable(NamedTuple):
    """All products, those that need help first; `absent` says of how many there is no crop, and why."""

    rows: list[Product]
    examples: dict[int, View]
    absent: list[str]


def product_table(held_out: HeldOut) -> ProductTable:
    """The table: by AP, the worst first; products that were not judged last."""
    dataset, n = held_out.folds.dataset, len(held_out.names)
    counts = sum((np.bincount(photo.labels, minlength=n) for photo in dataset.photos), np.zeros(n, np.int64))  # (C,)
    judged, right = right_of(held_out, n)
    ap = average_precisions(held_out.match.classification)  # (C,)
    ap = np.pad(ap, (0, max(0, n - len(ap))), constant_values=np.nan)
    examples, lone = examples_of(dataset.photos), set(lone_in(held_out))
    rows = [
        Product(
            k,
            held_out.names[k],
            int(counts[k]),
            int(judged[k]),
            None if np.isnan(ap[k]) or not held_out.named else float(ap[k]),
            right[k] / judged[k] if judged[k] else None,
            examples.get(k),
            k in lone,
        )
        for k in range(n)
    ]
    rows.sort(key=lambda row: (row.ap is None, row.ap, -row.judged))
    return ProductTable(rows, examples, absences(rows))


def right_of(held_out: HeldOut, n: int) -> tuple[np.ndarray, np.ndarray]:
    """For each product (C,): its boxes on the photos judged, and those shown under its name."""
    judged, right = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for photo, own in zip(held_out.photos, held_out.verdicts, strict=True):
        judged += np.bincount(photo.labels, minlength=n)
        right += np.bincount(photo.labels[own.product[own.right]], minlength=n)
    return judged, right


def examples_of(photos: Sequence[Photo]) -> dict[int, View]:
    """By label the largest labelled box, a whole one if there is any, on the photos that are read.

    These are the fewest that show the most products, greedily.
    """
    unseen = {int(label) for photo in photos for label in photo.labels.tolist()}
    left = {i: set(photo.labels.tolist()) for i, photo in enumerate(photos) if len(photo.labels)}
    read: list[Photo] = []
    while unseen and left and len(read) < MOST_READ:
        best = max(left, key=lambda i: len(left[i] & unseen))
        if not left[best] & unseen:
            break
        unseen -= left.pop(best)
        read.append(photos[best])
    largest: dict[int, tuple[tuple[bool, float], View]] = {}
    for photo in read:
        for box, label, rank in zip(photo.boxes, photo.labels.tolist(), ranks(photo), strict=True):
            if label not in largest or rank > largest[label][0]:
                largest[label] = rank, crop_of(photo.id, box)
    return {label: view for label, (_, view) in largest.items()}


def ranks(photo: Photo) -> list[tuple[bool, float]]:
    """How good an example each box is: whether the photo's edge leaves it whole, then its shorter side in pixels."""
    inside = (photo.boxes[:, :2] > EDGE).all(1) & (photo.boxes[:, 2:] < np.array([photo.width, photo.height]) - EDGE).all(
        1
    )  # (N,)
    sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(1)  # (N,)
    return list(zip(inside.tolist(), sides.tolist(), strict=True))


def absences(rows: Sequence[Product]) -> list[str]:
    """What the table lacks, in words."""
    unjudged = sum(row.judged == 0 for row in rows)
    bare = sum(row.boxes == 0 for row in rows)
    unshown = sum(row.crop is None and row.boxes > 0 for row in rows)
    lines = {
        f"{unjudged} products have no box on the photos judged, so nothing is known of them": unjudged,
        f"{bare} products have no box in the set": bare,
        f"{unshown} products have no crop here: only {MOST_READ} photos are read for crops": unshown,
    }
    return [line for line, count in lines.items() if count]
