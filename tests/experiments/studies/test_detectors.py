"""Ways of training compared: the whole road on a small drawn shop, and figures that say what they are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.figures import curves, records, report
from experiments.studies import detectors, zero_shot
from runs.command import run
from stage1_detector.synthesis import make_photos

SHOP = replace(make_photos.RECIPES["demo"], count=9, categories=9, families=3, sizes=((160, 120),), rows=(2, 3), side=0.2)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shop")
    for seed in (0, 1):
        make_photos.draw(SHOP, out / str(seed), seed=seed, workers=1)
    return out


@pytest.mark.slow
def test_variants_are_trained_scored_compared_and_drawn(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    words = ["--set", "tiny", "--data", f"{shop}/{{seed}}", "--out", str(tmp_path / "X"), "--seeds", "0", "1"]
    words += ["--variants", "small", "starter", "paste", "composed", "--size", "96", "--steps", "2", "--count", "8", "--record"]
    assert run(detectors.body, words) == 0
    known = records.load()
    for name in ("small", "starter", "paste", "composed"):
        assert known[f"det.tiny.{name}.map50.2_steps"]["n"] == 2
    gained = known["starter.tiny.minus_random.2_steps"]["value"]
    own = [known[f"det.tiny.{name}.map50.2_steps"]["value"] for name in ("starter", "small")]
    assert gained == pytest.approx(own[0] - own[1], abs=1e-5) and gained > 0.2  # two steps teach random weights nothing
    assert "synth.tiny.paste.with_minus_without.2_steps" in known
    composed = known["synth.tiny.with_minus_without.2_steps"]
    own = [known[f"det.tiny.{name}.map50.2_steps"]["value"] for name in ("composed", "starter")]
    assert composed["value"] == pytest.approx(own[0] - own[1], abs=1e-5) and "8 photos to draw from" in composed["setting"]
    assert (
        run(curves.body, ["--sets", str(tmp_path / "X"), "--variants", "small", "starter", "--to", str(tmp_path / "c.png")])
        == 0
    )
    assert (tmp_path / "c.png").stat().st_size > 1000


@pytest.mark.slow
def test_untrained_it_is_scored_on_every_photo(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    assert run(zero_shot.body, ["--set", "tiny", "--data", str(shop / "0"), "--sizes", "160", "--record"]) == 0
    (told,) = json.loads((tmp_path / "starter.json").read_text())
    assert told["key"] == "starter.tiny.zero_shot.map50" and told["n"] == 9 and told["value"] > 0.2


def test_a_curve_counts_an_epoch_that_was_done_again_once(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("epoch,valid/det_map50\n1,0.1\n2,0.2\n2,0.3\n4,0.5\n")
    np.testing.assert_allclose(curves.read(tmp_path / "r.csv"), [[0.25, 0.1], [0.5, 0.3], [1.0, 0.5]])


def test_curves_of_runs_that_are_not_there_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(curves.body, ["--sets", str(tmp_path), "--variants", "small", "--to", str(tmp_path / "c.png")]) == 2
    assert "has no small/SEED/one/results.csv" in capsys.readouterr().err


def test_tables_of_stage_1() -> None:
    told = {"n": 3, "unit": "mAP50", "setting": "s", "command": "c", "value": 0.5, "low": 0.4, "high": 0.6}
    keys = ("det.x.small.map50", "det.y.yolo11n.map50", "ensemble.x.flip.map50", "ensemble.x.flip.minus_single",
            "starter.x.zero_shot.map50", "starter.x.minus_random.75_steps")  # fmt: skip
    known = {key: told | {"key": key} for key in keys}
    assert report.detectors(known).splitlines()[2:] == [
        "| x | 0.500 [0.400, 0.600] | - | s |",
        "| y | - | 0.500 [0.400, 0.600] | s |",
    ]
    assert report.ensembles(known).splitlines()[2] == "| flip | 0.500 [0.400, 0.600] | +0.500 [+0.400, +0.600] |"
    assert report.starter(known).splitlines()[2] == "| x | 0.500 [0.400, 0.600] | - | +0.500 [+0.400, +0.600] | - |"
