"""What a procedure is worth: its figures on photos that neither its models nor its gate saw, and what is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fitting.cross_fit import folders
from fitting.pooled import Pooled
from fusion.boxes import Detections, join
from fusion.ensemble import Ensemble
from fusion.gate import MIN_FIRST_SCORE, Gate
from photos.folds import Folds
from photos.intervals import Intervals, interval
from photos.score import Match, average_precisions, match, scores, without_names
from runs.counted import counted
from stage2_classifier.gate.calibrate import n_categories, predictions, score
from stage2_classifier.gate.choose import Choice, resampling_groups, with_further
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.oracles import ON_TRUE_BOXES, on_true_boxes, with_true_names
from stage2_classifier.gate.ranks import scores_of_same_rank


class Lone(NamedTuple):
    """Names whose photos are all in one fold: the models that judge them learned them from no shelf, those of a refit did.

    Attributes:
        count: of them, `of` all names with boxes.
        ap: their mean AP.
        others: the figures with these names left out of the mean over names.
    """

    count: int
    of: int
    ap: float
    others: Intervals

    def __str__(self) -> str:
        """As text."""
        one = self.count == 1
        names = f"{self.count} of {counted(self.of, 'name')} {'is' if one else 'are'} on photos of one fold only"
        whose = "it" if one else "them"
        score, cls = self.others.score, self.others.cls_map50
        return (
            f"{names}: the models judged here learned {whose} from no shelf, those that ship did. The mean AP of {whose} is "
            f"{self.ap:.3f}; without {whose} cls {cls.value:.3f}, score {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        )


def lone_names(by_fold: Sequence[Folds]) -> list[int]:
    """The names whose photos are all in one fold; none where there is but one, left out for good."""
    if len(by_fold) < 2:
        return []
    in_folds = Counter(i for fold in by_fold for i in {int(i) for photo in fold.photos("valid") for i in photo.labels})
    return sorted(i for i, count in in_folds.items() if count == 1)


def lone_of(matched: Match, names: Sequence[int], scenes: np.ndarray) -> Lone | None:
    """What lone `names` take from the figures of `matched`, on photos of `scenes` (P,); None without any, or any others."""
    aps = average_precisions(matched.classification)  # (C,)
    known = np.flatnonzero(~np.isnan(aps))
    alone = np.intersect1d(known, np.array(names, np.int64))
    if not 0 < len(alone) < len(known):
        return None
    left = without_names(matched, alone.tolist())
    return Lone(len(alone), len(known), float(aps[alone].mean()), interval(left, resampling_groups(scenes)[0]))


def cross_fitted(pooled: Pooled, choice: Choice) -> Intervals:
    """det, cls and score of the whole procedure: each photo by models and a gate that did not see it, over scenes.

    How much of its start the detector keeps, how boxes are merged, which of them are named, how prototypes count, and whether
    the gate changes names at all, was decided on all photos; all else is nested. The photos are one ranking, as at judgment;
    objectness of the folds' models is compared as it is, which costs a little where their scales differ. Where no choice
    `is_nested`, the gate that ships has seen the photos.
    """
    return interval(judged_match(pooled, choice), resampling_groups(pooled.scenes)[0])


def judged_match(pooled: Pooled, choice: Choice) -> Match:
    """What `cross_fitted` is of: the decisions on all photos, matched to the truth."""
    evidence = pooled.evidence
    nested = is_nested(evidence, choice)
    decisions = nested_decisions(evidence, choice) if nested else predictions(evidence, [choice.gate] * len(evidence))
    return match([e.truth for e in evidence], decisions, n_categories(evidence))


def is_nested(evidence: Sequence[Evidence], choice: Choice) -> bool:
    """Whether the choice has for each photo a gate that did not see its scene; it has none where all are of one scene."""
    judged = {photo for turn in choice.turns for photo in turn.photos}
    return all(e.photo.id in judged for e in evidence)


def resampled(pooled: Pooled) -> str:
    """What the intervals of `cross_fitted` are over: scenes, or photos where there are too few scenes."""
    return resampling_groups(pooled.scenes)[1]


def on_test(evidence: Sequence[Evidence], scenes: np.ndarray, gate: Gate) -> Intervals:
    """The same figures of the models and the gate that ship, on the test part that the set came with."""
    return intervals(evidence, predictions(evidence, [gate] * len(evidence)), scenes)


def intervals(evidence: Sequence[Evidence], decisions: Sequence[Detections], scenes: np.ndarray) -> Intervals:
    """The figures of `decisions` on the photos of `evidence`."""
    matched = match([e.truth for e in evidence], decisions, n_categories(evidence))
    return interval(matched, resampling_groups(scenes)[0])


def nested_decisions(evidence: Sequence[Evidence], choice: Choice) -> list[Detections]:
    """Each photo decided by the gate of its turn, all on the scale of scores of `choice.gate`, with further names.

    Gates of two turns may score in different ways, as by an exponent and by a regression.
    """
    of_photo = {photo: (k, turn.gate) for k, turn in enumerate(choice.turns) for photo in turn.photos}
    turn = np.array([of_photo[e.photo.id][0] for e in evidence])
    gates = [of_photo[e.photo.id][1] for e in evidence]
    own, shipped = (
        predictions(evidence, [replace(gate, further=0) for gate in several]) for several in (gates, [choice.gate] * len(gates))
    )
    listed = predictions(evidence, [with_further(gate) for gate in gates])
    return [with_tail(*both) for both in zip(scores_of_same_rank(own, shipped, turn), listed, strict=True)]


def with_tail(first: Detections, listed: Detections) -> Detections:
    """`first`, the boxes under their first names, and the further names of `listed`, which score below all of those."""
    raised = replace(first, scores=np.maximum(first.scores, np.float32(MIN_FIRST_SCORE)))
    return join([raised, listed.take(listed.scores < MIN_FIRST_SCORE)])


def name_oracle(evidence: Sequence[Evidence]) -> float:
    """The score if every box that is found had its true name, in the order of objectness."""
    named = [with_true_names(e, e.merged) for e in evidence]
    return scores(match([e.truth for e in evidence], named, n_categories(evidence))).score


def box_oracle(pooled: Pooled, ensemble: Ensemble, runs: Path, by_fold: Sequence[Folds]) -> float:
    """The score if the boxes were the true ones, named by the fold's classifier that did not see the photo."""
    perfect: list[Evidence] = []
    for folder, fold in zip(folders(runs, by_fold), by_fold, strict=True):
        own = {photo.id for photo in fold.photos("valid")}
        perfect += on_true_boxes(folder, ensemble, [e for e in pooled.evidence if e.photo.id in own])
    return score(perfect, [ON_TRUE_BOXES] * len(perfect))
