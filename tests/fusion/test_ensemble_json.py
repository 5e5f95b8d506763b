"""ensemble.json: what is wrong in it is told by field, and without it the models that lie side by side are the ensemble."""

import json
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, CATEGORIES, save_model

from fusion.ensemble import parse
from fusion.pipeline import load

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"speed": 1}, "unknown field 'speed', known: categories, detectors", id="at the top"),
        pytest.param({"merge": {"iuo": 0.5}}, "merge: unknown field 'iuo', known: method, iou", id="in merge"),
        pytest.param({"gate": {"polcy": "raw"}}, "gate: unknown field 'polcy', known: policy", id="in the gate"),
        pytest.param({"detectors": [{"weight": 1}]}, r"detectors\[0\]: .*missing .*'file'", id="a member without a file"),
        pytest.param({"detectors": []}, "got none, need at least 1", id="no member"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_the_known_ones(runs: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(json.loads((runs / "ensemble.json").read_text()) | change)


def test_no_ensemble_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ensemble\.json: not found"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"time_budget_s": "270"}, "time_budget_s: got '270', need 'float'", id="text for a number"),
        pytest.param({"most": 1.5}, "most: got 1.5, need 'int'", id="a fraction for a count"),
        pytest.param({"shed": 5}, "shed: got 5, need list", id="a number for a list"),
        pytest.param({"categories": [1, None]}, "categories: got \\[1, None\\], need list", id="null for an id"),
        pytest.param({"merge": {"iou": None}}, "merge: iou: got None, need 'float'", id="null for a number"),
        pytest.param({"merge": {"iou": float("nan")}}, "merge: iou: got nan, need 'float'", id="not a number"),
        pytest.param({"gate": {"overrides": [[1, "a"]]}}, "gate: overrides: got", id="text in a table"),
    ],
)
def test_a_field_of_another_type_is_told(values: dict[str, object], message: str) -> None:
    good = {"categories": [1], "detectors": [{"file": "one.onnx", "views": [{"size": 64}]}]}
    assert parse(good).time_budget_s == 270
    with pytest.raises(ValueError, match=message):
        parse(good | values)


def side_by_side(folder: Path, **sidecars: dict[str, object]) -> Path:
    """Constant models flat in a folder, as in a zip."""
    outputs = {"agnostic": CANDIDATES, "aware": np.concatenate([CANDIDATES[:4], [[0.8, 0.1], [0.1, 0.1], [0.0, 0.5]]]),
               "namer": np.array([0.0, 9.0, 0.0])}  # fmt: skip
    tasks = {"agnostic": {"task": "detector"}, "aware": {"task": "detector", "categories": CATEGORIES},
             "namer": {"task": "classifier", "family": "timm", "categories": CATEGORIES}}  # fmt: skip
    for name, more in sidecars.items():
        save_model(folder / name, outputs[name], **(tasks[name] | more))
        for suffix in (".onnx", ".json"):
            (folder / name / f"model{suffix}").rename(folder / f"{name}{suffix}")
    return folder


@pytest.mark.parametrize(
    ("models", "weights", "names"),
    [
        pytest.param(["agnostic"], [(1, 0)], {0}, id="a detector alone: boxes of one category"),
        pytest.param(["aware"], [(1, 1)], {7, 40}, id="a class-aware one alone: boxes and names"),
        pytest.param(["agnostic", "aware"], [(1, 0), (0, 1)], {7, 40}, id="both: boxes from one, names from the other"),
        pytest.param(["agnostic", "namer"], [(1, 0)], {3}, id="names from the classifier"),
    ],
)
def test_without_ensemble_json_every_model_beside_it_is_used(
    tmp_path: Path, models: list[str], weights: list[tuple[int, int]], names: set[int]
) -> None:
    pipeline = load(side_by_side(tmp_path, **{name: {} for name in models}))
    assert [(m.weight, m.evidence_weight) for m in pipeline.ensemble.detectors] == weights
    rows = pipeline(PHOTO)
    assert len(rows) == 2 and {row["category_id"] for row in rows} == names


def test_models_that_nothing_can_be_made_of_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ensemble\.json: not found"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"models: got namer\.onnx, need a detector"):
        load(side_by_side(tmp_path / "a", namer={}))
    with pytest.raises(ValueError, match=r"namer\.onnx: other categories than the models beside it"):
        load(side_by_side(tmp_path / "b", aware={}, namer={"categories": [3, 7, 40]}))


@pytest.mark.parametrize("names", [["cola"], ["cola", "tea", "milk"]], ids=["too few", "too many"])
def test_names_that_are_not_one_for_each_category_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=f"names: got {len(names)}, need 2, one for each category"):
        parse({"categories": [7, 3], "detectors": [{"file": "one.onnx", "views": [{"size": 64}]}], "names": names})


@pytest.mark.parametrize(
    "wrong", [{"naming_margin": 0.0}, {"naming_margin": 0.5}, {"naming_floor": -0.1}, {"naming_typical": -1}]
)
def test_numbers_by_which_nothing_could_be_named_are_refused(wrong: dict[str, float]) -> None:
    values = {"categories": [7, 3], "detectors": [{"file": "one.onnx", "views": [{"size": 64}]}], "naming_floor": 0.3}
    assert parse(values | {"naming_margin": 1.0}).naming_floor == 0.3
    with pytest.raises(ValueError, match=r"naming_typical: got .*, need at least 0, 1 and 0"):
        parse(values | wrong)
