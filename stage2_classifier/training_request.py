"""What a classifier's training is asked for: from what it learns, into which folder, and what becomes of what is there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from runs.first_command import CROPS
from runs.flags import Flag
from runs.pretrained import help_of
from stage2_classifier.pretrained import ALLOWED


class Plan(NamedTuple):
    """How many folds (0: none), whether their detectors are a rehearsal, and the weights file that R/one started from."""

    folds: int = 0
    quick: bool = False
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ClassifierRun:
    """From what a classifier is trained, into where, and what to do with what is there. Each field is a flag."""

    data: Annotated[Path, Flag("folder of photos and labels (COCO, YOLO, VOC or CSV)")]
    runs: Annotated[Path, Flag("run folder; holds folds.json", name="out")]
    crops: Annotated[str, Flag("where the crops come from", choices=CROPS)] = "shelf"
    studio: Annotated[Path | None, Flag("studio photos, one folder per product; default D/NM_NGD_product_images")] = None
    pretrained: Annotated[Path | None, Flag(help_of(ALLOWED))] = None
    name: Annotated[str | None, Flag("folder in R, for a second classifier beside the first; default classifier_CROPS")] = None
    folds: Annotated[int, Flag("train that many detectors and learn from their out-of-fold boxes too")] = 0
    detector_weights: Annotated[Path | None, Flag("for --folds: R/one's --pretrained, if it had one")] = None
    quick: Annotated[bool, Flag("a rehearsal: 1 epoch on 32 px crops")] = False
    refit: Annotated[
        Path | None, Flag("train on all photos, none in valid; the folder of the folds' runs, whose held-out crops calibrate")
    ] = None
    resume: Annotated[bool, Flag("go on with a stopped run")] = False
    force: Annotated[bool, Flag("start again, replacing what is there")] = False

    @property
    def out(self) -> Path:
        """The folder of this training. Raises ValueError for a name that is no plain one."""
        return self.runs / run_name(self.name, self.crops)

    @property
    def plan(self) -> Plan:
        """The folds to train detectors on."""
        return Plan(self.folds, self.quick, self.detector_weights)

    @property
    def title(self) -> str:
        """What progress lines begin with."""
        return f"classifier {self.name or self.crops}"


def run_name(name: str | None, crops: str) -> str:
    """The folder of a classifier in the run folder. Raises ValueError for a name that is no plain one.

    >>> run_name(None, "shelf"), run_name("second", "shelf")
    ('classifier_shelf', 'second')
    """
    taken = ("one", "all", "oof", "cross_fit", ".", "..", "")
    if name is not None and (name in taken or Path(name).name != name):
        raise ValueError(f"--name: got {name!r}, must be the name of a folder, and none of one, all, oof, cross_fit")
    return name or f"classifier_{crops}"
