"""The plan: what is chosen for which set, what the user decides, and minutes that are too few."""

from dataclasses import replace

import numpy as np
import pytest

from fitting import stage_settings
from fitting.plan import AIM, FEW, NEARLY_HALF, QUARTER, READABLE, Plan, can_leave_out, candidates, canvases, lay_out
from fitting.procedure import procedure_from
from fitting.speeds import Curve, Speeds
from fitting.survey import Survey
from fitting.wishes import Wishes
from fitting.workload import LONGEST, scale_for, trainings
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.fit import schedule
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


def test_only_a_plan_with_the_longest_trainings_says_that_it_ends_early() -> None:
    longest = lay_out(FRIDGE, SPEEDS, Wishes(), 36000.0)
    assert longest.scale == LONGEST and "end before" in longest.why["minutes"] and longest.total < 30000
    assert "minutes" not in lay_out(FRIDGE, SPEEDS, Wishes(), 2700.0).why
    slow = replace(SPEEDS, learn=Curve(200.0, 0.0))
    coarse = lay_out(FRIDGE, slow, Wishes(folds=2, crop_epochs=1), 15000.0)  # a second epoch is too long for what is left
    assert coarse.total < 0.9 * 15000 and coarse.epochs["one"] == 1 and "minutes" not in coarse.why
    said = Wishes(epochs=7, crop_epochs=3)  # by the user: longer they are not to be
    assert "minutes" not in lay_out(FRIDGE, SPEEDS, said, 36000.0).why


def test_the_least_minutes_count_what_is_spent_already() -> None:
    with pytest.raises(ValueError, match="the least") as refused:
        lay_out(CONTEST, SPEEDS, Wishes(), 60.0, spent=600.0)
    least = int(str(refused.value).split()[-1])
    plan = lay_out(CONTEST, SPEEDS, Wishes(), least * 60 * AIM, spent=600.0)
    assert plan.total + 600.0 <= least * 60 * AIM


@pytest.mark.parametrize("photos", [2, 3, 4])
@pytest.mark.parametrize(("refit", "on_all"), [("yes", ["one", "classifier_shelf"]), ("no", [])])
def test_there_are_never_more_folds_than_photos(photos: int, refit: str, on_all: list[str]) -> None:
    few = replace(FRIDGE, photos=photos, boxes=9 * photos)
    plan = lay_out(few, SPEEDS, Wishes(refit=refit), 90000)
    entries = list(trainings(plan.procedure, few))
    assert plan.procedure.folds <= photos
    assert [entry.name for entry in entries if entry.refit] == on_all
    assert all(entry.photos and entry.held_out for entry in entries if not entry.refit)


@pytest.mark.parametrize(
    ("bare", "enough"), [pytest.param(5, True, id="75 labelled"), pytest.param(10, False, id="70 labelled")]
)
def test_photos_without_boxes_make_no_fold_that_can_be_left_out(bare: int, enough: bool) -> None:
    assert can_leave_out(replace(FRIDGE, photos=80, bare=bare), Wishes()) is enough


def test_a_canvas_keeps_nine_boxes_in_ten_readable() -> None:
    assert canvases(FRIDGE)[0] * FRIDGE.short_share >= READABLE > (canvases(FRIDGE)[0] - 32) * FRIDGE.short_share
    assert canvases(VIDEO) == [320]  # large products: the smallest canvas shows them well
    assert canvases(replace(FRIDGE, short_share=0.001, long_side=600.0))[0] == 608  # no larger than the photos
    assert canvases(replace(FRIDGE, short_share=0.001, long_side=9000.0))[0] == 1280


@pytest.mark.parametrize(
    ("survey", "minutes", "folds"),
    [
        pytest.param(
            CONTEST, (900, 200, 50, 4), [(5, True), (3, True), (2, True), (5, False)], id="photos enough to leave out"
        ),
        pytest.param(
            replace(CONTEST, photos=70), (900, 140, 50, 9), [(5, True), (3, True), (2, True), (2, True)], id="too few"
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


def any_survey(rng: np.random.Generator) -> Survey:
    """A set of any size: few or many photos, boxes and names, small or large products, with studio photos or without."""
    photos, density = int(np.exp(rng.uniform(0.7, 6.2))), int(rng.integers(1, 160))
    names = int(rng.integers(1, min(400, photos * density) + 1))
    long_side, short_share = rng.choice([300.0, 1200.0, 4000.0]), np.exp(rng.uniform(-5.0, -1.2))
    counted = Survey(photos, 0, photos * density, density, names, 0, photos * density / names, long_side, short_share, 123.0)
    return replace(counted, crop_side=rng.uniform(20, 900), studio_names=names, studio_photos=5 * names * int(rng.integers(2)))


def slower(times: float) -> Speeds:
    """A machine on which everything takes so many times as long."""
    learn, find, step = (Curve(c.fixed * times, c.per_pixel * times) for c in (SPEEDS.learn, SPEEDS.find, SPEEDS.step))
    name = SPEEDS.name * times
    return replace(SPEEDS, learn=learn, find=find, find_exported=find, step=step, name=name, name_exported=name)


@pytest.mark.slow
def test_more_minutes_never_plan_less_of_what_pays_most() -> None:
    """First the canvas, then a refit on all photos, then the crops; no step is taken where it leaves too few epochs."""
    rng, compared = np.random.default_rng(0), 0
    for survey in [*SETS.values(), *(any_survey(rng) for _ in range(12))]:
        speeds, before = slower(rng.choice([0.1, 1.0, 6.0])), None
        for minutes in np.geomspace(rng.uniform(1, 3), 300, 16):
            try:
                after = lay_out(survey, speeds, Wishes(), 60 * minutes)
            except ValueError:  # too few
                assert before is None
                continue
            if before is not None:
                refuse_less(before, after)
                compared += before.procedure != after.procedure
            before = after
    assert compared > 25


def refuse_less(before: Plan, after: Plan) -> None:
    """Fails where the plan of more minutes has less of what pays most."""
    few, many = before.procedure, after.procedure
    assert many.detector.size >= few.detector.size
    if many.detector.size == few.detector.size:
        assert (many.refit, many.classifier.size) >= (few.refit, few.classifier.size)
    assert after.scale >= min(before.scale, FEW)
    assert few != many or all(after.epochs[name] >= epochs for name, epochs in before.epochs.items())


def test_more_minutes_never_mean_fewer_epochs_of_the_same_procedure() -> None:
    procedure = next(candidates(FRIDGE, Wishes())).procedure
    entries = list(trainings(procedure, FRIDGE))
    scales = [
        scale_for(entries, seconds, lambda entry, epochs: entry.seconds(SPEEDS, epochs)) for seconds in range(0, 9000, 300)
    ]
    assert scales == sorted(scales) and scales[0] == 0.0


def test_studio_photos_are_learnt_from_where_there_are_some() -> None:
    assert lay_out(CONTEST, SPEEDS, Wishes(), 9000).procedure.crops == "both"
    assert lay_out(CONTEST, SPEEDS, Wishes(), 9000).procedure.classifier.bridge == 0.5
    assert lay_out(CONTEST, SPEEDS, Wishes(crops="shelf"), 9000).procedure.crops == "shelf"
    assert lay_out(FRIDGE, SPEEDS, Wishes(), 9000).procedure.crops == "shelf"


def test_small_products_get_small_crops() -> None:
    assert lay_out(replace(FRIDGE, crop_side=50.0), SPEEDS, Wishes(), 9000).procedure.classifier.size == 64
    assert lay_out(FRIDGE, SPEEDS, Wishes(), 9000).procedure.classifier.size == 96


def test_large_products_on_photos_of_few_get_large_crops_for_about_the_same_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    def classifier(survey: Survey, wishes: Wishes = Wishes(), minutes: float = 90) -> ClassifierConfig:  # noqa: B008
        return lay_out(survey, SPEEDS, wishes, minutes * 60).procedure.classifier

    monkeypatch.setattr(stage_settings, "with_best_backbone", lambda config: config)
    assert classifier(VIDEO).size == 96  # no ImageNet weights here
    monkeypatch.setattr(stage_settings, "with_best_backbone", lambda config: replace(config, model="tf_efficientnet_lite0"))
    assert classifier(VIDEO).size == 160
    assert classifier(replace(VIDEO, crop_side=150.0)).size == 96
    assert classifier(replace(VIDEO, boxes=30 * VIDEO.photos)).size == 96  # dense: each crop costs the judge's machine
    assert classifier(VIDEO, Wishes(crop_size=96)).size == 96
    assert classifier(VIDEO, Wishes(classifier="resnet10t")).size == 96
    assert classifier(VIDEO, Wishes(folds=3)).size == 160
    few = lay_out(VIDEO, SPEEDS, Wishes(), 16 * 60)
    assert few.procedure.classifier.size == 96 and few.scale < 0.5  # with so few epochs large crops are named no better
    small = classifier(VIDEO, minutes=6)
    assert (small.size, small.epochs, small.min_steps) == (64, 15, 600)

    def seconds(config: ClassifierConfig) -> float:
        epochs, steps = schedule(VIDEO.boxes, config)
        return epochs * steps * SPEEDS.step.at(config.size)

    large, default = classifier(VIDEO), classifier(VIDEO, Wishes(crop_size=96))
    assert seconds(large) == pytest.approx(seconds(default), rel=0.3)


def test_every_choice_can_be_the_users() -> None:
    wishes = Wishes(
        size=256, epochs=5, model="yolo11n.yaml", classifier="resnet18", crop_size=48, crop_epochs=3, aware="yes",
        crops="shelf", folds=4, pretrained="none", seed=3, start_share="0.2",
    )  # fmt: skip
    procedure = lay_out(CONTEST, SPEEDS, wishes, 90000).procedure
    detector, classifier = procedure.detector, procedure.classifier
    assert (detector.size, detector.epochs, detector.min_steps, detector.model, detector.seed) == (256, 5, 0, "yolo11n.yaml", 3)
    assert (classifier.size, classifier.epochs, classifier.min_steps, classifier.model) == (48, 3, 0, "resnet18")
    assert procedure.aware == detector
    assert (procedure.crops, procedure.folds, procedure.pretrained, procedure.seed) == ("shelf", 4, "none", 3)
    assert procedure.start_share == 0.2


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        ({"size": 500}, "--size: got 500, must be a multiple of 32"),
        ({"folds": 1}, "--folds: got 1, need 2 or more"),
        ({"refit": "once"}, "--refit: got 'once', allowed: auto, yes, no"),
        ({"aware": "perhaps"}, "--aware: got 'perhaps', allowed: auto, yes, no"),
        ({"crop_epochs": -1}, "--crop-epochs: got -1"),
        ({"start_share": "1.5"}, "--start-share: got 1.5, must be auto, or a number from 0 to 1"),
        ({"start_share": "nan"}, "--start-share: got nan, must be auto"),
        ({"start_share": "half"}, "--start-share: got half, must be auto"),
        ({"crop_size": 8}, "--crop-size: got 8, must be 16 or more; 0: planned"),
    ],
)
def test_a_wish_that_is_not_allowed_is_refused(wishes, line) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=line):
        Wishes(**wishes)


def test_a_procedure_survives_being_written_down() -> None:
    for wishes in (Wishes(), Wishes(aware="yes", folds=5), Wishes(refit="no")):
        procedure = lay_out(FRIDGE, SPEEDS, wishes, 90000).procedure
        assert procedure_from(procedure.settings()) == procedure


def test_a_gate_that_only_orders_boxes_is_foreseen_to_take_less_than_one_of_policies() -> None:
    """The measured pair: 4,250 boxes took 91 s with a detector that names, 17,804 boxes 18 s without."""
    assert 60 < SPEEDS.gate(replace(CONTEST, boxes=4250), True) < 120
    assert 15 < SPEEDS.gate(replace(CONTEST, boxes=17804), False) < 30
    policies, order = (lay_out(CONTEST, SPEEDS, Wishes(aware=aware), 18000).seconds["gate"] for aware in ("yes", "no"))
    assert policies > order


def test_all_that_is_chosen_on_the_photos_left_out_is_foreseen() -> None:
    """As measured on 194 photos of 17,804 boxes: prototypes 14.5 s; order of boxes, naming floor and sizes 85 s."""
    measured = replace(CONTEST, photos=194, boxes=17804)
    assert 10 < SPEEDS.prototypes(measured) < 20
    assert 70 < SPEEDS.gate(measured, False) + SPEEDS.naming(measured) + SPEEDS.sizes(measured) < 100
    both, shelf = (lay_out(measured, SPEEDS, Wishes(crops=crops), 18000).seconds for crops in ("auto", "shelf"))
    assert both["prototypes"] == SPEEDS.prototypes(measured) and "prototypes" not in shelf
    assert list(both).index("prototypes") + 1 == list(both).index("evidence")


def test_where_there_is_one_name_the_time_is_the_detectors() -> None:
    single = replace(VIDEO, names=1, median_boxes=575.0)
    alone, among_others = (lay_out(survey, SPEEDS, Wishes(), 1800) for survey in (single, VIDEO))
    assert alone.epochs["one"] > 1.3 * among_others.epochs["one"]
    assert alone.epochs["cross_fit/0/classifier_shelf"] == 1 and "one name" in alone.why["classifier"]
    assert lay_out(single, SPEEDS, Wishes(crop_epochs=7), 1800).epochs["classifier_shelf"] == 7
    with_studio = replace(single, silent_names=5, studio_names=6, studio_photos=12)
    assert lay_out(with_studio, SPEEDS, Wishes(), 1800).epochs["classifier_both"] > 1


def test_a_detector_with_nothing_to_start_from_is_planned_as_one() -> None:
    """`auto` has weights for the starter's network alone."""
    other, none = Wishes(model="yolov8s.yaml"), Wishes(model="yolov8s.yaml", pretrained="none")
    random, warm = lay_out(FRIDGE, SPEEDS, other, 2400), lay_out(FRIDGE, SPEEDS, Wishes(), 2400)
    assert random.procedure.detector == lay_out(FRIDGE, SPEEDS, none, 2400).procedure.detector != warm.procedure.detector
    assert "start" in warm.seconds and "start" not in random.seconds
    assert random.why["detector"] == "yolov8s.yaml, from random weights (auto has none of it)"
    assert warm.why["detector"] == "yolov8n.yaml, from auto"
    folds = [entry for entry in trainings(random.procedure, FRIDGE) if entry.name == "cross_fit/0/one"]
    assert not folds[0].warm and next(trainings(warm.procedure, FRIDGE)).warm


def test_the_detectors_looks_before_a_classifier_are_foreseen() -> None:
    procedure = lay_out(FRIDGE, SPEEDS, Wishes(folds=2), 2400).procedure
    for entry in (entry for entry in trainings(procedure, FRIDGE) if entry.stage == "classifier"):
        looks = 20 if entry.refit else 10
        without = entry._replace(canvas=0).seconds(SPEEDS, 3)
        assert entry.seconds(SPEEDS, 3) == pytest.approx(without + looks * SPEEDS.find_exported.at(procedure.detector.size))


def test_canvases_below_half_of_the_largest_come_with_the_fewest_epochs_only() -> None:
    largest = canvases(CONTEST)[0]
    small = [way for way in candidates(CONTEST, Wishes()) if way.procedure.detector.size < NEARLY_HALF * largest]
    assert small and all(way.least_scale < QUARTER for way in small)
