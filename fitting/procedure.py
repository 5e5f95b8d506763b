"""What is done to fit a data set, as a record, and what comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fusion.ensemble import Ensemble
from photos.intervals import Interval, Intervals
from runs.first_command import CROPS
from stage1_detector.config import Config, from_settings
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.gate.choose import Choice
from stage2_classifier.training_request import run_name

Say = Callable[[str], None]
SHARES = (0.5, 0.3, 0.15, 0.0)  # chosen: of its start that the detector may keep, in the order in which they are preferred
SHOWN = 40  # chosen: photos of each fold, at most, that the shares are judged on
SECOND = "second"  # the folder of a second classifier in a run folder
MIN_FOLDS = 2  # derived: with one, no photo would be left out of anything


@dataclass(frozen=True)
class Procedure:
    """What is trained, with which settings, and how often.

    Attributes:
        detector: the class-agnostic detector's settings.
        classifier: the crop classifier's.
        second: a second one's, on another backbone; the mean of both names a crop. None: there is none.
        aware: the class-aware detector's; None: there is none, and the gate does without its evidence.
        crops: what the classifier learns from, "shelf" or "both" (shelf and studio photos).
        pretrained: what the detector starts from, as `--pretrained` takes it: a name, a file, or "none".
        crop_pretrained: what the classifier does, likewise; empty: the same.
        trust: a file, or its folder, whose pickled code may run; empty: none.
        start_share: of the detector's start that it keeps, 0..1; None: chosen on the folds (`fitting.start_share`).
        folds: into how many folds the scenes are dealt.
        refit: whether each fold is left out once and the models that ship learn from all; else one fold is left out for good,
            and the models that learned from the others are those that ship.
        seed: of the deal, and of the gate's turns and bootstrap. The trainings have seeds of their own.
        groups: how scenes are found, as `hylle folds --groups` takes it.
    """

    detector: Config
    classifier: ClassifierConfig
    aware: Config | None = None
    second: ClassifierConfig | None = None
    crops: str = "shelf"
    pretrained: str = "starter"
    crop_pretrained: str = ""
    trust: str = ""
    start_share: float | None = None
    folds: int = 3
    refit: bool = True
    seed: int = 0
    groups: str = "auto"

    def __post_init__(self) -> None:
        """Raises ValueError for fewer than MIN_FOLDS folds, or unknown crops."""
        if self.folds < MIN_FOLDS:
            raise ValueError(f"--folds: got {self.folds}, must be at least {MIN_FOLDS}")
        if self.crops not in CROPS:
            raise ValueError(f"--crops: got {self.crops!r}, allowed: {', '.join(CROPS)}")

    @property
    def classifiers(self) -> dict[str, ClassifierConfig]:
        """The settings of each classifier by its folder in a run folder, in the order in which they are trained."""
        second = {} if self.second is None else {SECOND: self.second}
        return {run_name(None, self.crops): self.classifier} | second

    @property
    def pretrained_path(self) -> Path | None:
        """What the detector starts from, as its request takes it."""
        return None if self.pretrained == "none" else Path(self.pretrained)

    @property
    def crop_pretrained_path(self) -> Path | None:
        """The same of the classifier."""
        return self.pretrained_path if not self.crop_pretrained else Path(self.crop_pretrained)

    @property
    def trusted(self) -> Path | None:
        """`trust` as the detector's request takes it."""
        return Path(self.trust) if self.trust else None

    def settings(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


def procedure_from(settings: Mapping[str, Any]) -> Procedure:
    """The procedure that `Procedure.settings` made these JSON values of."""
    values = dict(settings)
    detector, aware = from_settings(values.pop("detector")), values.pop("aware")
    namers = {name: ClassifierConfig(**config) for name in ("classifier", "second") if (config := values.pop(name, None))}
    return Procedure(detector=detector, aware=aware and from_settings(aware), **namers, **values)


@dataclass(frozen=True)
class Fitted:
    """What a procedure has made of a data set.

    Attributes:
        ensemble: what R/ensemble.json holds.
        choice: the gate, and why.
        figures: det, cls and score of the whole procedure on photos that neither the models nor the gate saw, cross-fitted.
        name_oracle: the score if every box that is found had its true name.
        box_oracle: the score if every product had one exact box, named as the procedure names the one it finds.
        test: the same figures of the models that ship, on the test part that the set came with; None where it came with none.
        seconds: that each part took, by its name; 0 where it was there already.
        resampled: what the intervals of `figures` are over: scenes, or photos where there are too few scenes.
        nested: whether no photo was judged by a gate that saw it; not so where all photos left out are of one scene.
        lone: of the names that are on photos of one fold only, in words; empty where there are none.
    """

    ensemble: Ensemble
    choice: Choice
    figures: Intervals
    name_oracle: float
    box_oracle: float
    test: Intervals | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    resampled: str = "scenes"
    nested: bool = True
    lone: str = ""

    @property
    def score(self) -> Interval:
        """The cross-fitted score, with its interval over what is `resampled`."""
        return self.figures.score
