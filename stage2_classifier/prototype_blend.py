"""How much a name's prototype counts beside the classifier's own word, by how many boxes the name has in training.

Fitted on crops that the classifier was not trained on, of which some show names that training shelves show seldom or never:
each crop is judged with the counts of the classifier that left it out. Adopted as the gate is (`gate.choose`): scenes take
turns, each turn is named by what the other scenes choose, and the whole 95 % interval of the gain in the contest's score, the
boxes given, must be above 0. Else the classifier's own word stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from fusion.boxes import Detections
from fusion.models import blended
from photos.intervals import Interval, bootstrap, widened
from photos.score import Match, Truth, match, scores
from runs.counted import counted
from stage2_classifier.gate.choose import LEAST, OUTER, turns
from stage2_classifier.gate.ranks import scores_by_rank

TEMPERATURES = (0.03, 0.06, 0.1)  # chosen: of cosines in [-1, 1]; 0.1 lets a cosine 0.2 higher count 7 times as much
MOST = (0.3, 0.6, 0.9)  # chosen: weights of a name without any box
HALVES = (0.5, 2.0, 8.0)  # chosen: boxes at which the weight is half of that


@dataclass(frozen=True)
class Blend:
    """Cosines are divided by `temperature`; the votes for a name of n boxes weigh `most` x `half` / (`half` + n)."""

    temperature: float
    most: float
    half: float

    def weights(self, counts: np.ndarray) -> list[float]:
        """The weight of each name, by its `counts` (C,) of boxes in training.

        >>> Blend(0.1, 0.6, 2.0).weights(np.array([0, 2, 4]))
        [0.6, 0.3, 0.2]
        """
        return [round(float(self.most * self.half / (self.half + n)), 6) for n in counts]


GRID = [Blend(*values) for values in product(TEMPERATURES, MOST, HALVES)]


class HeldOutCrops(NamedTuple):
    """Crops that one classifier was not trained on.

    Attributes:
        probabilities: (N, C), or (N, C + 1) with background last.
        cosines: (N, C), to its prototypes.
        counts: (C,), boxes of each name that it was trained on.
        labels: (N,), C or more for background.
        photos: (N,), the id of each crop's photo.
    """

    probabilities: np.ndarray
    cosines: np.ndarray
    counts: np.ndarray
    labels: np.ndarray
    photos: np.ndarray


@dataclass(frozen=True)
class BlendChoice:
    """The blend adopted (None: none), the one on offer, its nested gain, how many names and crops had no box in training."""

    blend: Blend | None
    offered: Blend | None
    gain: Interval | None
    names_without: int
    crops_without: int


def decided(crops: HeldOutCrops, blend: Blend | None) -> np.ndarray:
    """The probabilities (N, C) of the names under `blend`."""
    names = crops.cosines.shape[1]
    if blend is None:
        return crops.probabilities[:, :names]
    return blended(crops.probabilities, crops.cosines, blend.weights(crops.counts), blend.temperature)[:, :names]


def as_detections(crops: HeldOutCrops, blend: Blend | None) -> list[Detections]:
    """For each photo, by ascending id, its crops as boxes apart from each other, each with its best name."""
    probabilities = decided(crops, blend)
    best, labels = probabilities.max(1, initial=0.0), probabilities.argmax(1).astype(np.int64)
    return [
        Detections(apart(len(own)), best[own].astype(np.float32), labels[own], None)
        for own in (np.flatnonzero(crops.photos == photo) for photo in np.unique(crops.photos))
    ]


def truths(crops: HeldOutCrops) -> list[Truth]:
    """The same photos' true names; a crop of background has none."""
    by_photo = []
    for photo in np.unique(crops.photos):
        own = crops.labels[crops.photos == photo]
        real = own < crops.cosines.shape[1]
        by_photo.append(Truth(apart(len(own))[real], own[real].astype(np.int64)))
    return by_photo


def apart(count: int) -> np.ndarray:
    """So many unit squares (count, 4) that do not overlap."""
    left = 2 * np.arange(count, dtype=np.float32)
    return np.stack([left, 0 * left, left + 1, 0 * left + 1], 1)


class Judged(NamedTuple):
    """The photos of all classifiers: truths, scenes, the turn of each, the number of names, and the decisions by blend."""

    truths: list[Truth]
    scenes: np.ndarray
    turn: np.ndarray
    names: int
    decisions: dict[Blend | None, list[Detections]]

    def match(self, blends: Sequence[Blend | None]) -> Match:
        """Each photo named under its own of `blends`, matched to the truth, each turn ranked on its own."""
        chosen = [self.decisions[blend][i] for i, blend in enumerate(blends)]
        return match(self.truths, scores_by_rank(chosen, self.truths, self.turn), self.names)


def choose_blend(crops: Sequence[HeldOutCrops], scene_of: Mapping[int, int], rng: np.random.Generator) -> BlendChoice:
    """The blend by the rule of this module.

    Args:
        crops: one item for each classifier; no photo is in two, and those of one scene are in the same.
        scene_of: by photo id.
        rng: deals the turns and draws the bootstrap.
    """
    without = [(own.counts == 0)[own.labels[own.labels < len(own.counts)]] for own in crops]
    unseen = {int(n) for own in crops for n in np.unique(own.labels) if n < len(own.counts) and own.counts[n] == 0}
    told = (len(unseen), int(sum(w.sum() for w in without)))
    photos = np.concatenate([np.zeros(0, np.int64), *[np.unique(own.photos) for own in crops]])
    models = np.concatenate([np.zeros(0, np.int64), *[np.full(len(np.unique(own.photos)), k) for k, own in enumerate(crops)]])
    scenes = np.array([scene_of[int(photo)] for photo in photos], np.int64)
    if len(np.unique(scenes)) < LEAST:
        return BlendChoice(None, None, None, *told)
    turn = turns(scenes, OUTER, rng, models)
    decisions = {blend: [d for own in crops for d in as_detections(own, blend)] for blend in [None, *GRID]}
    judged = Judged([t for own in crops for t in truths(own)], scenes, turn, len(crops[0].counts), decisions)
    matches = {blend: judged.match([blend] * len(photos)) for blend in decisions}
    by_turn = {int(k): best(matches, turn != k) for k in np.unique(turn)}
    nested = judged.match([by_turn[int(k)] for k in turn])
    gain = widened(bootstrap(nested, matches[None], scenes, rng), nested, matches[None], scenes)
    offered = best(matches, np.ones(len(turn), bool))
    return BlendChoice(offered if gain.low > 0 else None, offered, gain, *told)


def best(matches: Mapping[Blend | None, Match], chosen_on: np.ndarray) -> Blend | None:
    """The blend, or none, of the highest score on the photos where `chosen_on` (P,); the first of equals."""
    weight = chosen_on.astype(np.int64)
    return max(matches, key=lambda blend: scores(matches[blend], weight).score)


def in_words(choice: BlendChoice) -> str:
    """The choice as text, in one line."""
    crops = counted(choice.crops_without, "held-out crop")
    seen = f"{crops} of {counted(choice.names_without, 'name')} without a box in training"
    if choice.gain is None:
        return f"prototypes not used: fewer than {LEAST} scenes to choose on; {seen}"
    gain = f"{choice.gain.value:+.4f} [{choice.gain.low:+.4f}, {choice.gain.high:+.4f}], {choice.gain.n_groups} scenes"
    how = choice.offered and f"temperature {choice.offered.temperature}, {choice.offered.most} halved at {choice.offered.half}"
    return f"prototypes {'adopted' if choice.blend else 'not used'} ({how or 'none on offer'}); nested gain {gain}; {seen}"
