"""What models find on photos, as the gate is fitted on it."""

import numpy as np
import pytest
from constant_models import save_model
from place import IDS, Place

from fusion.ensemble import read_ensemble
from photos.data import read
from stage2_classifier.gate.evidence import collect, no_progress


def test_a_classifier_that_gives_nan_is_refused(place: Place) -> None:
    save_model(place.runs / "classifier_shelf", [np.nan, 0, 0], task="classifier", family="timm", categories=IDS)
    photos = read(place.data).photos[:1]
    with pytest.raises(
        ValueError, match=r"classifier_shelf/model\.onnx: got numbers that are not finite on .*jpg; train it again"
    ):
        collect(read_ensemble(place.runs), place.runs, photos, place.runs / "raw", no_progress)
