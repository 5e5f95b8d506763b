"""Products that a person named on photos and the model does not know: their ids, and which of them a confirmed box has now."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from stage2_classifier.class_map import LARGEST_ID


def named_ever(model: Mapping[int, str], confirmations: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """The name of each category id: the model's products, and those of all `confirmations`, also of boxes that are gone.

    >>> named_ever({7: "Te"}, [{"boxes": [{"category_id": 8, "name": "Saft"}]}])
    {7: 'Te', 8: 'Saft'}
    """
    known = dict(model)
    for row in confirmations:
        known |= {box["category_id"]: box["name"] for box in row["boxes"] if box["category_id"] not in known}
    return known


def free_id(taken: Collection[int]) -> int:
    """An id that no product has, or had: the one after the largest, or the smallest where that is beyond LARGEST_ID.

    >>> free_id([]), free_id([3, 7]), free_id([0, LARGEST_ID])
    (0, 8, 1)
    """
    after = max(taken, default=-1) + 1
    return after if after <= LARGEST_ID else next(number for number in range(LARGEST_ID) if number not in taken)
