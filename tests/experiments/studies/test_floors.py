"""Floors wanted and reached: what is refused, what is measured where, and what a figure says of a floor that is absent."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
from simulated_evidence import simulated_photos

from experiments.studies import floors
from fusion.gate import Gate


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["--set", "drawn"], id="no run to measure"),
        pytest.param(["--set", "simulated", "--run", "D", "R"], id="a run that is not used"),
    ],
)
def test_a_wrong_call_is_one_line(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert floors.main(flags) == 2
    assert f"--set {flags[1]}: got {len(flags) // 4} --run, need " in capsys.readouterr().err


def run(photos: int, seed: int = 0) -> floors.Run:
    """Valid and test alike, each photo a scene of its own."""
    rng = np.random.default_rng(seed)
    valid, test = simulated_photos(rng, photos, 0.5, 0.97), simulated_photos(rng, photos, 0.5, 0.97)
    test = [replace(e, photo=replace(e.photo, id=e.photo.id + photos)) for e in test]
    return floors.Run(valid, test, np.arange(photos), np.arange(photos, 2 * photos), Gate("raw"))


def test_floors_are_fitted_on_valid_and_measured_on_test() -> None:
    own = run(12)
    nothing_right = [replace(e, photo=replace(e.photo, boxes=e.photo.boxes + 200)) for e in own.test]
    for test, precision in ((own.test, pytest.approx(0.97, abs=0.04)), (nothing_right, 0)):
        rows = floors.measure(own._replace(test=test), "scene", 0)
        assert [row.purpose for row in rows] == list(floors.KEYS)
        assert [row.reached.precision.value for row in rows if row.reached] == [precision] * sum(bool(r.reached) for r in rows)
    made = {row["key"]: row for row in floors.figures([rows], "x", "scene", "command")}
    assert made["floor.x.wanted_precision"]["value"] == 0.9
    assert made["floor.x.reached_precision"]["value"] == 0
    assert {"floor.x.recall", "floor.x.f1.f1", "floor.x.at_95.wanted_precision"} <= set(made)


@pytest.mark.parametrize("photos", [1, 2])
def test_an_absent_floor_has_no_figure_but_a_reason(photos: int) -> None:
    rows = floors.measure(run(photos), "scene", 0)
    made = {row["key"]: row for row in floors.figures([rows], "x", "scene", "command")}
    assert set(made) == {"floor.x.wanted_precision", "floor.x.at_95.wanted_precision"}
    assert "absent in 1: " in made["floor.x.wanted_precision"]["setting"]


def test_deals_hold_scenes_together_and_apart() -> None:
    whole = run(6)._replace(scenes=np.arange(6) // 2, test_scenes=np.arange(6) // 2 + 3)
    made = floors.dealt(whole, np.random.default_rng(1))
    assert not set(made.scenes) & set(made.test_scenes)
    assert sorted(e.photo.id for e in made.valid + made.test) == list(range(12))
    args = argparse.Namespace(deals=2, groups="photo", seed=0)
    assert len(floors.measure_run(whole, args)) == 2
    assert len(floors.measure_run(whole, argparse.Namespace(deals=0, groups="photo", seed=0))) == 1


def simulated(scenes: int) -> dict[str, dict]:
    return {r["key"]: r for r in floors.simulated_figures(floors.simulate(np.random.default_rng(0), scenes), scenes, "command")}


def test_simulated_figures_say_how_often_the_word_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "DRAWS", 30)
    monkeypatch.setattr(floors, "OTHER_SCENES", 400)
    made = simulated(20)
    assert made["floor.simulated.kept"]["value"] > made["floor.simulated.observed_kept"]["value"]
    assert made["floor.simulated.reached_precision"]["value"] >= made["floor.simulated.wanted_precision"]["value"] == 0.9


def test_floors_over_few_scenes_are_seldom_given_and_what_is_given_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "DRAWS", 60)
    monkeypatch.setattr(floors, "OTHER_SCENES", 400)
    made = simulated(5)
    kept, broken = (made[f"floor.simulated.5_scenes.at_95.{name}"] for name in ("kept", "broken"))
    assert broken["n"] == 60 and 0 < kept["n"] < 40
    assert broken["value"] * 60 == pytest.approx((1 - kept["value"]) * kept["n"], abs=1e-3)
    assert broken["low"] < broken["value"] <= 0.2 and broken["value"] < broken["high"]


def test_a_floor_that_was_never_given_has_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "DRAWS", 3)
    monkeypatch.setattr(floors, "OTHER_SCENES", 40)
    monkeypatch.setattr(floors, "BOXES", 4)
    made = simulated(3)
    assert {"floor.simulated.3_scenes.broken", "floor.simulated.3_scenes.wanted_precision"} <= set(made)
    assert "floor.simulated.3_scenes.kept" not in made and "floor.simulated.3_scenes.recall" not in made


@pytest.mark.parametrize("flags", [["--set", "simulated", "--scenes", "2"], ["--set", "x", "--run", "D", "R", "--scenes", "5"]])
def test_scenes_are_simulated_ones_and_enough_to_fit_floors(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert floors.main(flags) == 2
    assert "need --set simulated and 3 scenes or more" in capsys.readouterr().err
