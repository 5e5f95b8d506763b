"""Which way of merging boxes the default ensemble gets: chosen among a few on held-out photos, from raw outputs that are there.

No single way is the best on all shelves: on dense ones WBF moves the boxes of neighbours into each other and soft-NMS finds
more; on sparse ones WBF does. The choice is judged as the gate's is (`choose`): scenes take turns, each turn's photos are
merged by what the other scenes choose, and the det mAP50 of all of them is compared with the default's, paired, over scenes. A
turn holds photos of one model's only and is ranked on its own. There are two offers, in this order:

1. The best of all WAYS is adopted where the whole 95 % interval of its gain is above 0.
2. Else the best of those with fewer views, which take less of the detector's time, is adopted where the whole interval is
   above -WITHIN: it costs less and is shown to lose no more than that.

Else, and with fewer than LEAST scenes, the default stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from fusion.boxes import Detections
from fusion.ensemble import Ensemble
from fusion.merge import Merge
from fusion.pipeline import merge
from photos.intervals import Interval, bootstrap, widened
from photos.score import Match, Truth, match, scores
from stage2_classifier.gate.calibrate import WITHIN
from stage2_classifier.gate.choose import LEAST, OUTER, turns
from stage2_classifier.gate.evidence import DetectorOutputs
from stage2_classifier.gate.ranks import scores_by_rank


@dataclass(frozen=True)
class Way:
    """A way of merging: the method, and whether the mirrored views take part."""

    merge: Merge
    flip: bool


DEFAULT = "wbf 0.55, view and flip"
# Chosen from experiments/studies/merging.py: each was the best on one kind of shelf at least; of equals the first is taken.
WAYS = {
    DEFAULT: Way(Merge("wbf", iou=0.55), flip=True),
    "soft-nms 0.25, view and flip": Way(Merge("soft_nms", sigma=0.25), flip=True),
    "soft-nms 0.25, one view": Way(Merge("soft_nms", sigma=0.25), flip=False),
    "soft-wbf 0.55, view and flip": Way(Merge("soft_wbf", iou=0.55), flip=True),
    "soft-wbf 0.55, one view": Way(Merge("soft_wbf", iou=0.55), flip=False),
}


@dataclass(frozen=True)
class Offer:
    """A way that all photos choose, the nested gain in det mAP50 over DEFAULT of choosing so, and what each turn chose.

    `in_turns` are pairs: the ids of the photos left out, and the way that the other scenes chose for them.
    """

    way: str
    gain: Interval
    in_turns: list[tuple[list[int], str]]


@dataclass(frozen=True)
class MergingChoice:
    """The way adopted, one of WAYS, and why.

    Attributes:
        way: the name.
        views: how many views of a photo it looks at, over all detectors; `default_views`: how many DEFAULT does.
        offers: what was offered in place of DEFAULT: the best of all, then the best with fewer views; empty where there were
            fewer than LEAST scenes.
        map50: the det mAP50 of each way on all photos, those of each model ranked apart.
    """

    way: str
    views: int
    default_views: int
    offers: list[Offer] = field(default_factory=list)
    map50: dict[str, float] = field(default_factory=dict)


class Candidates(NamedTuple):
    """P photos: ids, truths, the models (P,) that looked at them; by way their merged boxes, and how many views it takes."""

    photos: np.ndarray
    truths: list[Truth]
    models: np.ndarray
    merged: dict[str, list[Detections]]
    views: dict[str, int]


def choose_merging(
    outputs: Sequence[DetectorOutputs], ensemble: Ensemble, scenes: np.ndarray, rng: np.random.Generator
) -> MergingChoice:
    """The way of merging for `ensemble`, which has the default one, by the rule of this module.

    Args:
        outputs: what its detectors say of photos that they were not trained on; one item for each set of models that looked.
        ensemble: as `default_ensemble` makes it.
        scenes: (P,), which scene each photo is of, in the order of `outputs`; those of one scene are chosen on and judged
            together.
        rng: deals the turns and draws the bootstrap.
    """
    candidates = candidates_of(outputs, ensemble)
    views, everything = candidates.views, np.arange(len(candidates.truths))
    map50 = {way: det_map50(candidates, way, everything) for way in WAYS}
    if len(np.unique(scenes)) < LEAST:
        return MergingChoice(DEFAULT, views[DEFAULT], views[DEFAULT], [], map50)
    turn, adopted, offers = turns(scenes, OUTER, rng, candidates.models), DEFAULT, []
    seed = int(rng.integers(2**32))  # the same resamples for both offers
    cheaper = [way for way in WAYS if views[way] < views[DEFAULT]]
    for ways, must_exceed in ((list(WAYS), 0.0), (cheaper, -WITHIN)):
        if ways and adopted == DEFAULT:
            offers.append(offer_of(candidates, ways, scenes, turn, np.random.default_rng(seed)))
            adopted = offers[-1].way if offers[-1].gain.low > must_exceed else DEFAULT
    return MergingChoice(adopted, views[adopted], views[DEFAULT], offers, map50)


def merged_by(ensemble: Ensemble, way: str) -> Ensemble:
    """`ensemble` that merges in a way of WAYS; views that take no part are left out."""
    kept, method = kept_views(ensemble, way), WAYS[way].merge
    detectors = [
        replace(member, views=[member.views[i] for i in own]) for member, own in zip(ensemble.detectors, kept, strict=True)
    ]
    merging = replace(method, max_det=ensemble.merge.max_det, evidence_iou=ensemble.merge.evidence_iou)
    return replace(ensemble, detectors=detectors, merge=merging)


def kept_views(ensemble: Ensemble, way: str) -> list[list[int]]:
    """The positions of the views of each detector that take part in a way of WAYS."""
    return [
        [i for i, view in enumerate(member.views) if WAYS[way].flip or not view.get("flip", False)]
        for member in ensemble.detectors
    ]


def candidates_of(outputs: Sequence[DetectorOutputs], ensemble: Ensemble) -> Candidates:
    """The photos of `outputs`, merged in every way; boxes and scores only, without names."""
    nameless = replace(ensemble, detectors=[replace(member, evidence_weight=0.0) for member in ensemble.detectors])
    merged: dict[str, list[Detections]] = {}
    for way in WAYS:
        asked, kept = merged_by(nameless, way), kept_views(ensemble, way)
        merged[way] = [merge(raw, asked) for own in outputs for raw in own.in_views(kept).raw]
    photos = [photo for own in outputs for photo in own.photos]
    models = np.unique([own.key for own in outputs for _ in own.photos], return_inverse=True)[1].reshape(-1)
    truths, ids = [Truth.of(photo).nameless() for photo in photos], np.array([photo.id for photo in photos], np.int64)
    return Candidates(ids, truths, models, merged, {way: sum(map(len, kept_views(ensemble, way))) for way in WAYS})


def offer_of(
    candidates: Candidates, ways: Sequence[str], scenes: np.ndarray, turn: np.ndarray, rng: np.random.Generator
) -> Offer:
    """The best of `ways`, and what choosing among them gains on scenes that did not take part in the choice."""
    by_turn = {int(k): best_way(candidates, ways, np.flatnonzero(turn != k)) for k in np.unique(turn)}
    nested = matched_in_turns(candidates, [by_turn[int(k)] for k in turn], turn)
    default = matched_in_turns(candidates, [DEFAULT] * len(turn), turn)
    gain = widened(bootstrap(nested, default, scenes, rng), nested, default, scenes)
    in_turns = [(candidates.photos[turn == k].tolist(), way) for k, way in by_turn.items()]
    return Offer(best_way(candidates, ways, np.arange(len(turn))), gain, in_turns)


def best_way(candidates: Candidates, ways: Iterable[str], chosen_on: np.ndarray) -> str:
    """Of the ways within WITHIN of the best on the photos at the positions `chosen_on`, the first with the fewest views."""
    map50 = {way: det_map50(candidates, way, chosen_on) for way in ways}
    close = [way for way, value in map50.items() if value >= max(map50.values()) - WITHIN]
    return min(close, key=candidates.views.__getitem__)


def det_map50(candidates: Candidates, way: str, positions: np.ndarray) -> float:
    """The det mAP50 of a way on the photos at `positions`, those of each model ranked apart."""
    detections, truths = ([of_all[i] for i in positions] for of_all in (candidates.merged[way], candidates.truths))
    return scores(match(truths, scores_by_rank(detections, truths, candidates.models[positions]), 1)).det_map50


def matched_in_turns(candidates: Candidates, ways: Sequence[str], turn: np.ndarray) -> Match:
    """Each photo merged in the way that is given for it, matched to the truth, each turn ranked on its own."""
    detections = [candidates.merged[way][i] for i, way in enumerate(ways)]
    return match(candidates.truths, scores_by_rank(detections, candidates.truths, turn), 1)


def in_words(choice: MergingChoice) -> str:
    """The choice as text, in one line."""
    if not choice.offers:
        return f"{choice.way} kept: fewer than {LEAST} scenes to choose on"
    offers = ", ".join(f"{offer.way} {_gain_in_words(offer.gain)}" for offer in choice.offers)
    verdict = "adopted" if choice.way != DEFAULT else "kept"
    views = f"views a photo: {choice.views}, by default {choice.default_views}"
    return f"{choice.way} {verdict} ({views}); on offer, nested det mAP50 over the default: {offers}"


def _gain_in_words(gain: Interval) -> str:
    return f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], {gain.n_groups} scenes"
