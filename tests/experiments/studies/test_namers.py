"""The study of classifiers at equal minutes: the whole road on a small drawn shop, what is compared, and wrong calls."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.figures import records
from experiments.studies import namers
from experiments.studies.namers import BACKGROUND, BASE, TWO, main, members
from experiments.studies.worth_of_names import HeldOut, worth
from fusion.boxes import Detections
from photos.data import Photo
from runs.command import run
from stage1_detector import train as train_detector
from stage1_detector.synthesis import make_photos

SHOP = replace(make_photos.RECIPES["demo"], count=6, categories=6, families=3, sizes=((160, 120),), rows=(2, 3), side=0.2)


@pytest.mark.slow
def test_variants_are_trained_for_the_minutes_judged_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    make_photos.draw(SHOP, tmp_path / "shop", workers=1)
    words = ["--set", "tiny", "--data", str(tmp_path / "shop"), "--out", str(tmp_path / "X"), "--minutes", "0.02"]
    words += ["--variants", BASE, TWO, BACKGROUND, "--seeds", "0", "--record"]
    assert run(namers.body, words) == 2  # without a detector nothing is detected
    assert "--variants detected, background: need" in capsys.readouterr().err
    train = ["--data", str(tmp_path / "shop"), "--out", str(tmp_path / "X"), "--pretrained", "starter", "--quick", "--quiet"]
    assert train_detector.main(train) == 0
    assert run(namers.body, words) == 0
    known = records.load()
    ap = {name: known[f"namer.tiny.{name}.ap"] for name in (BASE, TWO, BACKGROUND, "mirrored")}
    assert all(0 < figure["value"] <= 1 and figure["n"] == 1 for figure in ap.values())
    gain = known[f"namer.tiny.{TWO}.minus_96"]
    assert gain["value"] == pytest.approx(ap[TWO]["value"] - ap[BASE]["value"], abs=1e-5)
    assert 0 < known[f"namer.tiny.{BASE}.cls"]["value"] <= 1 and f"namer.tiny.{BACKGROUND}.minus_96.cls" in known
    assert len(list((tmp_path / "X" / "oof").glob("*/fold_?.json"))) == 3
    kept = json.loads((tmp_path / "X" / TWO / "0" / "result.json").read_text())
    assert (
        len(kept["named"]["epochs"]) == 2
        and kept["named"]["minutes"] > 0
        and kept["named"]["plain"][0] == pytest.approx(ap[TWO]["value"], abs=1e-5)
    )
    assert run(namers.body, words) == 0  # reuses what is there
    assert run(namers.body, [*words, "--minutes", "0.2"]) == 2  # and refuses it for other settings


def test_probabilities_that_are_right_are_worth_all_and_those_of_another_name_nothing() -> None:
    boxes = np.array([[0, 0, 5, 9], [6, 0, 11, 9], [12, 0, 17, 9]], np.float32)
    shelf = Photo(1, Path("1.jpg"), 20, 10, boxes, np.array([0, 1, 2]), np.array([1, 2, 3]), None)
    found = Detections(boxes[[2, 0]], np.array([0.9, 0.8], np.float32), np.zeros(2, np.int64), None)
    says, held_out = np.concatenate([np.eye(3), np.eye(3)[[2, 0]]]), HeldOut([shelf], [found], 3)
    assert worth(says, held_out) == (1.0, 1.0, pytest.approx(2 / 3))  # of the one in the middle nothing is found
    assert worth(np.roll(says, 1, axis=1), held_out) == (0.0, 0.0, 0.0)
    assert worth(says[:3], HeldOut([shelf], [], 3)) == (1.0, 1.0, None)


def test_two_backbones_are_the_best_one_and_the_default_for_half_of_the_minutes_each() -> None:
    both = members(TWO, 4, 0.5)
    assert len(both) == 2 and both[1].model == "resnet10t"
    assert {(config.size, config.seed, config.bridge) for config in both} == {(96, 4, 0.5)}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--minutes", "0"], "--minutes: got 0.0"),
        (["--minutes", "5", "--variants", "64"], "--variants: got 64, must hold 96"),
    ],
)
def test_wrong_calls_are_one_line(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", "tea", "--data", str(tmp_path), "--out", str(tmp_path / "X"), *words]) == 2
    assert told in capsys.readouterr().err
