"""The trainings of a fit as entries with a cost: what each takes with so many epochs, and how many epochs fit into a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from fitting.procedure import SECOND, Procedure
from fitting.speeds import Speeds
from fitting.stage_settings import has_start
from fitting.survey import Survey
from stage1_detector import engine
from stage1_detector.config import Config
from stage2_classifier import fit

LONGEST = 3.0  # chosen: a refit takes at most so many times its recipe's epochs; that more helps was not shown
# Measured: from the starter a detector learns most in its first epochs. On 143 drawn contest photos at 640 px det mAP50 was
# 0.953, 0.971, 0.972, 0.986 and 0.987 after 1 to 5 epochs; at 320 px, a quarter of the time each, 0.89 and 0.93 after 7.
EARLY = 1.5
DETECTOR, CLASSIFIER = "detector", "classifier"
STEPS_OF_BISECTION = 24  # derived: a scale in [0, LONGEST] to 2e-7, less than an epoch of any training


class Share(NamedTuple):
    """The photos that a fold leaves out, and the boxes on them: no whole number where the fold is not dealt yet."""

    photos: int
    boxes: float


class Training(NamedTuple):
    """One training of a fit.

    Attributes:
        name: its folder below R, such as cross_fit/0/one.
        stage: DETECTOR or CLASSIFIER.
        refit: whether it is of a model that ships, trained on all photos; the others leave a fold out.
        size: of the canvas, or of the crop.
        photos: that it learns from.
        held_out: photos that it is scored on; none in a refit.
        boxes: of a photo, on average: of those held out, in a refit of all.
        epoch_steps: optimiser steps of one epoch of a classifier.
        full: epochs of its recipe.
        fixed: whether the user has said how many; then it is never scaled.
        warm: whether it is a detector that starts from weights that find products: few epochs then do most of the work, and
            where time is short it gives way to a larger canvas and to the classifier.
        canvas: of a classifier, that of the detectors which look at the photos before it, to measure how their boxes err: at
            those held out, in a refit at all.
    """

    name: str
    stage: str
    refit: bool
    size: int
    photos: int
    held_out: int
    boxes: float
    epoch_steps: int
    full: int
    fixed: bool = False
    warm: bool = False
    canvas: int = 0

    @property
    def group(self) -> tuple[str, str]:
        """The fold trainings of one group are to be alike: the folder's own name, and whether it is a refit."""
        return self.name.rpartition("/")[2], "refit" if self.refit else "fold"

    def seconds(self, speeds: Speeds, epochs: int) -> float:
        """What it takes with so many epochs."""
        if self.stage == DETECTOR:
            return speeds.detector(self.size, epochs, self.photos, self.held_out)
        crops, looks = round(self.held_out * self.boxes), self.photos if self.refit else self.held_out
        steps = epochs * self.epoch_steps * (speeds.second if self.group[0] == SECOND else 1.0)
        learning = speeds.classifier(self.size, steps, self.photos + self.held_out, crops)
        return learning + (looks * speeds.find_exported.at(self.canvas) if self.canvas else 0.0)

    def epochs(self, scale: float) -> int:
        """Its epochs where all are scaled by `scale`: at least 1, at most those of its recipe, LONGEST times in a refit.

        Below 1 a `warm` training takes scale to the power EARLY of them.

        >>> fold = Training("cross_fit/0/one", DETECTOR, False, 640, 50, 25, 9.0, 0, 40)
        >>> fold.epochs(0.5), fold.epochs(0.0), fold.epochs(2.0), fold._replace(refit=True).epochs(2.0)
        (20, 1, 40, 80)
        >>> fold._replace(warm=True).epochs(0.25)
        5
        """
        if self.fixed:
            return self.full
        share = min(scale, LONGEST if self.refit else 1.0)
        return max(1, int(self.full * (share**EARLY if self.warm and share < 1 else share)))


def trainings(
    procedure: Procedure, survey: Survey, fixed: Iterable[str] = (), shares: Sequence[Share] = ()
) -> Iterator[Training]:
    """The trainings of a procedure in the order they come; `fixed` are the stages whose epochs the user has said.

    `shares` are what the folds leave out, as they were dealt; without any they are taken to be alike.
    """
    stages = tuple(fixed)
    for fold, share in enumerate(shares or alike(procedure, survey)):
        yield from _of_a_folder(f"cross_fit/{fold}/" if procedure.refit else "", procedure, survey, share, stages)
    if procedure.refit:
        yield from _of_a_folder("", procedure, survey, Share(0, 0.0), stages)


def alike(procedure: Procedure, survey: Survey) -> list[Share]:
    """What each fold leaves out, or the one that is left out for good, where all hold as many photos and boxes."""
    ends = [survey.photos * fold // procedure.folds for fold in range(procedure.folds + 1)]
    photos = [end - start for start, end in pairwise(ends)] if procedure.refit else [survey.photos // procedure.folds]
    return [Share(n, survey.boxes * n / survey.photos) for n in photos]


def left_out(survey: Survey, procedure: Procedure, shares: Sequence[Share] = ()) -> Survey:
    """What is left out of some training: all photos once, or one fold for good."""
    if procedure.refit:
        return survey
    share = (shares or alike(procedure, survey))[0]
    return replace(survey, photos=share.photos, boxes=round(share.boxes))


def _of_a_folder(prefix: str, procedure: Procedure, survey: Survey, share: Share, fixed: tuple[str, ...]) -> Iterator[Training]:
    """The trainings in one run folder, where a fold's share is held out (no photos: a refit)."""
    held_out, photos = share.photos, survey.photos - share.photos
    boxes = share.boxes / held_out if held_out else survey.boxes / survey.photos
    detectors: dict[str, Config | None] = {"one": procedure.detector, "all": procedure.aware}
    for name, config in detectors.items():
        if config is not None:
            full = engine.epochs(config, survey.photos)
            warm = has_start(config, procedure.pretrained)
            yield Training(
                prefix + name, DETECTOR, not held_out, config.size, photos, held_out, boxes, 0, full, DETECTOR in fixed, warm
            )
    studio = survey.studio_photos if procedure.crops == "both" else 0
    for name, namer in procedure.classifiers.items():
        full, _ = fit.schedule(survey.boxes + studio, namer)
        _, steps = fit.schedule(max(1, round(survey.boxes - share.boxes) + studio), namer)
        yield Training(
            prefix + name, CLASSIFIER, not held_out, namer.size, photos, held_out, boxes, steps, full, CLASSIFIER in fixed,
            canvas=procedure.detector.size,
        )  # fmt: skip


def with_epochs(epochs: int) -> dict[str, int]:
    """The settings that give a training just so many epochs: the least number of steps may not stretch them."""
    return {"epochs": epochs, "min_steps": 0}


def scale_for(entries: Iterable[Training], seconds: float, cost: Callable[[Training, int], float]) -> float:
    """The largest scale at which `entries` take at most so many seconds by their `cost`; 0.0 if even 1 epoch each is too long.

    >>> scale_for([], 10.0, lambda training, epochs: 1.0)
    3.0
    """
    entries, low, high = list(entries), 0.0, LONGEST
    if sum(cost(entry, entry.epochs(high)) for entry in entries) <= seconds:
        return high
    for _ in range(STEPS_OF_BISECTION):
        middle = (low + high) / 2
        fits = sum(cost(entry, entry.epochs(middle)) for entry in entries) <= seconds
        low, high = (middle, high) if fits else (low, middle)
    return low
