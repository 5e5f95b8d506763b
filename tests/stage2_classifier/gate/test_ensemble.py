"""The ensemble that the gate is fitted to reads photos as the data set's labels mean them, and knows the products' names."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, save_model

from experiments.performance.exif_photos import labelled
from fusion.ensemble import ClassifierMember, Ensemble
from photos.data import Category, DataError, Dataset
from stage2_classifier.gate.ensemble import (
    default_ensemble,
    load_ensemble,
    product_names,
    refuse_other_products,
    write_ensemble,
)
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


@pytest.mark.parametrize("others", [[5], [0, 5], [5, 0]])
def test_a_model_of_another_class_map_is_refused_before_any_photo_is_looked_at(
    runs: Path, tmp_path: Path, others: list[int]
) -> None:
    data = labelled(tmp_path / "data", [SILENT])
    default = default_ensemble(runs, ["classifier_shelf"], data)
    save_model(runs / "other", CANDIDATES, task="detector", categories=others)
    other = replace(default.detectors[1], file="other/model.onnx")
    write_ensemble(runs, replace(default, detectors=[*default.detectors, other]))
    message = r"other/model.onnx: its class map is .* ids [05], .* must be that of ensemble.json, 1 categories, ids 0, "
    with pytest.raises(ValueError, match=message):
        wanted_ensemble(runs, None, data)
    with pytest.raises(ValueError, match=message):
        load_ensemble(runs)
    save_model(runs / "other", CANDIDATES, task="detector", categories=[0])
    assert [member.file for member in wanted_ensemble(runs, None, data).detectors] == [
        member.file for member in load_ensemble(runs).detectors
    ]


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


def by_default(runs: Path, shop: Dataset) -> Ensemble:
    return default_ensemble(runs, ["classifier_shelf"], shop)


def as_edited(runs: Path, shop: Dataset) -> Ensemble:
    return wanted_ensemble(runs, None, shop)


@pytest.mark.parametrize("ensemble_of", [by_default, as_edited])
@pytest.mark.parametrize("name", ["Soda", "SYLTETØY "])
def test_the_id_of_an_enrolled_product_is_no_other_product_of_the_data_set(
    runs: Path, tmp_path: Path, ensemble_of: Callable[[Path, Dataset], Ensemble], name: str
) -> None:
    """A labelling tool gives the next free id as enrolling does; the column would be predicted under the other's name."""
    shutil.rmtree(runs / "all")
    save_model(runs / "classifier_shelf", np.zeros(2), task="classifier", categories=[0, 8])
    (runs / "classifier_shelf" / "enrolled.json").write_text(json.dumps([{"name": "Syltetøy", "id": 8, "replaced": False}]))
    write_ensemble(runs, by_default(runs, labelled(tmp_path / "data", [SILENT])))
    shop = replace(labelled(tmp_path / "more", [SILENT]), categories=(Category(0, "Müsli"), Category(8, name)))
    if name != "Soda":
        assert ensemble_of(runs, shop).names == ["Müsli", name]
        return
    with pytest.raises(ValueError, match=r"category 8: got 'Soda' in .*, but as 'Syltetøy' it was enrolled .*--undo"):
        ensemble_of(runs, shop)


def test_a_data_set_may_correct_the_name_of_a_column_that_was_trained_and_then_replaced(runs: Path) -> None:
    (runs / "classifier_shelf" / "enrolled.json").write_text(json.dumps([{"name": "Musli", "id": 0, "replaced": True}]))
    ensemble = Ensemble([0], [], classifiers=[ClassifierMember("classifier_shelf/model.onnx")])
    refuse_other_products(runs, ensemble, Dataset(runs, (Category(0, "Müsli"),), ()))
