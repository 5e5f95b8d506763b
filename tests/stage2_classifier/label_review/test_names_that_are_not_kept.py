"""The labels of a run folder that may only be read are looked at, and the names of the crops are not kept there."""

import errno

import numpy as np
import pytest
from place import Place

from fusion.ensemble import read_ensemble
from photos.data import read
from stage2_classifier.label_review import review
from stage2_classifier.label_review.review import EvidenceSource


def test_names_are_told_where_nothing_can_be_written(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*given: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(review, "replacing", refuse)
    photo = next(photo for photo in read(place.data).photos if len(photo.boxes))
    boxes = photo.boxes + np.float32(0.5)  # which no other test has named
    rows = EvidenceSource(read_ensemble(place.runs), place.runs).names(photo, boxes)
    assert len(rows) == len(boxes) and "raw cannot be written" in capsys.readouterr().out
