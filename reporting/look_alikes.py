"""Products that are taken for each other: the mistaken crops beside labelled examples of both names."""

from collections import defaultdict
from typing import NamedTuple

from reporting.held_out import HeldOut
from reporting.pictures import View, crop_of

PAIRS, CROPS = 10, 3  # chosen: pairs shown, and mistaken crops of each


class Confusion(NamedTuple):
    """A product called by another's name: both labels, how often, and some of the crops."""

    true: int
    said: int
    count: int
    crops: list[View]


def confusions(held_out: HeldOut) -> list[Confusion]:
    """All pairs, the most frequent first; of each the surest mistakes."""
    crops: dict[tuple[int, int], list[tuple[float, View]]] = defaultdict(list)
    for photo, own in zip(held_out.photos, held_out.verdicts, strict=True):
        for i, product in enumerate(own.product.tolist()):
            if product >= 0 and not own.right[i]:
                pair = int(photo.labels[product]), int(own.shown.labels[i])
                crops[pair].append((float(own.shown.scores[i]), crop_of(photo.id, photo.boxes[product])))
    by_count = sorted(crops.items(), key=lambda item: -len(item[1]))
    return [
        Confusion(true, said, len(views), [view for _, view in sorted(views, key=lambda pair: -pair[0])[:CROPS]])
        for (true, said), views in by_count
    ]
