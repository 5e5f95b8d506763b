"""What the server works with: the model, the photos of visitors, what there is to review. One photo at a time is recognised."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from fusion.boxes import Floats
from fusion.pipeline import RawViews
from recognition.frames import Frame, read_photo
from recognition.inputs import Input
from recognition.prediction_run import Job
from reviewing.doubts import Doubts
from reviewing.evidence import Image, guesses_of_drawn_box, naming_views, recognised_boxes
from reviewing.labelling import Labelling
from reviewing.recognised import Recognised, recognised
from reviewing.uploads import Limits
from reviewing.visitors import Visitors

PREPARED = 4  # chosen: photos whose pixels and detectors' outputs are kept, so that a box drawn on them is named at once


@dataclass
class Desk:
    """What the server works with. `notes` say why a tab has nothing to show, by its name; `start` is this start's own word."""

    job: Job
    visitors: Visitors
    limits: Limits = field(default_factory=Limits)
    doubts: Doubts | None = None
    labelling: Labelling | None = None
    notes: dict[str, str] = field(default_factory=dict)
    uploads: int = 0
    start: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    one_photo: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._prepared: Callable[[Input], tuple[Image, RawViews]] = lru_cache(PREPARED)(self._prepare)

    @property
    def exif(self) -> str:
        """The rule by which photos are turned."""
        return self.job.recogniser.pipeline.ensemble.exif

    def recognise(self, frame: Frame) -> Recognised:
        """What the models find on a photo; one photo at a time."""
        with self.one_photo:
            boxes = recognised_boxes(self.job.recogniser.pipeline, frame.image, self.job.recogniser.names)
        return recognised(frame, boxes)

    def recognise_file(self, photo: Input) -> Recognised:
        """What the models find on a photo in a file."""
        return self.recognise(read_photo(photo, self.exif))

    def prepare(self, photo: Input) -> None:
        """Do beforehand what the first box that is drawn on a photo would wait for."""
        with self.one_photo:
            self._prepared(photo)

    def name_box(self, photo: Input, box: Floats) -> list[int]:
        """The labels that a box (4,), x0 y0 x1 y1, most probably has that a person drew on a photo, best first."""
        with self.one_photo:
            image, views = self._prepared(photo)
            return guesses_of_drawn_box(self.job.recogniser.pipeline, image, views, box)

    def _prepare(self, photo: Input) -> tuple[Image, RawViews]:
        image = read_photo(photo, self.exif).image
        return image, naming_views(self.job.recogniser.pipeline, image)
