"""Where a new name goes in class maps, and the scale and bias that it gets there."""

import json
from pathlib import Path

import numpy as np
import pytest

from photos.data import Category, Dataset
from stage2_classifier import class_map
from stage2_classifier.prototypes import Place
from stage2_classifier.scaling import Scaling

IDS = [3, 7]


def test_a_new_name_takes_hardly_a_crop_of_the_others() -> None:
    rng, at = np.random.default_rng(0), Place(2, 9, False)
    logits = rng.normal(0, 1, (2000, 4))
    logits[:, 2] += 3
    for side in ({"temperature": 0.5}, {"temperature": 1.0, "scale": [1.0, 1, 2, 1], "bias": [0.0, 0, 1, 0]}):
        lowered = class_map.with_bias(side, at, 4, class_map.bias_of(logits, side, at))
        assert lowered["bias"][:2] == [0, 0] and lowered["bias"][3] == 0
        scaled = Scaling(side["temperature"], side.get("scale"), lowered["bias"]).scaled(logits)
        assert 0.001 < (scaled.argmax(1) == 2).mean() <= class_map.STOLEN
    assert class_map.bias_of(logits - 9 * np.eye(4)[2], {}, at) == 0, "a name that takes none keeps its logit"
    assert class_map.bias_of(logits[:0], {}, at) == 0


def test_vector_scaling_gets_neutral_entries_before_the_background() -> None:
    side = {"categories": IDS, "scale": [2.0, 3.0, 4.0], "bias": [0.1, 0.2, 0.3], "background": True}
    new = class_map.with_category(side, Place(2, 9, False), 1.0)
    assert (new["categories"], new["scale"], new["bias"]) == ([3, 7, 9], [2.0, 3.0, 1.0, 4.0], [0.1, 0.2, 0.0, 0.3])
    replaced = class_map.with_category(side, Place(0, 3, True), 1.0)
    assert (replaced["categories"], replaced["scale"], replaced["bias"]) == (IDS, [1.0, 3.0, 4.0], [0.0, 0.2, 0.3])
    assert class_map.with_category(side, Place(0, 3, True), 0.5) == side  # a mixed column keeps what was fitted
    assert class_map.with_category({"categories": IDS, "scale": None}, Place(2, 9, False), 1.0)["scale"] is None


NAMES = Dataset(Path("shop"), (Category(3, "Red Tea"), Category(7, "Green Tea"), Category(8, "Black Tea")), ())


@pytest.mark.parametrize(
    ("name", "wanted", "enrolled", "place"),
    [
        pytest.param("Blue Tea", None, [], Place(2, 9, False), id="new: past every id, the data set's too"),
        pytest.param("Blue Tea", 5, [], Place(2, 5, False), id="new, with an id"),
        pytest.param("red tea ", None, [], Place(0, 3, True), id="known"),
        pytest.param("Black Tea", None, [], Place(2, 8, False), id="of the data set, but not of the model"),
        pytest.param("Pu-Erh", None, [{"name": "pu-erh", "id": 7}], Place(1, 7, True), id="enrolled before"),
        pytest.param("Red Tea", None, [{"name": "red tea", "id": 41}], Place(0, 3, True), id="known, taught to another as 41"),
    ],
)
def test_where_a_name_goes(name: str, wanted: int | None, enrolled: list, place: Place) -> None:
    assert class_map.find_place(name, wanted, IDS, NAMES, enrolled) == place


def test_an_id_that_tools_round_is_neither_taken_nor_chosen() -> None:
    largest = class_map.LARGEST_ID
    for wanted, known in ((10**20, IDS), (None, [*IDS, largest])):
        with pytest.raises(ValueError, match=rf"--id: got \d+, must be in \[0, {largest}\]"):
            class_map.find_place("Blue Tea", wanted, known, NAMES, [])
    assert class_map.find_place("Blue Tea", largest, IDS, NAMES, []) == Place(2, largest, False)
    own = Dataset(Path("shop"), (*NAMES.categories, Category(largest + 5, "Mate")), ())
    assert class_map.find_place("Mate", None, IDS, own, []) == Place(2, largest + 5, False), "what a data set has is kept"


def test_a_name_whose_id_is_also_another_ones_is_refused() -> None:
    enrolled = [{"name": "Pu-Erh", "id": 9}, {"name": "Blue Tea", "id": 9}]
    with pytest.raises(ValueError, match="enrolled as 9 are 'pu-erh' and 'blue tea'"):
        class_map.find_place("Pu-Erh", None, [*IDS, 9], NAMES, enrolled)


def test_an_id_that_is_another_name_in_the_ensemble_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.json"
    values = {
        "classifiers": [{"file": "eye/model.onnx"}],
        "categories": [3, 7, 9],
        "names": ["Red Tea", "Green Tea", "Blue Tea"],
    }
    path.write_text(json.dumps(values))
    assert class_map.widened(path, "eye/model.onnx", IDS, [3, 7, 9], "blue tea") is None
    with pytest.raises(ValueError, match="knows category 9 'Blue Tea', and eye/model"):
        class_map.widened(path, "eye/model.onnx", IDS, [3, 7, 9], "Pu-Erh")
