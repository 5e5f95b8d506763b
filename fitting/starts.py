"""Which stages of a fit `--pretrained` is of: those that the word or the file fits; the other starts from what auto takes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from fitting import machine
from fitting.stage_settings import classifier_of, detector_of
from fitting.survey import Survey
from fitting.wishes import Wishes
from runs import fetched
from runs.pretrained import word_of
from runs.refusal import Refusal
from stage1_detector.config import STRIDE, Config
from stage1_detector.pretrained import start as detector_start
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.pretrained import BEST
from stage2_classifier.pretrained import start as classifier_start

AUTO = "auto"


def settled(survey: Survey, wishes: Wishes) -> tuple[Wishes, str]:
    """The wishes with what each stage starts from, and what to say of it; empty where `--pretrained` is of both.

    Raises ValueError where it is of neither, with both reasons, and for networks that could not be built.
    """
    if wishes.pretrained in (AUTO, "none"):
        return wishes, ""
    given, none = Path(wishes.pretrained), replace(wishes, pretrained="none")
    detector, classifiers = detector_of(none, wishes.size or STRIDE), list(_classifiers(survey, wishes))
    machine.refuse_detector(detector, None)
    machine.refuse_classifier(classifiers[0], None)
    if not word_of(given):
        fetched.refuse_changed(given)
    not_found = _why_not(lambda: machine.refuse_detector(detector, given, wishes.trusted), given)
    reasons = {config.model: _why_not(_loading(config, given), given) for config in classifiers}
    fitting = next((model for model, reason in reasons.items() if not reason), "")
    not_named = "" if fitting else next(iter(reasons.values()))
    if not_found and not_named:
        raise ValueError(f"--pretrained: got {given}, which fits neither stage; detector: {not_found}; classifier: {not_named}")
    if fitting and not word_of(given):
        wishes = replace(wishes, classifier=fitting)
    if not_found:
        return _of_classifier(wishes, detector)
    return (wishes, "") if fitting else _of_detector(survey, wishes)


def _classifiers(survey: Survey, wishes: Wishes) -> Iterator[ClassifierConfig]:
    """The classifier's settings, whose network may be another one where the user has not said which."""
    config = classifier_of(survey, replace(wishes, pretrained="none"), both=False)
    yield config
    if not wishes.classifier and config.model != BEST:
        yield replace(config, model=BEST)


def _loading(config: ClassifierConfig, given: Path) -> Callable[[], None]:
    """What loads the weights into the network of `config`."""
    return lambda: machine.refuse_classifier(config, given)


def _why_not(refuse: Callable[[], None], given: Path) -> str:
    """Why a stage cannot start from what is given; empty where it can."""
    try:
        refuse()
    except ValueError as error:
        told = error.told_by("") if isinstance(error, Refusal) else str(error)
        return told.removeprefix(f"--pretrained: got {given}, ").removeprefix("--pretrained: ").removeprefix("which ")
    return ""


def _of_classifier(wishes: Wishes, detector: Config) -> tuple[Wishes, str]:
    """The wishes where `--pretrained` is of the classifier alone, in words too."""
    why = detector_start(Path(AUTO), detector).why
    told = f"{wishes.pretrained} is of the classifier alone; the detector starts from what auto takes: {why}"
    return replace(wishes, pretrained=AUTO, crop_pretrained=wishes.pretrained), told


def _of_detector(survey: Survey, wishes: Wishes) -> tuple[Wishes, str]:
    """The same of the detector."""
    wishes = replace(wishes, crop_pretrained=AUTO)
    why = classifier_start(Path(AUTO), classifier_of(survey, wishes, both=False).model).why
    return wishes, f"{wishes.pretrained} is of the detector alone; the classifier starts from what auto takes: {why}"
