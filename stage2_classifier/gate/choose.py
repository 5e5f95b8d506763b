"""Which policy the gate gets, and whether it may change a name at all: nested, scene-grouped cross-validation.

Every gate is judged on photos it was not fitted on. Groups of scenes take turns: the outer turns judge the whole procedure,
the choice among the policies included; the inner turns, within the others, make that choice. Where different models looked at
different photos, a turn holds photos of one model's only. A policy is adopted only when the lower end of the procedure's 95 %
interval over `detector` is above 0; else the detector keeps its names, and nothing is lost. Without a class-aware detector
there is no such name to keep: the classifier's is the only one, and the policy is `raw`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple, TypeVar

import numpy as np

from fusion.gate import Gate
from photos.intervals import Interval, bootstrap, widened
from photos.score import Match, match, scores
from stage2_classifier.gate.calibrate import first_near_best, fit_policies, fit_policy, n_categories, predictions
from stage2_classifier.gate.evidence import Evidence, Progress, models_of, no_progress
from stage2_classifier.gate.ranks import scores_by_rank

Fitted = TypeVar("Fitted")
FitPolicies = Callable[[Sequence[str], Sequence[Evidence]], dict[str, Gate]]  # as `fit_policies`
# The policies, in order of preference: of those whose score is within WITHIN of the best the first is chosen.
TRIED = ("agree", "stacked", "product", "raw", "override", "detector")
OUTER, INNER = 5, 3  # chosen: turns that judge the procedure, and turns inside them that choose the policy
LEAST = 3  # derived: with fewer scenes an inner turn has nothing to fit on or to judge by, and no gate changes names
MIN_SCENES = 5  # chosen: an interval over fewer scenes resamples photos instead, and the report says so
FURTHER = 9  # taken: names of a box after its first, as CONTEST.md measured; more than any ranking can lose nothing by


def resampling_groups(scenes: np.ndarray) -> tuple[np.ndarray, str]:
    """What a report's intervals resample: the scenes, or the photos if there are fewer than MIN_SCENES; and the word for it."""
    if len(np.unique(scenes)) >= MIN_SCENES:
        return scenes, "scenes"
    return np.arange(len(scenes)), "photos"


def turns(groups: np.ndarray, count: int, rng: np.random.Generator, models: np.ndarray | None = None) -> np.ndarray:
    """The turn (P,) of each photo, of `count` or the next multiple of the number of `models`; a group's photos share theirs.

    All photos of a turn are of one of `models` (P,), as its scores are ranked together. ValueError for a group of several.
    """
    models = np.zeros(len(groups), np.int64) if models is None else models
    if len(np.unique(groups)) < len(set(zip(groups.tolist(), models.tolist(), strict=True))):
        raise ValueError("turns: got photos of one scene that different models looked at, must be the same models")
    turn, kinds = np.zeros(len(groups), np.int64), np.unique(models)
    each = -(-count // max(1, len(kinds)))
    for k, kind in enumerate(kinds):
        names, index = np.unique(groups[models == kind], return_inverse=True)
        turn[models == kind] = k * each + (rng.permutation(len(names)) % min(each, len(names)))[index]
    return turn


def by_turns(
    fit: Callable[[list[Evidence], np.ndarray], Fitted], evidence: Sequence[Evidence], groups: np.ndarray, turn: np.ndarray
) -> list[Fitted]:
    """For each photo what `fit` makes, a gate or several, of the photos of the other turns and their groups."""
    fitted = {}
    for k in np.unique(turn):
        others = turn != k
        fitted[k] = fit([e for e, other in zip(evidence, others, strict=True) if other], groups[others])
    return [fitted[k] for k in turn]


def match_by_rank(evidence: Sequence[Evidence], gates: Sequence[Gate], turn: np.ndarray) -> Match:
    """The decisions on all photos, matched to the truth as one ranking, in which each turn is ranked on its own."""
    truths = [e.truth for e in evidence]
    return match(truths, scores_by_rank(predictions(evidence, gates), truths, turn), n_categories(evidence))


class Selected(NamedTuple):
    """What the procedure offers, the `detector` gate of the same photos, and each policy's cross-fitted score."""

    offered: Gate
    keep: Gate
    scores: dict[str, float]


def cross_fitted_scores(
    evidence: Sequence[Evidence], groups: np.ndarray, seed: int, fit: FitPolicies = fit_policies
) -> dict[str, float]:
    """The score of each of TRIED on photos it was not fitted on, INNER turns, the same for all."""
    turn = turns(groups, INNER, np.random.default_rng(seed), models_of(evidence))
    fitted = by_turns(lambda others, _: fit(TRIED, others), evidence, groups, turn)
    gates = {policy: [by_policy[policy] for by_policy in fitted] for policy in TRIED}
    return {policy: scores(match_by_rank(evidence, gates[policy], turn)).score for policy in TRIED}


def select(evidence: Sequence[Evidence], groups: np.ndarray, seed: int, fit: FitPolicies = fit_policies) -> Selected:
    """The procedure: the policy with the best cross-fitted score, and beside it `detector`, fitted on all of `evidence`."""
    by_policy = cross_fitted_scores(evidence, groups, seed, fit) if len(np.unique(groups)) >= 2 else {}
    best = first_of_the_best(by_policy) if by_policy else "detector"
    gates = fit(list(dict.fromkeys((best, "detector"))), evidence)
    return Selected(gates[best], gates["detector"], by_policy)


def counted(progress: Progress, total: int) -> FitPolicies:
    """`fit_policies` that tells `progress` after each call how many of `total` are done."""
    calls = count(1)

    def fit(policies: Sequence[str], evidence: Sequence[Evidence]) -> dict[str, Gate]:
        gates = fit_policies(policies, evidence)
        progress(next(calls), total)
        return gates

    return fit


def fits_in_all(scenes: np.ndarray, turn: np.ndarray, models: np.ndarray) -> int:
    """How often `choose_gate` fits policies on a set of photos: for each outer turn, and for all photos, the inner turns and 1.

    >>> fits_in_all(np.arange(50), np.arange(50) % 5, np.zeros(50, int))
    24
    """
    n_fits = 0
    for fitted_on in [turn != k for k in np.unique(turn)] + [turn >= 0]:
        inner = turns(scenes[fitted_on], INNER, np.random.default_rng(0), models[fitted_on])
        n_fits += 1 + (len(np.unique(inner)) if len(np.unique(scenes[fitted_on])) >= 2 else 0)
    return n_fits


def first_of_the_best(scores: dict[str, float]) -> str:
    """The first of TRIED whose score is within WITHIN of the best.

    >>> first_of_the_best({"agree": 0.7, "stacked": 0.8, "product": 0.7, "raw": 0.801, "override": 0.1, "detector": 0.2})
    'stacked'
    """
    return TRIED[first_near_best([scores[policy] for policy in TRIED])]


@dataclass(frozen=True)
class Turn:
    """Photos, by id, and the gate that the procedure made of the photos of the other turns."""

    photos: list[int]
    gate: Gate


@dataclass(frozen=True)
class Choice:
    """The gate adopted and why: the procedure's gain over `detector` on held-out scenes, the gate that the
    procedure offered, and each policy's cross-fitted score.

    `turns` are of the procedure where it is adopted, else of `detector`: under their gates every photo is decided by what did
    not see it. There are none with fewer than two scenes.
    """

    gate: Gate
    gain: Interval | None
    offered: Gate
    scores: dict[str, float] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)


def choose_gate(
    evidence: Sequence[Evidence], scenes: np.ndarray, rng: np.random.Generator, progress: Progress = no_progress
) -> Choice:
    """The procedure's gate where its nested gain over `detector` is above 0 with its whole 95 % interval; else `detector`.

    Args:
        evidence: photos that no model was trained on. Where the classifier's calibration was fitted on them, it is that of the
            other scenes (`stage2_classifier.cross_fitting`), so that it does not flatter the classifier.
        scenes: (P,), which scene each is of; those of one scene are fitted on and judged together.
        rng: deals the turns and draws the bootstrap.
        progress: is told how many of all fits are done.
    """
    models = models_of(evidence)
    seed, turn = int(rng.integers(2**32)), turns(scenes, OUTER, rng, models)
    if all(e.merged.evidence is None for e in evidence) and any(e.probabilities is not None for e in evidence):
        return only_policy("raw", evidence, scenes, turn)
    if all(e.probabilities is None for e in evidence) or len(np.unique(scenes)) < LEAST:
        return only_policy("detector", evidence, scenes, turn)
    fit = counted(progress, fits_in_all(scenes, turn, models))
    nested = by_turns(lambda others, g: select(others, g, seed, fit), evidence, scenes, turn)
    offered_in_turns, kept_in_turns = [s.offered for s in nested], [s.keep for s in nested]
    matches = [match_by_rank(evidence, gates, turn) for gates in (offered_in_turns, kept_in_turns)]
    gain = widened(bootstrap(*matches, scenes, rng), *matches, scenes)
    offered, keep, by_policy = select(evidence, scenes, seed, fit)
    adopted = gain.low > 0
    judged = as_turns(evidence, offered_in_turns if adopted else kept_in_turns, turn)
    return Choice(with_further(offered if adopted else keep), gain, offered, by_policy, judged)


def only_policy(policy: str, evidence: Sequence[Evidence], scenes: np.ndarray, turn: np.ndarray) -> Choice:
    """The choice where there is only one: `policy`, with its cross-fitted score where there are two turns or more."""
    gate = fit_policy(policy, evidence)
    if len(np.unique(turn)) < 2:
        return Choice(with_further(gate), None, gate)
    gates = by_turns(lambda others, _: fit_policy(policy, others), evidence, scenes, turn)
    by_policy = {policy: scores(match_by_rank(evidence, gates, turn)).score}
    return Choice(with_further(gate), None, gate, by_policy, as_turns(evidence, gates, turn))


def as_turns(evidence: Sequence[Evidence], gates: Sequence[Gate], turn: np.ndarray) -> list[Turn]:
    """What `by_turns` made, a record for each turn."""
    by_turn = [np.flatnonzero(turn == k) for k in np.unique(turn)]
    return [Turn([evidence[i].photo.id for i in own], gates[own[0]]) for own in by_turn]


def with_further(gate: Gate) -> Gate:
    """`gate` with the names that cost nothing (`fusion.gate.decide` says why)."""
    return replace(gate, further=FURTHER)
