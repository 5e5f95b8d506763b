"""A gate that adopts what gains, refuses what does not, and is judged on scenes that it was not fitted on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from resampled_groups import groups_drawn_by
from simulated_evidence import C, simulated_photos

from fusion.boxes import Detections
from fusion.gate import Gate
from photos.intervals import Interval
from photos.score import scores
from stage2_classifier.gate import choose, fit
from stage2_classifier.gate.calibrate import fit_policy, score


@pytest.fixture(scope="module")
def adopted() -> choose.Choice:
    """The choice among 15 photos on which the classifier names far better than the detector."""
    evidence = simulated_photos(np.random.default_rng(0), 15, 0.3, 0.9)
    return choose.choose_gate(evidence, np.arange(15), np.random.default_rng(0))


def test_the_gate_adopts_a_classifier_that_names_better(adopted: choose.Choice) -> None:
    assert adopted.gain is not None
    assert adopted.gain.low > 0
    assert adopted.gate.policy == adopted.offered.policy == choose.first_of_the_best(adopted.scores) != "detector"
    assert adopted.gate.further == choose.FURTHER


@pytest.mark.slow
@pytest.mark.parametrize(
    ("detector", "classifier"),
    [pytest.param(0.9, 0.17, id="a classifier that knows nothing"), pytest.param(0.95, 0.5, id="a classifier that is worse")],
)
def test_the_gate_keeps_the_detector_where_changing_does_not_pay(detector: float, classifier: float) -> None:
    evidence = simulated_photos(np.random.default_rng(0), 15, detector, classifier)
    assert choose.choose_gate(evidence, np.arange(15), np.random.default_rng(0)).gate.policy == "detector"


def test_a_classifier_that_is_sure_and_wrong_is_refused() -> None:
    evidence = simulated_photos(np.random.default_rng(0), 15, 0.8, 0.17)
    loud = [replace(e, probabilities=np.eye(C, dtype=np.float32)[e.probabilities.argmax(1)]) for e in evidence]
    assert choose.choose_gate(loud, np.arange(15), np.random.default_rng(0)).gate.policy == "detector"


def test_without_a_classifier_there_is_nothing_to_choose() -> None:
    evidence = [replace(e, probabilities=None) for e in simulated_photos(np.random.default_rng(0), 8, 0.5, 0.5)]
    choice = choose.choose_gate(evidence, np.arange(8), np.random.default_rng(0))
    assert (choice.gate.policy, choice.gain) == ("detector", None)


def test_two_scenes_validate_nothing_however_many_photos_they_have() -> None:
    choice = choose.choose_gate(
        simulated_photos(np.random.default_rng(0), 12, 0.2, 0.9), np.arange(12) % 2, np.random.default_rng(0)
    )
    assert (choice.gate.policy, choice.gain) == ("detector", None)


def test_the_interval_that_decides_is_the_one_for_few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However sure the bootstrap over few scenes is: what `widened` makes of it is what adopts."""

    def unsure(drawn: Interval, *_: object) -> Interval:
        assert drawn.low > 0
        return replace(drawn, low=-0.01)

    monkeypatch.setattr(choose, "widened", unsure)
    choice = choose.choose_gate(
        simulated_photos(np.random.default_rng(0), 6, 0.2, 0.95), np.arange(6) % 3, np.random.default_rng(0)
    )
    assert choice.gain is not None
    assert (choice.gate.policy, choice.gain.low) == ("detector", -0.01)


def test_photos_are_resampled_where_scenes_are_too_few_and_it_says_so() -> None:
    assert choose.resampling_groups(np.array([0, 0, 1, 1]))[1] == "photos"
    groups, word = choose.resampling_groups(np.arange(5))
    assert (word, groups.tolist()) == ("scenes", [0, 1, 2, 3, 4])


def test_photos_of_one_scene_share_their_turn() -> None:
    groups = np.repeat(np.arange(9), 4)
    turn = choose.turns(groups, choose.OUTER, np.random.default_rng(0))
    assert all(len(set(turn[groups == g])) == 1 for g in range(9))
    assert len(set(turn)) == choose.OUTER


def test_inner_turns_too_hold_scenes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a gate is fitted on holds all photos of a scene or none."""
    scenes, fitted_on = np.repeat(np.arange(6), 4), []

    def fit(policies: Sequence[str], others: list) -> dict[str, Gate]:
        fitted_on.append(np.bincount(scenes[[e.photo.id for e in others]], minlength=6).tolist())
        return {policy: Gate("detector") for policy in policies}

    monkeypatch.setattr(choose, "fit_policies", fit)
    choose.choose_gate(simulated_photos(np.random.default_rng(0), 24, 0.5, 0.5, per_photo=2), scenes, np.random.default_rng(0))
    assert all(set(counts) <= {0, 4} for counts in fitted_on)
    assert min(counts.count(4) for counts in fitted_on) == 2  # of three or four scenes in an inner turn the others


def test_no_scene_is_fitted_on_and_judged() -> None:
    evidence, groups = simulated_photos(np.random.default_rng(0), 12, 0.5, 0.5), np.repeat(np.arange(4), 3)
    seen: list[set[int]] = []

    def fit(others: list, g: np.ndarray) -> Gate:
        assert len(others) == len(g)
        seen.append({groups[e.photo.id] for e in others})
        return Gate(further=len(seen))

    turn = choose.turns(groups, 3, np.random.default_rng(0))
    gates = choose.by_turns(fit, evidence, groups, turn)
    assert all(groups[i] not in seen[gate.further - 1] for i, gate in enumerate(gates))


def test_gates_that_differ_by_a_scale_of_scores_are_judged_alike() -> None:
    evidence, turn = simulated_photos(np.random.default_rng(0), 12, 0.6, 0.6), np.arange(12) % 3
    evidence[4] = replace(evidence[4], merged=Detections.empty(C), probabilities=np.zeros((0, C), np.float32))
    one = [Gate("raw")] * 12
    another = [Gate("raw", objectness_exponent=exponent) for exponent in (0.25, 1.0, 4.0)] * 4
    assert score(evidence, one) != score(evidence, another)
    assert scores(choose.match_by_rank(evidence, one, turn)) == scores(choose.match_by_rank(evidence, another, turn))


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "classifier"), [(0.9, 0.9), (0.95, 0.5), (0.3, 0.9)], ids=["as good", "worse", "better"])
def test_on_new_photos_the_gate_never_loses(detector: float, classifier: float) -> None:
    rng = np.random.default_rng(7)
    fit, test = simulated_photos(rng, 15, detector, classifier), simulated_photos(rng, 60, detector, classifier)
    gate = replace(choose.choose_gate(fit, np.arange(15), rng).gate, further=0)
    keep = fit_policy("detector", fit)
    gained = score(test, [gate] * 60) - score(test, [keep] * 60)
    assert gained >= (0.1 if classifier > detector else -0.002)


def test_turns_hold_photos_of_one_model_only() -> None:
    groups, models = np.repeat(np.arange(12), 2), np.repeat([0, 1, 2], 8)
    turn = choose.turns(groups, choose.OUTER, np.random.default_rng(0), models)
    assert all(len(set(models[turn == k])) == 1 for k in np.unique(turn))
    assert all(len(set(turn[groups == g])) == 1 for g in range(12))
    assert len(set(turn)) == 6  # the next multiple of three
    alone = choose.turns(groups, choose.OUTER, np.random.default_rng(0), np.zeros(24, int))
    assert np.array_equal(alone, choose.turns(groups, choose.OUTER, np.random.default_rng(0)))


def test_a_scene_that_two_models_looked_at_is_refused() -> None:
    with pytest.raises(ValueError, match="photos of one scene that different models looked at"):
        choose.turns(np.array([0, 0, 1]), 2, np.random.default_rng(0), np.array([0, 1, 1]))


def test_models_on_other_scales_are_ranked_apart() -> None:
    """Of two models the scores of one are a thousandth: as two they count alike, as one the second comes last."""
    rng = np.random.default_rng(0)
    evidence = simulated_photos(rng, 12, 0.6, 0.6)
    missed = [
        replace(e, merged=replace(e.merged, boxes=e.merged.boxes + np.float32(i % 2) * 1000)) for i, e in enumerate(evidence)
    ]
    small = [replace(e, merged=replace(e.merged, scores=e.merged.scores / (1 if i < 6 else 1000)), models=str(i < 6))
             for i, e in enumerate(missed)]  # fmt: skip
    gates = [Gate("raw")] * 12
    assert score([replace(e, models="") for e in small], gates) != pytest.approx(score(small, gates))
    large = [replace(e, merged=m.merged) for e, m in zip(small, missed, strict=True)]
    assert score(small, gates) == score(large, gates)


def without_class_evidence(evidence: list) -> list:
    return [replace(e, merged=replace(e.merged, evidence=None)) for e in evidence]


def test_without_a_class_aware_detector_the_classifier_names() -> None:
    evidence = without_class_evidence(simulated_photos(np.random.default_rng(0), 15, 0.3, 0.6))
    choice = choose.choose_gate(evidence, np.arange(15), np.random.default_rng(0))
    assert (choice.gate.policy, choice.gain, list(choice.scores)) == ("raw", None, ["raw"])
    assert sorted(photo for turn in choice.turns for photo in turn.photos) == list(range(15))
    assert "the only ones" in fit.in_words(choice)
    alone = choose.choose_gate(evidence[:1], np.zeros(1, int), np.random.default_rng(0))
    assert (alone.gate.policy, alone.turns) == ("raw", [])


def test_the_turns_of_a_choice_are_gates_that_did_not_see_their_photos(adopted: choose.Choice) -> None:
    assert sorted(photo for turn in adopted.turns for photo in turn.photos) == list(range(15))
    assert adopted.gate.policy != "detector"
    plain = choose.choose_gate(simulated_photos(np.random.default_rng(0), 9, 0.95, 0.3), np.arange(9), np.random.default_rng(0))
    for turn in plain.turns:
        others = [e for e in simulated_photos(np.random.default_rng(0), 9, 0.95, 0.3) if e.photo.id not in turn.photos]
        assert turn.gate == fit_policy("detector", others)


@pytest.mark.parametrize("scenes", [np.arange(9), np.arange(9) // 3, np.array([0, 0, 0, 0, 0, 0, 1, 2, 3])])
def test_every_fit_is_told_of(scenes: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(choose, "fit_policies", lambda policies, _: {policy: Gate("detector") for policy in policies})
    evidence = simulated_photos(np.random.default_rng(0), 9, 0.5, 0.5, per_photo=2)
    choose.choose_gate(evidence, scenes, np.random.default_rng(0), lambda done, total: told.append((done, total)))
    assert told == [(i + 1, len(told)) for i in range(len(told))]
    assert len(told) > 3


def test_the_gain_is_over_scenes_and_not_over_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "fit_policies", lambda policies, _: {policy: Gate("detector") for policy in policies})
    drawn, scenes = groups_drawn_by(choose, monkeypatch), np.repeat(np.arange(6), 2)
    choice = choose.choose_gate(simulated_photos(np.random.default_rng(0), 12, 0.5, 0.5), scenes, np.random.default_rng(0))
    assert choice.gain is not None and (choice.gain.n_groups, drawn) == (6, [6])
