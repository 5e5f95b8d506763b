"""What a fit's score owes to choices on its photos: nothing where every turn chooses the same, what they lose where not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from place import IDS, Place, put_models

from experiments.figures import records
from experiments.studies import optimism
from fitting import cross_fit
from fitting.procedure import Procedure
from fusion.ensemble import read_ensemble
from photos.data import read
from runs.record import write_json
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.gate.ensemble import default_ensemble, write_ensemble
from stage2_classifier.gate.merging_choice import WAYS
from stage2_classifier.gate.naming_floor import NO_NAMES, NamingChoice


@pytest.fixture
def runs(place: Place) -> Path:
    """A run folder of a fit with the same models in each fold."""
    folder, procedure = place.root / "fit", Procedure(DetectorConfig(), ClassifierConfig(), groups="photo")
    cross_fit.deal(read(place.data), folder, procedure, lambda line: None)
    for models in (folder, *(folder / "cross_fit" / str(k) for k in range(3))):
        put_models(models, IDS)
        shutil.rmtree(models / "all")
    write_ensemble(folder, default_ensemble(folder, ["classifier_shelf"], read(place.data)))
    write_json(folder / "fitted.json", {"data": str(place.data)})
    return folder


@pytest.mark.slow
def test_equal_choices_lose_nothing_and_are_recorded(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    assert optimism.main(["--fits", f"shop={runs}", "--record"]) == 0
    (row,) = json.loads((tmp_path / "results" / "optimism.json").read_text())
    assert (row["key"], row["value"], row["n"]) == ("optimism.shop", 0.0, 10)
    assert "the same way of merging in 5 turns, all the same in 5" in row["setting"]
    assert capsys.readouterr().out.count("shop: in a turn wbf 0.55, view and flip; raw; ") == 5


@pytest.mark.slow
def test_what_the_turns_choose_otherwise_is_counted(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = optimism.Pool(runs)
    select = pool.select
    everything = np.ones(len(pool.scenes), bool)
    monkeypatch.setattr(
        pool, "select", lambda taken, seed: select(taken, seed)._replace(naming=NamingChoice(0.0 if taken.all() else NO_NAMES))
    )
    found = optimism.optimism(pool, 0, "shop")
    assert found.difference.value == pytest.approx(found.told - found.nested) and found.nested < found.told - 0.05
    assert found.chosen.choice == select(everything, 0).choice and len(found.by_turn) == 5


def test_only_the_photos_that_are_taken_take_part(runs: Path) -> None:
    pool = optimism.Pool(runs)
    taken = np.arange(len(pool.scenes)) % 3 != 0
    photos = [photo.id for own in pool.unmerged.by_fold for photo in own.photos]
    left = pool.outputs(taken)
    assert [photo.id for own in left for photo in own.photos] == np.array(photos)[taken].tolist()
    assert all(len(own.raw) == len(own.photos) for own in left)
    assert [e.photo.id for e in pool.evidence(next(iter(WAYS)))] == photos


def test_a_wrong_call_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert optimism.main(["--fits", "shop"]) == 2
    assert "--fits: got shop, need NAME=R" in capsys.readouterr().err


def test_of_one_scene_nothing_can_be_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs / "folds.json"
    content = json.loads(path.read_text())
    content["photos"] = [row | {"scene": 0} for row in content["photos"]]
    path.write_text(json.dumps(content))
    assert read_ensemble(runs).classifiers
    assert optimism.main(["--fits", f"shop={runs}"]) == 2
    assert "shop" in capsys.readouterr().err
