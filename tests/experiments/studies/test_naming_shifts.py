"""Shops where models are less sure, simulated: what each way of choosing the boxes to name loses there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from place import Place
from simulated_evidence import simulated_photos

from experiments.figures import records
from experiments.studies import naming_shifts
from experiments.studies.naming_shifts import SHIFTS, WAYS, Shift, losses_under
from fusion.boxes import sureness
from fusion.ensemble import Ensemble, Member, read_ensemble
from fusion.gate import Gate
from stage2_classifier.gate.ensemble import write_ensemble


def test_a_shift_makes_models_less_sure_and_no_shift_nothing() -> None:
    (e,) = simulated_photos(np.random.default_rng(0), 1, 0.3, 0.9)
    same, lower, powers, flat = (Shift(**own).of(e) for own in ({}, {"factor": 0.3}, {"power": 2.0}, {"names": 0.5}))
    np.testing.assert_allclose(same.probabilities, e.probabilities, atol=1e-6)
    np.testing.assert_array_equal(same.merged.scores, e.merged.scores)
    np.testing.assert_allclose(lower.merged.scores, 0.3 * e.merged.scores, rtol=1e-6)
    np.testing.assert_allclose(powers.merged.scores, e.merged.scores**2, rtol=1e-6)
    assert (flat.probabilities.max(1) < e.probabilities.max(1)).all()
    np.testing.assert_allclose(flat.probabilities.sum(1), 1, atol=1e-3)
    half = replace(e, probabilities=e.probabilities / 2)  # the rest is background
    np.testing.assert_allclose(Shift(names=1.0).of(half).probabilities, half.probabilities, atol=1e-6)


def test_where_scores_fall_the_floor_alone_loses_the_names_and_the_rule_does_not() -> None:
    photos = simulated_photos(np.random.default_rng(0), 6, 0.2, 0.95)
    typical = float(np.quantile([sureness(e.merged.scores) for e in photos], 0.25))
    rule = {"naming_floor": 0.5, "naming_margin": 5.0, "naming_typical": typical}
    ensemble = Ensemble([0], [Member("one.onnx")], gate=Gate("raw"), **rule)
    assert set(losses_under(Shift(), photos, ensemble).values()) == {0.0}  # every product lies above the floor
    lost = losses_under(Shift(factor=0.3), photos, ensemble)
    assert lost["floor"] > 0.1 and lost["rule"] == lost["margin"] == 0.0
    assert len({str(shift) for shift in SHIFTS}) == len(SHIFTS) == 16


def test_the_figures_are_recorded_and_a_run_without_a_margin_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    words = ["--set", "shop", "--data", str(place.data), "--runs", str(place.runs)]
    assert naming_shifts.main(words) == 2
    assert "no naming floor with a margin" in capsys.readouterr().err
    rule = {"naming_floor": 0.7, "naming_margin": 5.0, "naming_typical": 0.8}
    write_ensemble(place.runs, replace(read_ensemble(place.runs), **rule))
    assert naming_shifts.main([*words, "--record"]) == 0
    rows = json.loads((tmp_path / "naming_shifts.json").read_text())
    assert [row["key"] for row in rows] == sorted(f"naming_shift.shop.{way}" for way in WAYS)
    assert all("crops a photo without one" in row["setting"] and row["low"] is None for row in rows)
    assert capsys.readouterr().out.count("scores x 0.3") >= 2
