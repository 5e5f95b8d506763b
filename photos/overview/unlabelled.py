"""Photos without boxes: are they empty shelves, or did nobody label them? A guess from the set alone, and why."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from photos.data import Photo

MANY = 5.0  # chosen: boxes; where nearly all labelled photos have so many, one with none is hardly a shelf
NEARLY_ALL = 5.0  # chosen: percent of the labelled photos that may have fewer
RUN = 3  # chosen: photos in a row from which they are no chance


class WithoutBoxes(NamedTuple):
    """The names of photos without boxes; `guess` is "empty", "unlabelled", "ignored" or "none", and `why` says it in words.

    "ignored": all of them have regions to ignore, so somebody has looked at them; "none": there are no such photos.
    """

    names: tuple[str, ...]
    guess: str
    why: str


def without_boxes(photos: Sequence[Photo]) -> WithoutBoxes:
    """The photos without boxes, and the guess; `photos` in the order in which the set lists them, and they may be none."""
    bare = [photo for photo in photos if not len(photo.boxes)]
    return WithoutBoxes(tuple(photo.name for photo in bare), *_guess(photos, bare))


def _guess(photos: Sequence[Photo], bare: Sequence[Photo]) -> tuple[str, str]:
    """The guess and why."""
    counts = [len(photo.boxes) for photo in photos if len(photo.boxes)]
    if not bare:
        return "none", "every photo has boxes"
    if all(len(photo.ignored) for photo in bare):
        return "ignored", "each of them has regions that are marked to be ignored"
    if not counts:
        return "unlabelled", "no photo of the set has a box"
    if len(bare) >= RUN and (part := _all_at_the_end(photos)):
        return "unlabelled", f"they are the last photos of {part}, as if labelling stopped there"
    quantile = float(np.percentile(counts, NEARLY_ALL))  # between two counts: what is told of it is counted
    least = int(quantile)
    if quantile >= MANY:
        return "unlabelled", f"of the photos with boxes {percent(np.greater_equal(counts, least))} have {least} or more"
    few = percent(np.less_equal(counts, least))
    return "empty", f"photos with few boxes are common here: of those with boxes {few} have {least} or fewer"


def percent(those: NDArray[np.bool_]) -> str:
    """The share of the true ones among `those`, as text; "100 %" only where all are.

    >>> percent(np.array([True, True, False])), percent(np.array([True]))
    ('66 %', '100 %')
    """
    return f"{int(100 * those.mean())} %"


def _all_at_the_end(photos: Sequence[Photo]) -> str:
    """The part, or `the set`, if the photos without boxes are all in one part and behind all others of it; else empty."""
    parts = {photo.part for photo in photos if not len(photo.boxes)}
    own = [bool(len(photo.boxes)) for photo in photos if photo.part in parts]
    labelled = sum(own)
    return (parts.pop() or "the set") if len(parts) == 1 and labelled and all(own[:labelled]) else ""
