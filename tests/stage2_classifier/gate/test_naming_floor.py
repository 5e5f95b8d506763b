"""The floor leaves what no name is worth unnamed, names what it is worth, and says what that costs on photos it did not see."""

from dataclasses import replace

import numpy as np
import pytest
from resampled_groups import groups_drawn_by
from simulated_evidence import C, simulated_names, simulated_photos

from fusion.boxes import Detections, sureness
from fusion.gate import Gate, decide
from photos.intervals import Interval
from photos.score import Scores, evaluate
from stage2_classifier.gate import naming_floor
from stage2_classifier.gate.calibrate import predictions
from stage2_classifier.gate.choose import Choice, as_turns, only_policy, turns
from stage2_classifier.gate.evidence import Evidence, withheld
from stage2_classifier.gate.naming_floor import (
    ALLOWED,
    MARGIN,
    NO_NAMES,
    NamingChoice,
    fit_naming_floor,
    highest_within,
    unnamed_share,
)

PHOTOS, FAINT = 8, 8
SCENES = np.arange(PHOTOS)


def with_faint_boxes(e: Evidence, rng: np.random.Generator) -> Evidence:
    """The photo with FAINT more boxes, on no product, of objectness below 0.1."""
    corners = np.stack([np.arange(FAINT) * 20, np.full(FAINT, 200)], 1)
    names = simulated_names(rng, rng.integers(0, C, FAINT), 0.9, 0.9)
    merged = Detections(
        np.concatenate([e.merged.boxes, np.concatenate([corners, corners + 15], 1)]).astype(np.float32),
        np.concatenate([e.merged.scores, rng.uniform(0.01, 0.1, FAINT)]).astype(np.float32),
        np.zeros(len(e.merged) + FAINT, np.int64),
        None if e.merged.evidence is None else np.concatenate([e.merged.evidence, names]),
    )
    return replace(e, merged=merged, probabilities=np.concatenate([e.probabilities, names]))


def photos(detector: float = 0.3, class_aware: bool = True) -> list[Evidence]:
    """PHOTOS with 8 products, all found and well named by the classifier, and FAINT boxes that are none."""
    rng = np.random.default_rng(0)
    plain = simulated_photos(rng, PHOTOS, detector, 0.95)
    if not class_aware:
        plain = [replace(e, merged=replace(e.merged, evidence=None)) for e in plain]
    return [with_faint_boxes(e, rng) for e in plain]


def chosen(evidence: list[Evidence], policy: str) -> Choice:
    return only_policy(policy, evidence, SCENES, turns(SCENES, 4, np.random.default_rng(0)))


def fitted(evidence: list[Evidence], choice: Choice, given: float | None = None) -> NamingChoice:
    return fit_naming_floor(evidence, choice, SCENES, np.random.default_rng(0), given)


def scores_under(floor: float, evidence: list[Evidence], gate: Gate, margin: float = 1.0, typical: float = 0.0) -> Scores:
    decisions = predictions(withheld(evidence, [floor] * len(evidence), margin, typical), [gate] * len(evidence))
    return evaluate([e.truth for e in evidence], decisions, C)


@pytest.mark.parametrize(
    "evidence",
    [
        pytest.param([], id="no photos"),
        pytest.param([replace(e, probabilities=None) for e in photos()], id="no classifier"),
        pytest.param(
            [replace(e, merged=e.merged.take(np.arange(0)), probabilities=np.zeros((0, C))) for e in photos()], id="no boxes"
        ),
    ],
)
def test_where_nothing_can_be_withheld_every_box_is_named(evidence: list[Evidence]) -> None:
    choice = Choice(
        Gate("raw"), None, Gate("raw"), {}, as_turns(evidence, [Gate("raw")] * len(evidence), SCENES[: len(evidence)])
    )
    naming = fitted(evidence, choice)
    assert naming == NamingChoice() and naming.floor == 0 and "every box is named" in str(naming)


@pytest.mark.parametrize("class_aware", [True, False], ids=["with a class-aware detector", "class-agnostic only"])
def test_faint_boxes_on_no_product_are_not_named(class_aware: bool) -> None:
    evidence = photos(class_aware=class_aware)
    choice = chosen(evidence, "raw")
    naming = fitted(evidence, choice)
    assert 0.05 < naming.floor <= 0.55 and naming.margin == MARGIN  # the products' boxes begin at 0.5
    assert (
        naming.typical == pytest.approx(np.quantile([sureness(e.merged.scores) for e in evidence], 0.25)) and naming.typical > 0
    )
    assert naming.unnamed == unnamed_share(evidence, naming.floor, MARGIN, naming.typical) > 0
    assert (
        naming.loss is not None
        and naming.loss.value <= ALLOWED + 1e-9
        and naming.loss.low <= naming.loss.value <= naming.loss.high
    )
    everything, rest = (scores_under(floor, evidence, choice.gate, MARGIN) for floor in (0.0, naming.floor))
    assert rest.score >= everything.score - ALLOWED
    down_to = f", and down to {naming.floor / MARGIN:.4f} while names are sure"
    assert f"{naming.floor:.4f} and more are named{down_to}, which saves {naming.unnamed:.0%}" in str(naming)


@pytest.mark.parametrize("sure", [True, False], ids=["sure names", "names that are not sure"])
def test_products_of_a_shop_where_the_detector_is_less_sure_are_named_still(
    sure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion.boxes.NAMING_STEP", 2)  # of 8 products
    evidence = photos()
    choice = chosen(evidence, "raw")
    naming = fitted(evidence, choice)
    elsewhere = [replace(e, merged=replace(e.merged, scores=e.merged.scores / 4)) for e in evidence]
    if not sure:
        elsewhere = [replace(e, probabilities=0.5 * e.probabilities + 0.5 / C) for e in elsewhere]
    everything, rest = (scores_under(floor, elsewhere, choice.gate, MARGIN, naming.typical) for floor in (0.0, naming.floor))
    assert rest.score >= everything.score - ALLOWED
    assert scores_under(naming.floor, elsewhere, choice.gate).score < everything.score - 0.01
    steps_alone = scores_under(naming.floor, elsewhere, choice.gate, MARGIN).score
    assert (steps_alone >= everything.score - ALLOWED) is sure


def test_the_loss_that_is_told_is_of_what_is_taken_the_margin_included(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = photos()
    choice = chosen(evidence, "raw")
    monkeypatch.setattr(naming_floor, "candidates", lambda _: np.array([0.0, 0.9]))  # a floor that costs much
    for name, value in (("ALLOWED", 1.0), ("BUDGETS", (1.0,)), ("SHOWN", 1.0)):
        monkeypatch.setattr(naming_floor, name, value)
    losses = []
    for sure, margin in ((2.0, MARGIN), (0.0, 1e9)):  # one more step is named, and all boxes
        monkeypatch.setattr("fusion.boxes.SURE_NAMES", sure)
        monkeypatch.setattr(naming_floor, "MARGIN", margin)
        naming = fitted(evidence, choice)
        assert naming.loss is not None and naming.floor == 0.9
        losses.append((naming.unnamed > 0, naming.loss.value > 0))
    assert losses == [(True, True), (False, False)]


@pytest.mark.parametrize(("high", "named"), [(0.0019, False), (0.0021, True)])
def test_a_loss_that_may_be_larger_than_is_shown_names_every_box(
    high: float, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = photos()
    monkeypatch.setattr(naming_floor, "widened", lambda drawn, *_: Interval(drawn.value, drawn.low, high, drawn.n_groups))
    choice = fitted(evidence, chosen(evidence, "agree"))
    assert (choice.floor == 0 and choice.unnamed == 0) == named
    assert ("is not shown" in str(choice)) == named


def test_faint_boxes_on_products_are_named() -> None:
    """The same faint scores, but on products whose names only the classifier knows."""
    evidence = [
        replace(e, merged=replace(e.merged, scores=e.merged.scores / 10))
        for e in simulated_photos(np.random.default_rng(1), PHOTOS, 0.2, 0.95)
    ]
    naming = fitted(evidence, chosen(evidence, "raw"))
    assert naming.unnamed < 0.05


def test_where_the_gate_keeps_the_detectors_names_no_crop_is_cut() -> None:
    evidence = photos()
    naming = fitted(evidence, chosen(evidence, "detector"))
    assert naming.floor == NO_NAMES and naming.unnamed == 1 and naming.loss is not None and naming.loss.value == 0
    assert str(naming).startswith("no box is named, which saves 100%")


@pytest.mark.parametrize("rank", [False, True], ids=["exponents", "the gate that was fitted"])
def test_unnamed_boxes_without_a_class_aware_detector_count_and_never_outrank(rank: bool) -> None:
    evidence = photos(class_aware=False)
    gate = chosen(evidence, "raw").gate if rank else Gate("raw", name_exponent=0.5)
    for e, blind in zip(evidence, withheld(evidence, [0.5] * PHOTOS), strict=True):
        decided = decide(blind.merged, blind.probabilities, replace(gate, further=0))
        named = decided.boxes[:, 1] == 0  # (N,): the faint boxes lie lower in the photo
        assert len(decided) == len(e.merged) and named.sum() == 8
        listed = decide(blind.merged, blind.probabilities, replace(gate, further=9))
        assert (listed.boxes[:, 1] > 0).sum() == FAINT  # no further names, which could come before those of named boxes
        assert decided.scores[~named].max() < decided.scores[named].min()
        assert ((decided.labels >= 0) & (decided.labels < C)).all() and np.isfinite(decided.scores).all()
    assert scores_under(0.5, evidence, gate).det_map50 == scores_under(0, evidence, gate).det_map50 == 1


def test_a_floor_that_is_given_is_taken_and_its_cost_told() -> None:
    evidence = photos()
    choice = chosen(evidence, "raw")
    naming = fitted(evidence, choice, 0.8)
    assert naming.floor == 0.8 and naming.loss is not None and naming.loss.value > ALLOWED
    assert fitted(evidence, choice, 0.0).loss == replace(naming.loss, value=0.0, low=0.0, high=0.0)


def test_a_floor_beyond_one_that_loses_too_much_is_not_taken() -> None:
    """However good it looks: a loss that comes and goes again is chance."""
    assert [highest_within(np.array(losses), 0.1) for losses in ([0.0], [0.0, 0.2, 0.0], [0.0, 0.1, 0.1])] == [0, 0, 2]


def test_withholding_leaves_the_evidence_as_it_was() -> None:
    evidence = photos()
    before = [e.probabilities.copy() for e in evidence]
    blind = withheld(evidence, [0.5] * PHOTOS)
    assert all(np.array_equal(e.probabilities, own) for e, own in zip(evidence, before, strict=True))
    assert all(np.isnan(e.probabilities).all(1).tolist() == (e.merged.scores < 0.5).tolist() for e in blind)
    assert withheld(evidence, [0.0] * PHOTOS) == evidence


def test_a_change_of_zero_has_no_minus_sign() -> None:
    assert "changes by +0.0000 [+0.0000, +0.0000], 14 scenes" in str(NamingChoice(NO_NAMES, 1.0, Interval(0.0, 0.0, 0.0, 14)))
    assert "changes by -0.0010 [-0.0020, +0.0005]" in str(NamingChoice(0.5, 0.2, Interval(0.001, -0.0005, 0.002, 14)))


def test_the_loss_is_over_scenes_and_not_over_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, scenes = groups_drawn_by(naming_floor, monkeypatch), np.repeat(np.arange(6), 2)
    evidence = simulated_photos(np.random.default_rng(0), 12, 0.3, 0.9)
    choice = Choice(Gate("raw"), None, Gate("raw"), {}, as_turns(evidence, [Gate("raw")] * 12, scenes % 3))
    naming = fit_naming_floor(evidence, choice, scenes, np.random.default_rng(0), 0.75)
    assert naming.loss is not None and (naming.loss.n_groups, drawn) == (6, [6])
