"""The ensemble that the gate is fitted to reads photos as the data set's labels mean them."""

from dataclasses import replace
from pathlib import Path

import pytest
from constant_models import CANDIDATES, save_model

from experiments.performance.exif_photos import labelled
from photos.data import DataError
from stage2_classifier.gate.ensemble import default_ensemble, write_ensemble
from stage2_classifier.gate.fit import wanted_ensemble

TURNED, STORED, SILENT = (6, "landscape", "turned"), (6, "landscape", "stored"), (3, "landscape", "stored")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run folder with the models of both stages."""
    save_model(tmp_path / "R" / "one", CANDIDATES, task="detector")
    save_model(tmp_path / "R" / "all", CANDIDATES, task="detector", categories=[0])
    save_model(tmp_path / "R" / "classifier_shelf", CANDIDATES, task="classifier", categories=[0])
    return tmp_path / "R"


def test_the_default_ensemble_follows_the_labels(runs: Path, tmp_path: Path) -> None:
    for name, rows in (("turned", [TURNED, SILENT]), ("stored", [STORED, SILENT])):
        assert default_ensemble(runs, ["classifier_shelf"], labelled(tmp_path / name, rows)).exif == name
    with pytest.raises(DataError, match=r"run\.py reads all photos by one rule"):
        default_ensemble(runs, ["classifier_shelf"], labelled(tmp_path / "both", [TURNED, STORED]))


def test_the_ensemble_that_is_there_follows_the_labels_where_they_tell(runs: Path, tmp_path: Path) -> None:
    silent = labelled(tmp_path / "silent", [SILENT])
    write_ensemble(runs, replace(default_ensemble(runs, ["classifier_shelf"], silent), exif="turned"))
    assert wanted_ensemble(runs, None, silent).exif == "turned"
    assert wanted_ensemble(runs, None, labelled(tmp_path / "stored", [STORED])).exif == "stored"
