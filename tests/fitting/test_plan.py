"""The plan: what is chosen for which set, what the user decides, and minutes that are too few."""

from dataclasses import replace

import pytest

from fitting.plan import READABLE, candidates, canvases, lay_out, procedure_from
from fitting.speeds import Curve
from fitting.wishes import Wishes
from fitting.workload import scale_for, trainings
from tests.fitting.sets import CONTEST, FRIDGE, SETS, SPEEDS, VIDEO


@pytest.mark.parametrize("survey", SETS.values(), ids=SETS)
@pytest.mark.parametrize("minutes", [30, 60, 180])
def test_a_plan_takes_no_longer_than_it_may(survey, minutes) -> None:  # type: ignore[no-untyped-def]
    plan = lay_out(survey, SPEEDS, Wishes(), minutes * 60)
    assert plan.total <= minutes * 60
    assert list(plan.seconds)[-1] == "zip"
    assert all(epochs >= 1 for epochs in plan.epochs.values())


def test_minutes_that_are_too_few_are_refused_with_the_least_that_do() -> None:
    with pytest.raises(ValueError, match=r"--minutes: too few for 95 photos here, the least is about (\d+)") as refused:
        lay_out(CONTEST, SPEEDS, Wishes(), 60.0)
    least = int(str(refused.value).split()[-1])
    assert lay_out(CONTEST, SPEEDS, Wishes(), least * 60.0).total <= least * 60
    with pytest.raises(ValueError, match="the least"):
        lay_out(CONTEST, SPEEDS, Wishes(), (least - 1) * 60 * 0.95)


def test_a_canvas_keeps_nine_boxes_in_ten_readable() -> None:
    assert canvases(FRIDGE)[0] * FRIDGE.short_share >= READABLE > (canvases(FRIDGE)[0] - 32) * FRIDGE.short_share
    assert canvases(VIDEO) == [320]  # large products: the smallest canvas shows them well
    assert canvases(replace(FRIDGE, short_share=0.001, long_side=600.0))[0] == 608  # no larger than the photos
    assert canvases(replace(FRIDGE, short_share=0.001, long_side=9000.0))[0] == 1280


@pytest.mark.parametrize(
    ("survey", "minutes", "folds"),
    [
        pytest.param(
            CONTEST, (900, 200, 50, 5), [(5, True), (3, True), (2, True), (5, False)], id="photos enough to leave out"
        ),
        pytest.param(
            replace(CONTEST, photos=70), (900, 140, 50, 12), [(5, True), (3, True), (2, True), (2, True)], id="too few"
        ),
    ],
)
def test_little_time_means_fewer_folds_then_a_smaller_canvas_then_no_refit(survey, minutes, folds) -> None:  # type: ignore[no-untyped-def]
    plans = [lay_out(survey, SPEEDS, Wishes(), several * 60).procedure for several in minutes]
    assert [(plan.folds, plan.refit) for plan in plans] == folds
    assert [plan.detector.size for plan in plans[:3]] == [canvases(survey)[0]] * 3
    assert plans[3].detector.size < plans[2].detector.size


def test_without_a_refit_each_training_is_planned_once_and_a_fold_is_judged() -> None:
    once, twice = (lay_out(CONTEST, SPEEDS, Wishes(refit=refit, size=640), 2000) for refit in ("no", "yes"))
    assert list(once.epochs) == ["one", "classifier_both"] and "cross_fit/0/one" in twice.epochs
    assert once.epochs["classifier_both"] > 2 * twice.epochs["classifier_both"]
    assert once.seconds["evidence"] == pytest.approx(twice.seconds["evidence"] / 5, rel=0.01)
    assert Wishes(refit="no") != Wishes() and not lay_out(FRIDGE, SPEEDS, Wishes(refit="no", folds=3), 9000).procedure.refit


def test_more_minutes_never_mean_fewer_epochs_of_the_same_procedure() -> None:
    procedure = next(candidates(FRIDGE, Wishes())).procedure
    entries = list(trainings(procedure, FRIDGE))
    scales = [
        scale_for(entries, seconds, lambda entry, epochs: entry.seconds(SPEEDS, epochs)) for seconds in range(0, 9000, 300)
    ]
    assert scales == sorted(scales) and scales[0] == 0.0


def test_a_class_aware_detector_is_trained_where_the_names_have_boxes_enough_or_where_it_is_asked_for() -> None:
    many = replace(FRIDGE, median_boxes=500.0)
    assert lay_out(FRIDGE, SPEEDS, Wishes(), 9000).procedure.aware is None
    assert lay_out(FRIDGE, SPEEDS, Wishes(aware="yes"), 9000).procedure.aware is not None
    assert lay_out(many, SPEEDS, Wishes(), 9000).procedure.aware is not None
    assert lay_out(many, SPEEDS, Wishes(aware="no"), 9000).procedure.aware is None
    assert lay_out(replace(many, names=1), SPEEDS, Wishes(), 9000).procedure.aware is None
    assert "cross_fit/0/all" in lay_out(many, SPEEDS, Wishes(), 9000).epochs


def test_studio_photos_are_learnt_from_where_there_are_some() -> None:
    assert lay_out(CONTEST, SPEEDS, Wishes(), 9000).procedure.crops == "both"
    assert lay_out(CONTEST, SPEEDS, Wishes(), 9000).procedure.classifier.bridge == 0.5
    assert lay_out(CONTEST, SPEEDS, Wishes(crops="shelf"), 9000).procedure.crops == "shelf"
    assert lay_out(FRIDGE, SPEEDS, Wishes(), 9000).procedure.crops == "shelf"


def test_small_products_get_small_crops() -> None:
    assert lay_out(replace(FRIDGE, crop_side=50.0), SPEEDS, Wishes(), 9000).procedure.classifier.size == 64
    assert lay_out(FRIDGE, SPEEDS, Wishes(), 9000).procedure.classifier.size == 96


def test_every_choice_can_be_the_users() -> None:
    wishes = Wishes(
        size=256, epochs=5, model="yolo11n.yaml", classifier="resnet18", crop_size=48, crop_epochs=3, aware="yes",
        crops="shelf", folds=4, pretrained="none", seed=3,
    )  # fmt: skip
    procedure = lay_out(CONTEST, SPEEDS, wishes, 90000).procedure
    detector, classifier = procedure.detector, procedure.classifier
    assert (detector.size, detector.epochs, detector.min_steps, detector.model, detector.seed) == (256, 5, 0, "yolo11n.yaml", 3)
    assert (classifier.size, classifier.epochs, classifier.min_steps, classifier.model) == (48, 3, 0, "resnet18")
    assert procedure.aware == detector
    assert (procedure.crops, procedure.folds, procedure.pretrained, procedure.seed) == ("shelf", 4, "none", 3)


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        ({"size": 500}, "--size: got 500, must be a multiple of 32"),
        ({"folds": 1}, "--folds: got 1, need 2 or more"),
        ({"refit": "once"}, "--refit: got 'once', allowed: auto, yes, no"),
        ({"aware": "perhaps"}, "--aware: got 'perhaps', allowed: auto, yes, no"),
        ({"crop_epochs": -1}, "--crop-epochs: got -1"),
    ],
)
def test_a_wish_that_is_not_allowed_is_refused(wishes, line) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=line):
        Wishes(**wishes)


def test_a_procedure_survives_being_written_down() -> None:
    for wishes in (Wishes(), Wishes(aware="yes", folds=5), Wishes(refit="no")):
        procedure = lay_out(FRIDGE, SPEEDS, wishes, 90000).procedure
        assert procedure_from(procedure.settings()) == procedure


def test_a_curve_goes_through_its_points_and_never_falls() -> None:
    curve = Curve.through((320, 0.2), (640, 0.5))
    assert (curve.at(320), curve.at(640)) == pytest.approx((0.2, 0.5))
    assert Curve.through((320, 0.2)).at(640) == pytest.approx(0.8)
    assert Curve.through((320, 0.2), (640, 0.1)).at(640) <= 0.2
    assert Curve.through((320, 0.01), (640, 0.5)).at(640) == pytest.approx(0.5)
    assert Curve.through((320, 0.01), (640, 0.5)).at(32) >= 0


def test_a_gate_that_only_orders_boxes_is_foreseen_to_take_less_than_one_of_policies() -> None:
    """The measured pair: 4,250 boxes took 91 s with a detector that names, 17,804 boxes 18 s without."""
    assert 60 < SPEEDS.gate(replace(CONTEST, boxes=4250), True) < 120
    assert 15 < SPEEDS.gate(replace(CONTEST, boxes=17804), False) < 30
    policies, order = (lay_out(CONTEST, SPEEDS, Wishes(aware=aware), 18000).seconds["gate"] for aware in ("yes", "no"))
    assert policies > order
