"""The plan of a fit: which detector at which canvas, which classifier, how many folds and epochs, so that it ends in time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from fitting.procedure import Procedure
from fitting.speeds import Speeds
from fitting.stage_settings import both_of, detector_of, has_start, one_name, shows_large, with_small_crops
from fitting.survey import Survey
from fitting.wishes import Wishes
from fitting.workload import CLASSIFIER, DETECTOR, LONGEST, Share, Training, alike, left_out, scale_for, trainings
from runs.counted import counted
from stage1_detector.config import STRIDE

READABLE = 24  # chosen: pixels of a box's short side on the canvas; three cells of a detector's finest grid, of 8 pixels
SMALLEST_CANVAS, LARGEST_CANVAS = 320, 1280  # chosen: below, detectors hardly learn; above, a CPU has no hours for it
SHRUNK = 0.8  # chosen: from one canvas that is tried to the next smaller one
NEARLY_HALF = 0.45  # chosen: canvases of so much of the largest leave boxes about half of the pixels that are wanted
# Chosen: boxes of the median name from which a class-aware detector is trained. With 25 to 103 (fridge, snacks, digits) the
# classifier's names alone scored no less than those of a gate that had a class-aware detector's besides (docs/results.md).
ENOUGH = 200
HALF, QUARTER = 0.5, 0.25  # chosen: of the recipes' epochs; what the costlier choices leave must be at least that
# Chosen: likewise of a larger canvas with small crops. It leaves a classifier from ImageNet 2 epochs, which named 0.888 of
# drawn contest crops rightly; a larger canvas was worth more (experiments/LOG.md)
FEW = 0.14
LEAST_SCALES = {5: 1.0, 3: HALF, 2: QUARTER}  # chosen: by folds; the more there are, the more photos their models learn from
# Chosen: one in five is left out for good where no refit leaves FEW, if that is photos enough for the gate. It is 2.5 times the
# epochs, as 0.8 of the photos are learned from once; with 2 folds and a refit all of them are, twice
LEFT_OUT_FOLDS, LEFT_OUT_PHOTOS = 5, 15
AIM = 0.98  # chosen: of the minutes; what is left guards against a last step that is longer than foreseen
LONG_ENOUGH = "it may end before them: that longer trainings help was not shown; a larger canvas may (--size)"
SANDBOX_PHOTOS = 3  # chosen: photos that the zip is run on at the end


class Plan(NamedTuple):
    """What is done, with how many epochs of each training, and seconds of each part in their order.

    `scale` is the share of the recipes' epochs that the time allows; `why` says of each choice what it rests on.
    """

    procedure: Procedure
    epochs: dict[str, int]
    seconds: dict[str, float]
    scale: float
    why: dict[str, str]

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())


class Candidate(NamedTuple):
    """A way to do it, and the least scale of epochs at which it is taken."""

    procedure: Procedure
    least_scale: float


def lay_out(survey: Survey, speeds: Speeds, wishes: Wishes, seconds: float, spent: float = 0.0) -> Plan:
    """The first of the `candidates` that leaves its trainings enough epochs within so many seconds, of which some are `spent`.

    Raises ValueError, with the minutes that are the least, where the cheapest does not end in time with 1 epoch of each.
    """
    ways, left = list(candidates(survey, wishes)), seconds - spent
    for procedure, least in ways:
        scale = affordable(procedure, survey, speeds, wishes, left)
        if scale >= least:
            return planned(procedure, survey, speeds, wishes, scale)
    cheapest = min((planned(way.procedure, survey, speeds, wishes, 0.0) for way in ways), key=lambda plan: plan.total)
    if cheapest.total > left:
        least_minutes = math.ceil((cheapest.total + spent) / 60 / AIM)
        raise ValueError(f"--minutes: too few for {counted(survey.photos, 'photo')} here, the least is about {least_minutes}")
    scale = affordable(cheapest.procedure, survey, speeds, wishes, left)
    return planned(cheapest.procedure, survey, speeds, wishes, scale)


def candidates(survey: Survey, wishes: Wishes) -> Iterator[Candidate]:
    """What may be done, the best first: all that helps, fewer folds, smaller crops, canvases of down to half, fewer epochs.

    Then one fold left out for good, and smaller canvases. No canvas comes before a larger one, so more minutes never mean a
    smaller one.
    """
    sizes = _sizes(survey, wishes)
    wide = [size for size in sizes if size >= NEARLY_HALF * sizes[0]]
    yield from _on_largest(survey, wishes)
    for size in wide:
        yield from _of_a_quarter(_simplest(survey, wishes, size, wishes.refit != "no"), survey, wishes)
    for size in sizes[len(wide) - 1 :]:
        yield from _of_few(survey, wishes, size)


def _on_largest(survey: Survey, wishes: Wishes) -> Iterator[Candidate]:
    """Those on the largest canvas that leave each fold out once and train what ships on all, or leave one out for good.

    Large crops, where they pay, take half of their epochs at least.
    """
    refit = wishes.refit != "no"
    for with_aware in (aware := _aware(survey, wishes)):
        for n_folds, least in _least_scales(survey, wishes).items():
            least_here = max(least, HALF) if len(aware) > 1 and with_aware else least  # else first without it
            choices = survey, wishes, _sizes(survey, wishes)[0], n_folds, with_aware
            if shows_large(survey):
                yield Candidate(replace(_procedure(*choices, large=True), refit=refit), max(least_here, HALF))
            if not shows_large(survey) or least_here < HALF:
                yield Candidate(replace(_procedure(*choices), refit=refit), least_here)


def _of_a_quarter(procedure: Procedure, survey: Survey, wishes: Wishes) -> Iterator[Candidate]:
    """A quarter of the epochs, or else the same with small crops."""
    yield Candidate(procedure, QUARTER)
    yield Candidate(with_small_crops(procedure, survey, wishes), QUARTER)


def _of_few(survey: Survey, wishes: Wishes, size: int) -> Iterator[Candidate]:
    """Small crops and few epochs on one canvas, with a refit, or else with one fold left out for good, where that may be."""
    if wishes.refit != "no":
        yield Candidate(with_small_crops(_simplest(survey, wishes, size, True), survey, wishes), FEW)
    if wishes.refit == "no" or (wishes.refit == "auto" and can_leave_out(survey, wishes)):
        yield Candidate(with_small_crops(_simplest(survey, wishes, size, False), survey, wishes), FEW)


def _simplest(survey: Survey, wishes: Wishes, size: int, refit: bool) -> Procedure:
    """The procedure on one canvas with the fewest folds and a refit, or with one fold left out for good."""
    folds = min(_least_scales(survey, wishes)) if refit else _folds_of_one_left_out(survey, wishes)
    return replace(_procedure(survey, wishes, size, folds, _aware(survey, wishes)[-1]), refit=refit)


def _folds_of_one_left_out(survey: Survey, wishes: Wishes) -> int:
    """How many folds there are where one of them is left out for good."""
    return wishes.folds or min(LEFT_OUT_FOLDS, survey.photos)


def _least_scales(survey: Survey, wishes: Wishes) -> dict[int, float]:
    """How many folds may be had, and of each the least scale of epochs."""
    if wishes.refit == "no":
        return {_folds_of_one_left_out(survey, wishes): QUARTER}
    return {wishes.folds: QUARTER} if wishes.folds else {n: least for n, least in LEAST_SCALES.items() if n <= survey.photos}


def _aware(survey: Survey, wishes: Wishes) -> list[bool]:
    """Whether there is a class-aware detector, in the order in which it is tried."""
    return {"yes": [True], "no": [False], "auto": [True, False] if pays(survey) else [False]}[wishes.aware]


def _sizes(survey: Survey, wishes: Wishes) -> list[int]:
    """The canvases to try."""
    return [wishes.size] if wishes.size else canvases(survey)


def can_leave_out(survey: Survey, wishes: Wishes) -> bool:
    """Whether one fold is enough for the gate, so that it can be left out for good where time is short."""
    return not wishes.folds and (survey.photos - survey.bare) // LEFT_OUT_FOLDS >= LEFT_OUT_PHOTOS


def pays(survey: Survey) -> bool:
    """Whether a class-aware detector is worth its time: there are names to tell apart, and the median one has ENOUGH boxes."""
    return survey.names > 1 and survey.median_boxes >= ENOUGH


def canvases(survey: Survey) -> list[int]:
    """The canvases to try, the largest first: where nine boxes in ten keep READABLE pixels, not beyond the photos' own size.

    >>> from fitting.survey import Survey
    >>> canvases(Survey(20, 5, 180, 12, 8, 0, 22.0, 1200, 0.045, 123))
    [544, 416, 320]
    """
    wanted = min(READABLE / survey.short_share, survey.long_side, LARGEST_CANVAS)
    sizes = [max(SMALLEST_CANVAS, _up(wanted))]
    while sizes[-1] > SMALLEST_CANVAS:
        sizes.append(max(SMALLEST_CANVAS, STRIDE * int(sizes[-1] * SHRUNK / STRIDE)))
    return sizes


def _up(side: float) -> int:
    """The next multiple of STRIDE."""
    return STRIDE * math.ceil(side / STRIDE)


def _procedure(survey: Survey, wishes: Wishes, size: int, folds: int, aware: bool, large: bool = False) -> Procedure:
    """The procedure with one canvas and so many folds; all else by the wishes, or by what the photos are like.

    `large`: with large crops, where weights and wishes allow them.
    """
    detector = detector_of(wishes, size)
    both = survey.studio_photos > 0 if wishes.crops == "auto" else wishes.crops == "both"
    first, second = both_of(survey, wishes, both, large)
    return Procedure(
        detector=detector,
        classifier=first,
        second=second,
        aware=detector if aware else None,
        crops="both" if both else "shelf",
        pretrained=wishes.pretrained,
        crop_pretrained=wishes.crop_pretrained,
        trust=wishes.trust,
        start_share=wishes.share,
        folds=folds,
        seed=wishes.seed,
        groups=wishes.groups,
    )


def start_in_words(procedure: Procedure) -> str:
    """What the detector starts from, as the user has said it, or that it is nothing."""
    known = has_start(procedure.detector, procedure.pretrained) or procedure.pretrained == "none"
    return procedure.pretrained if known else f"random weights ({procedure.pretrained} has none of it)"


def fixed_stages(wishes: Wishes) -> tuple[str, ...]:
    """The stages whose epochs the user has said."""
    return (DETECTOR,) * (wishes.epochs > 0) + (CLASSIFIER,) * (wishes.crop_epochs > 0)


def affordable(procedure: Procedure, survey: Survey, speeds: Speeds, wishes: Wishes, seconds: float) -> float:
    """The scale of epochs that so many seconds allow."""
    rest = sum(fixed_parts(procedure, survey, speeds).values())
    entries = trainings(procedure, survey, fixed_stages(wishes))
    return scale_for(entries, seconds - rest, lambda training, epochs: training.seconds(speeds, epochs))


def fixed_parts(procedure: Procedure, survey: Survey, speeds: Speeds, shares: Sequence[Share] = ()) -> dict[str, float]:
    """Seconds of what is no training; `shares` are what the folds leave out, where they are dealt already."""
    size, detectors = procedure.detector.size, 1 if procedure.aware is None else 2
    judged, namers = left_out(survey, procedure, shares), len(procedure.classifiers)
    of_studio = {"prototypes": namers * speeds.prototypes(judged)} if procedure.crops == "both" else {}
    naming, folds = speeds.naming(judged) + speeds.sizes(judged), len(shares or alike(procedure, survey))
    kept = {"start": speeds.start(size, judged, folds)} if has_start(procedure.detector, procedure.pretrained) else {}
    return {
        "scenes": speeds.scenes(survey),
        **kept,
        **of_studio,
        "evidence": speeds.evidence(size, judged, detectors, namers),
        "gate": speeds.gate(judged, procedure.aware is not None) + naming,
        "figures": speeds.figures(size, judged, detectors, namers),
        "zip": speeds.ending(size, SANDBOX_PHOTOS) + speeds.report(judged),
    }


def planned(procedure: Procedure, survey: Survey, speeds: Speeds, wishes: Wishes, scale: float) -> Plan:
    """The plan of a procedure whose trainings are scaled so."""
    entries, rest = list(trainings(procedure, survey, fixed_stages(wishes))), fixed_parts(procedure, survey, speeds)
    epochs = {entry.name: entry.epochs(scale) for entry in entries}
    cost = {entry.name: entry.seconds(speeds, epochs[entry.name]) for entry in entries}
    refits = [entry.name for entry in entries if entry.refit]
    of = {stage: [e.name for e in entries if not e.refit and e.stage == stage] for stage in (DETECTOR, CLASSIFIER)}
    order = ["scenes", *of[DETECTOR], "start", *of[CLASSIFIER], "prototypes", "evidence", "gate", *refits, "figures", "zip"]
    seconds = {name: (cost | rest)[name] for name in order if name in cost or name in rest}
    ends_early = scale >= LONGEST and len(fixed_stages(wishes)) < 2
    why = reasons(procedure, survey, wishes, entries) | ({"minutes": LONG_ENOUGH} if ends_early else {})
    return Plan(procedure, epochs, seconds, scale, why)


def aware_in_words(procedure: Procedure, survey: Survey, wishes: Wishes) -> str:
    """Whether there is a class-aware detector, and why."""
    answer, median = "yes" if procedure.aware else "no", counted(round(survey.median_boxes), "box", "boxes")
    if wishes.aware != "auto":
        return f"{answer}, as you said (--aware {wishes.aware})"
    if survey.names == 1:
        return f"{answer}: there is one name"
    has = f"{answer}: the median of {counted(survey.names, 'name')} has {median}"
    if pays(survey) and not procedure.aware:
        return f"{has}, but there is no time for it"
    return f"{has}; it pays from {ENOUGH}"


def reasons(procedure: Procedure, survey: Survey, wishes: Wishes, entries: list[Training]) -> dict[str, str]:
    """What each choice rests on, one line each."""
    size = procedure.detector.size
    small = survey.short_share * size
    canvas = f"{size} px: nine boxes in ten have a short side of {small:.0f} px or more on it; readable is {READABLE}"
    studio = f"{counted(survey.studio_photos, 'studio photo')} of {survey.studio_names} of {counted(survey.categories, 'name')}"
    steps = sum(not entry.refit for entry in entries) // (procedure.folds if procedure.refit else 1)
    crops = f"the median product is {survey.crop_side:.0f} px long on its photo"
    if one_name(survey, procedure.crops == "both"):
        crops = f"there is one name, so it learns nothing{', nor would a second one' if wishes.second_classifier else ''}"
    each = counted(steps, "training")
    namers = " and ".join(config.model for config in procedure.classifiers.values())
    folds = f"{procedure.folds}, of {each} each; every photo is judged by models that did not see its scene"
    refit = "on all photos: its models are those that ship"
    if not procedure.refit:
        folds = f"{procedure.folds}, of which one is left out for good: the gate and the score are of its photos"
        refit = "none: the models that ship learn from the other folds, and so for more epochs in the same minutes"
    return {
        "canvas": canvas + ("" if small >= READABLE or wishes.size else ", for which there is no time, or no pixels"),
        "detector": f"{getattr(procedure.detector, 'model', procedure.detector.family)}, from {start_in_words(procedure)}",
        "classifier": f"{namers} on {procedure.classifier.size} px crops; {crops}",
        "names by a detector too": aware_in_words(procedure, survey, wishes),
        "crops": f"{procedure.crops}: {studio}" if survey.studio_photos else f"{procedure.crops}: no studio photos",
        "folds": folds,
        "refit": refit,
    }
