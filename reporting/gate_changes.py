"""What the gate changed: boxes that are shown under another name than the detector gave them."""

from typing import NamedTuple

import numpy as np

from fusion.gate import gate_input
from reporting.held_out import HeldOut
from reporting.pictures import View, crop_of

CROPS = 12  # chosen: shown of each kind
MENDED, SPOILED, NEITHER = "mended", "spoiled", "both names wrong"


class Change(NamedTuple):
    """One crop: the labels before and after, and the true one, -1 where the box is on no product."""

    crop: View
    before: int
    after: int
    true: int

    @property
    def kind(self) -> str:
        """Whether the change was for the better."""
        return MENDED if self.after == self.true else SPOILED if self.before == self.true else NEITHER


class Changes(NamedTuple):
    """The changes by kind, all counted and the surest few of each; out of how many boxes; `absent` where none could be."""

    counts: dict[str, int]
    shown: dict[str, list[Change]]
    boxes: int
    absent: str = ""


def changes(held_out: HeldOut) -> Changes:
    """What the gate did on the photos judged."""
    boxes = sum(len(own.shown) for own in held_out.verdicts)
    if all(e.merged.evidence is None for e in held_out.evidence):
        return Changes({}, {}, boxes, "this run has no class-aware detector, so the classifier's names are the only ones")
    if all(e.probabilities is None for e in held_out.evidence):
        return Changes({}, {}, boxes, "this run has no classifier, so the detector's names are the only ones")
    found = sorted(all_changes(held_out), key=lambda pair: -pair[0])
    by_kind = {kind: [change for _, change in found if change.kind == kind] for kind in (MENDED, SPOILED, NEITHER)}
    counts = {kind: len(own) for kind, own in by_kind.items()}
    return Changes(counts, {kind: own[:CROPS] for kind, own in by_kind.items()}, boxes)


def all_changes(held_out: HeldOut) -> list[tuple[float, Change]]:
    """Every change with the score of its box."""
    found = []
    for k, own in enumerate(held_out.verdicts):
        e = held_out.evidence[k]
        given = gate_input(e.merged, e.probabilities, held_out.gates[k])
        if given is None or not len(own.shown):
            continue
        before = given.detector.argmax(1)[same_boxes(own.shown.boxes, e.merged.boxes)]  # (N,)
        for i in np.flatnonzero(before != own.shown.labels).tolist():
            product = int(own.product[i])
            true = int(e.photo.labels[product]) if product >= 0 else -1
            change = Change(crop_of(e.photo.id, own.shown.boxes[i]), int(before[i]), int(own.shown.labels[i]), true)
            found.append((float(own.shown.scores[i]), change))
    return found


def same_boxes(boxes: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The position (N,) of each of `boxes` (N, 4) in `among` (M, 4), which holds them all."""
    place = {box.tobytes(): i for i, box in enumerate(among)}
    return np.array([place[box.tobytes()] for box in boxes], np.int64)
