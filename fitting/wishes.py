"""What a user may decide of a fit in place of the plan. Loads nothing heavy."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from runs.flags import Flag, check
from stage1_detector.config import STRIDE

SMALLEST_CROP = 16  # taken: of stage2_classifier.config.ClassifierConfig
PRETRAINED = "start from: auto, imagenet, coco, starter, none, or a local weights file; for a stage that it does not fit auto"

SECOND = "a second backbone beside it, as timm names it: the mean of both names, each for half of the epochs; empty: none"


@dataclass(frozen=True)
class Wishes:
    """What the user decides in place of the plan; 0, "" and "auto" leave it to the plan. Each field is a flag."""

    size: Annotated[int, Flag("long side of the detector's canvas, a multiple of 32; 0: planned", 0, 8192, common=True)] = 0
    epochs: Annotated[int, Flag("the detectors' epochs; 0: planned", 0, 10**6, common=True)] = 0
    model: Annotated[str, Flag("the detector, a model YAML of ultralytics; empty: planned")] = ""
    classifier: Annotated[str, Flag("the classifier's backbone, as timm names it; empty: planned", common=True)] = ""
    second_classifier: Annotated[str, Flag(SECOND)] = ""
    crop_size: Annotated[int, Flag("side of a crop in pixels; 0: planned", 0, 2048, common=True)] = 0
    crop_epochs: Annotated[int, Flag("the classifiers' epochs; 0: planned", 0, 10**6, common=True)] = 0
    aware: Annotated[str, Flag("a detector of names besides", choices=("auto", "yes", "no"), common=True)] = "auto"
    crops: Annotated[str, Flag("what the classifier learns from", choices=("auto", "shelf", "both"), common=True)] = "auto"
    folds: Annotated[int, Flag("parts that are left out in turn, 2 or more; 0: planned", 0, 20, common=True)] = 0
    refit: Annotated[str, Flag("train on all at last; no: one part never learned from", choices=("auto", "yes", "no"))] = "auto"
    pretrained: Annotated[str, Flag(PRETRAINED, common=True)] = "auto"
    trust: Annotated[str, Flag("a weights file from elsewhere, or its folder, whose pickled code may run")] = ""
    start_share: Annotated[str, Flag("share of its start's weights that the detector keeps: auto (chosen), or 0 to 1")] = "auto"
    groups: Annotated[str, Flag("photos of one shelf: auto (found), photo (each alone), FILE.csv (file_name,scene)")] = "auto"
    seed: Annotated[int, Flag("seed of all that is drawn by chance", 0, 2**32 - 1)] = 0
    crop_pretrained: str = ""  # no flag: what the classifier starts from where `pretrained` is the detector's alone

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        check(self)
        if 0 < self.crop_size < SMALLEST_CROP:
            raise ValueError(f"--crop-size: got {self.crop_size}, must be {SMALLEST_CROP} or more; 0: planned")
        if self.size % STRIDE:
            raise ValueError(f"--size: got {self.size}, must be a multiple of {STRIDE}")
        if self.start_share != "auto" and not 0 <= _number(self.start_share) <= 1:
            raise ValueError(f"--start-share: got {self.start_share}, must be auto, or a number from 0 to 1")
        if self.folds == 1:
            raise ValueError("--folds: got 1, need 2 or more: each part is judged by models that did not learn from it")

    @property
    def start_of_crops(self) -> str:
        """What the classifier starts from."""
        return self.crop_pretrained or self.pretrained

    @property
    def trusted(self) -> Path | None:
        """`trust` as a path; None where nothing from elsewhere may run."""
        return Path(self.trust) if self.trust else None

    @property
    def share(self) -> float | None:
        """`start_share` as a number; None where it is to be chosen."""
        return None if self.start_share == "auto" else float(self.start_share)


def _number(text: str) -> float:
    """The number that `text` is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
