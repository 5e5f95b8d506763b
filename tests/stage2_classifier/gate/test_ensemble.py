"""The ensemble that the gate is fitted to reads photos as the data set's labels mean them, and knows the products' names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from constant_models import CANDIDATES, save_model

from experiments.performance.exif_photos import labelled
from fusion.ensemble import ClassifierMember
from photos.data import Category, DataError, Dataset
from stage2_classifier.gate.ensemble import default_ensemble, product_names, write_ensemble
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


def test_a_folder_however_it_is_written_is_one_file(runs: Path, tmp_path: Path) -> None:
    ensemble = default_ensemble(runs, ["./classifier_shelf/"], labelled(tmp_path / "data", [SILENT]))
    assert [namer.file for namer in ensemble.classifiers] == ["classifier_shelf/model.onnx"]


def test_the_ensemble_knows_the_names_of_the_data_set(runs: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path / "data", [SILENT])
    named = replace(data, categories=(Category(data.categories[0].id, "Müsli"),))
    before = default_ensemble(runs, ["classifier_shelf"], named)
    assert before.names == ["Müsli"]
    write_ensemble(runs, replace(before, names=[]))  # as one of before has it
    assert wanted_ensemble(runs, None, named).names == ["Müsli"]


def test_enrolled_products_have_the_names_they_were_enrolled_under(runs: Path, tmp_path: Path) -> None:
    (runs / "classifier_shelf" / "enrolled.json").write_text(json.dumps([{"name": "Syltetøy", "id": 8, "replaced": False}]))
    ensemble = replace(
        default_ensemble(runs, ["classifier_shelf"], labelled(tmp_path / "data", [SILENT])),
        categories=[0, 8, 60],
        classifiers=[ClassifierMember("classifier_shelf/model.onnx")],
    )
    shop = Dataset(tmp_path, (Category(0, ""),), ())
    assert product_names(runs, ensemble, shop) == ["", "Syltetøy", "id 60"]
