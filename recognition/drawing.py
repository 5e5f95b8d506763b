"""Boxes and names on a photo, so that a shelf of 200 facings can be read.

Each product has a number, which stands in its boxes: once for a run of like facings in a row, and with as much of the name as
the run has room for. A margin lists all numbers with their full names. Labels lie inside their boxes and keep off each other.
"""

import colorsys
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from PIL import ImageDraw

from recognition.facings import places
from recognition.fonts import font_for, width_of
from recognition.margin import Colour, Line, ink_on, with_margin

Image = npt.NDArray[np.uint8]
LONG_SIDES = (1000, 2000)  # chosen: pixels; a photo whose longer side is outside is scaled to them before it is drawn on
LABEL_SHARE, LABEL_SIZES = 0.14, (12, 26)  # chosen: of a box's median height, and least and most pixels
LEAST_LETTERS = 4  # chosen: of a name; with room for fewer a label is the number alone
GOLDEN = 0.618034  # derived: steps of the golden ratio give neighbours in a list hues that are far apart
MOST_APART = 0.5  # chosen: widths of the narrower box; like facings further apart are two runs
NEUTRAL = (120, 120, 120)  # of the margin's chip for a product that has several colours on the photo
PAD = 2  # pixels around the text of a label


class Mark(NamedTuple):
    """A box (4,), pixels of the photo, to be drawn. Boxes of one `key` have one number and one name; "" draws no label."""

    box: npt.NDArray[np.floating]
    key: int
    name: str
    colour: Colour


class Run(NamedTuple):
    """Like facings close beside each other in a row: their boxes (K, 4) on the canvas, from the left, and what they share."""

    boxes: npt.NDArray[np.floating]
    mark: Mark


def colour_of(key: int) -> Colour:
    """A colour, RGB, for a product, the same on every photo."""
    value, saturation = ((0.95, 0.85), (0.75, 1.0), (1.0, 0.6))[key % 3]
    red, green, blue = colorsys.hsv_to_rgb(key * GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def annotated(image: Image, marks: Sequence[Mark], heading: Sequence[Line] = ()) -> Image:
    """The photo, uint8 (H, W, 3) RGB, with `marks` drawn on it, and beside it a margin: `heading`, then every name."""
    scale = float(np.clip(1.0, *(side / max(image.shape[:2]) for side in LONG_SIDES)))
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    picture = Pictures.fromarray(np.asarray(scaled, np.uint8))
    runs = runs_of(marks, scale)
    named = [run for run in runs if run.mark.name]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(run.mark.key for run in named), 1)}
    draw_runs(picture, runs, numbers)
    lines = [*heading, *_names(named, numbers)]
    return np.asarray(with_margin(picture, lines) if lines else picture, np.uint8)


def runs_of(marks: Sequence[Mark], scale: float) -> list[Run]:
    """The runs of like marks, row by row from the top, each row from the left; boxes times `scale`."""
    if not marks:
        return []
    boxes = np.stack([mark.box for mark in marks]) * scale  # (N, 4)
    numbers = places(boxes)
    order = np.lexsort((numbers[:, 1], numbers[:, 0])).tolist()
    members = [order[:1]]
    for i, j in pairwise(order):
        narrower = float((boxes[[i, j], 2] - boxes[[i, j], 0]).min())
        close = numbers[i, 0] == numbers[j, 0] and boxes[j, 0] - boxes[i, 2] <= MOST_APART * narrower
        if close and (marks[i].key, marks[i].colour) == (marks[j].key, marks[j].colour):
            members[-1].append(j)
        else:
            members.append([j])
    return [Run(boxes[group], marks[group[0]]) for group in members]


def draw_runs(picture: Pictures.Image, runs: Sequence[Run], numbers: dict[int, int]) -> None:
    """Draw all boxes, then all labels, in place. `numbers` are the products' by key."""
    draw = ImageDraw.Draw(picture)
    if not runs:
        return
    height = float(np.median(np.concatenate([run.boxes[:, 3] - run.boxes[:, 1] for run in runs])))
    line = 1 if height < 40 else 2 if height < 120 else 3
    for run in runs:
        for box in run.boxes:
            x0, y0, x1, y1 = np.rint(box).tolist()
            draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=run.mark.colour, width=line)
    size, taken = int(np.clip(LABEL_SHARE * height, *LABEL_SIZES)), list[tuple[float, ...]]()
    for run in runs:
        if run.mark.key in numbers and run.mark.name:
            taken.append(_draw_label(draw, run, numbers[run.mark.key], taken, size))


def _draw_label(
    draw: ImageDraw.ImageDraw, run: Run, number: int, taken: Sequence[tuple[float, ...]], size: int
) -> tuple[float, ...]:
    """Draw the label of a run where it hides no other one, if there is such a place; returns its rectangle, x0 y0 x1 y1."""
    first, last = run.boxes[0], run.boxes[-1]
    text = label_text(run, number, float(last[2] - first[0]) - 2 * PAD, size)
    font = font_for(text, size)
    width, height = width_of(text, size) + 2 * PAD, size + 2 * PAD
    tops = [first[1] + share * max(0.0, float(first[3] - first[1]) - height) for share in (0.0, 1.0, 0.5, 0.25, 0.75)]
    places_for_it = [(float(first[0]), float(top), float(first[0]) + width, float(top) + height) for top in tops]
    rectangle = next((place for place in places_for_it if not any(_overlap(place, other) for other in taken)), places_for_it[0])
    draw.rectangle(rectangle, fill=run.mark.colour)
    x, middle = rectangle[0] + PAD, (rectangle[1] + rectangle[3]) / 2
    draw.text((x, middle), text, font=font, fill=ink_on(run.mark.colour), anchor="lm")
    return rectangle


def label_text(run: Run, number: int, room: float, size: int) -> str:
    """The number of a run, and as much of the count and of the name as fit into `room` pixels at a font of `size`."""
    count = f" ×{len(run.boxes)}" if len(run.boxes) > 1 else ""
    name = " ".join(run.mark.name.split())

    def with_letters(letters: int) -> str:
        return f"{number} {name if letters == len(name) else name[:letters].rstrip() + '…'}{count}"

    def too_long(letters: int) -> bool:
        return width_of(with_letters(letters), size) > room

    if not too_long(len(name)):
        return with_letters(len(name))
    letters = bisect_left(range(len(name)), True, key=too_long) - 1
    if letters >= LEAST_LETTERS:
        return with_letters(letters)
    return f"{number}{count}" if width_of(f"{number}{count}", size) <= room else str(number)


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _names(named: Sequence[Run], numbers: dict[int, int]) -> list[Line]:
    """A line of the margin for each product: its number, its colour, its name, its facings."""
    counts = {key: sum(len(run.boxes) for run in named if run.mark.key == key) for key in numbers}
    marks = {run.mark.key: run.mark for run in reversed(named)}
    colours = {key: {run.mark.colour for run in named if run.mark.key == key} for key in numbers}
    return [
        Line(
            f"{' '.join(marks[key].name.split())}  ×{counts[key]}",
            min(colours[key]) if len(colours[key]) == 1 else NEUTRAL,
            str(number),
        )
        for key, number in numbers.items()
    ]
