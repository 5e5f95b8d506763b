"""What became of each box that is shown and of each product on a photo: right, wrong name, invented, missed."""

from dataclasses import dataclass

import numpy as np

from fusion.boxes import Detections, iou
from photos.score import MIN_IOU, Truth, counted

RIGHT, WRONG_NAME, INVENTED, MISSED = "right", "wrong name", "invented", "missed"
KINDS = (RIGHT, WRONG_NAME, MISSED, INVENTED)  # in the order of a legend


@dataclass(frozen=True, eq=False)
class Verdicts:
    """The boxes shown on one photo, best first, and its M products.

    Args:
        shown: N boxes; those in regions to ignore are left out.
        product: int64 (N,), the product that each box is counted for, -1 where there is none: it is invented.
        right: bool (N,), whether that product has the box's name.
        missed: bool (M,), products that no box is counted for.
    """

    shown: Detections
    product: np.ndarray
    right: np.ndarray
    missed: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each of KINDS."""
        right, invented = int(self.right.sum()), int((self.product < 0).sum())
        values = (right, len(self.shown) - right - invented, int(self.missed.sum()), invented)
        return dict(zip(KINDS, values, strict=True))

    def kind(self, i: int) -> str:
        """The verdict on the i-th box shown."""
        return INVENTED if self.product[i] < 0 else RIGHT if self.right[i] else WRONG_NAME


def verdicts(truth: Truth, shown: Detections, named: bool = True) -> Verdicts:
    """Match `shown` to the products: first under their names, by the rule of the score; what is left by place alone.

    A second box on a product that has one is invented. Where no model names (not `named`) a box on any product is right.
    """
    shown = shown.take(np.argsort(-shown.scores, kind="stable"))
    overlap = np.where((o := iou(shown.boxes, truth.boxes)) >= MIN_IOU, o, -1.0)  # (N, M)
    same_name = (shown.labels[:, None] == truth.labels[None]) | (not named)  # (N, M)
    product = np.full(len(shown), -1, np.int64)
    free = np.ones(len(truth.boxes), bool)
    assign(np.where(same_name, overlap, -1.0), product, free)
    right = product >= 0
    assign(overlap, product, free)
    counts = counted(truth, shown, product >= 0)
    return Verdicts(shown.take(counts), product[counts], right[counts], free)


def assign(overlap: np.ndarray, product: np.ndarray, free: np.ndarray) -> None:
    """Give each box without a product, best first, the free one that it overlaps most, in place; of equals the last listed.

    Args:
        overlap: (N, M), -1 where the two do not fit.
        product: (N,), -1 where there is none yet.
        free: (M,).
    """
    for i in np.flatnonzero(product < 0).tolist():
        values = np.where(free, overlap[i], -1.0)  # (M,)
        if values.max(initial=-1.0) >= 0:
            product[i] = len(values) - 1 - int(values[::-1].argmax())
            free[product[i]] = False
