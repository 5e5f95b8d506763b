"""The worst and the best photos, with every box and its verdict."""

from typing import NamedTuple

import numpy as np

from photos.data import Photo
from reporting.held_out import HeldOut
from reporting.pictures import View
from reporting.verdicts import MISSED, RIGHT, WRONG_NAME, Verdicts

WORST, BEST = 6, 2  # chosen: photos; a whole photo is 150 to 300 kB of the page


class Box(NamedTuple):
    """A box to draw: x, y, width, height in pixels of the photo; its verdict, and what it is said to be."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


class ShownPhoto(NamedTuple):
    """A photo with its boxes; `quality` is the F1 of what is shown on it."""

    name: str
    view: View
    width: int
    height: int
    boxes: list[Box]
    counts: dict[str, int]
    quality: float


class Gallery(NamedTuple):
    """The worst photos, the worst first, and the best, the best first; out of how many."""

    worst: list[ShownPhoto]
    best: list[ShownPhoto]
    photos: int


def gallery(held_out: HeldOut) -> Gallery:
    """The photos to show; none is in both lists."""
    quality = np.array([f1(own) for own in held_out.verdicts])  # (P,)
    order = np.argsort(quality, kind="stable").tolist()
    worst, best = order[:WORST], order[WORST:][::-1][:BEST]
    return Gallery([shown(held_out, i) for i in worst], [shown(held_out, i) for i in best], len(order))


def f1(own: Verdicts) -> float:
    """F1 of the boxes shown, named ones; 1 for an empty shelf on which nothing is shown."""
    total = len(own.shown) + len(own.missed)
    return 2 * float(own.right.sum()) / total if total else 1.0


def shown(held_out: HeldOut, i: int) -> ShownPhoto:
    """The i-th photo."""
    photo, own = held_out.photos[i], held_out.verdicts[i]
    boxes = [*said_boxes(held_out, photo, own), *missed_boxes(held_out, photo, own)]
    return ShownPhoto(photo.name, View(photo.id), photo.width, photo.height, boxes, own.counts, f1(own))


def said_boxes(held_out: HeldOut, photo: Photo, own: Verdicts) -> list[Box]:
    """The boxes shown, the surest last, so that it lies on top."""
    boxes = []
    for i in reversed(range(len(own.shown))):
        kind, name = own.kind(i), held_out.names[int(own.shown.labels[i])] if held_out.named else "a product"
        if kind == WRONG_NAME:
            text = f"called {name}, is {held_out.names[int(photo.labels[own.product[i]])]}"
        else:
            text = name if kind == RIGHT else f"called {name}, no product is labelled here, or it has a box already"
        boxes.append(box_of(own.shown.boxes[i], kind, f"{text} (score {float(own.shown.scores[i]):.2f})"))
    return boxes


def missed_boxes(held_out: HeldOut, photo: Photo, own: Verdicts) -> list[Box]:
    """The products without a box."""
    return [
        box_of(photo.boxes[i], MISSED, f"missed: {held_out.names[int(photo.labels[i])]}")
        for i in np.flatnonzero(own.missed).tolist()
    ]


def box_of(box: np.ndarray, kind: str, text: str) -> Box:
    """A box (4,), x0 y0 x1 y1, as the page draws it."""
    x0, y0, x1, y1 = (round(float(value), 1) for value in box)
    return Box(x0, y0, round(x1 - x0, 1), round(y1 - y0, 1), kind, text)
