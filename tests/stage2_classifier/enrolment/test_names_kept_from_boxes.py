"""Where the ensemble keeps what is taught from every box, enrolling says so; and nothing where it does not."""

import json
from pathlib import Path

import numpy as np
import pytest
from taught_shop import IDS, taught

from fusion.pipeline import load

MUTE = {
    "the gate": ({"gate": {"policy": "detector"}}, 'gate.policy is "detector"', 'set gate.policy to "agree" there'),
    "no gate": ({"gate": {}}, 'gate.policy is "detector"', 'set gate.policy to "agree" there'),
    "the floor": ({"naming_floor": 1.5}, "naming_floor is 1.5", "set naming_floor to 0 there"),
    "both": ({"gate": {}, "naming_floor": 2}, 'gate.policy is "detector" and naming_floor is 2', "and naming_floor to 0 there"),
}


@pytest.mark.parametrize(("changes", "why", "remedy"), MUTE.values(), ids=MUTE)
def test_a_name_that_the_ensemble_keeps_from_every_box_is_told(
    shop: Path, runs: Path, capsys: pytest.CaptureFixture[str], changes: dict, why: str, remedy: str
) -> None:
    path, blue_shelf = runs / "ensemble.json", np.full((64, 64, 3), (10, 10, 245), np.uint8)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert taught(shop, runs, "Blue Tea", (20, 20, 230), "--json") == 0
    assert {row["category_id"] for row in load(runs)(blue_shelf)} <= set(IDS)
    out = capsys.readouterr()
    told = " ".join(line for line in (out.out + out.err).splitlines() if "no box gets this name" in line)
    assert f"in {path} {why}, which" in told and remedy in told
    assert json.loads(out.out)["ignored"] in told
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"gate": {"policy": "agree"}, "naming_floor": 0}))
    assert {row["category_id"] for row in load(runs)(blue_shelf)} == {8}


def test_nothing_of_that_is_said_of_a_product_that_the_detectors_learn(
    shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gate": {"policy": "detector"}}))
    assert taught(shop, runs, "Red Tea", (230, 20, 20), "--json") == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["ignored"] == "" and "no box" not in out.out + out.err


def test_nothing_of_that_is_said_where_the_classifier_alone_names(
    shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without class evidence the gate that keeps the detectors' names takes the classifier's."""
    values = json.loads((runs / "ensemble.json").read_text()) | {"gate": {"policy": "detector"}}
    values["detectors"][0]["evidence_weight"] = 0.0
    (runs / "ensemble.json").write_text(json.dumps(values))
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    assert "no box" not in capsys.readouterr().out
    assert {row["category_id"] for row in load(runs)(np.full((64, 64, 3), (10, 10, 245), np.uint8))} == {8}
