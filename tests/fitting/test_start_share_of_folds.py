"""How much of its start a fit's detector keeps: the most that photos left out do not speak against, chosen once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fitting import start_share
from fitting.procedure import SHARES, SHOWN, Procedure
from fitting.trainings import Clock, classifier_name
from fusion.models import read_object
from photos.folds import Folds
from stage1_detector import recipes as detector_recipes
from stage2_classifier import config as classifier_config

PROCEDURE = Procedure(detector_recipes.small(), classifier_config.small())
SIDECAR = '{"task": "detector", "family": "yolo", "categories": null, "size": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}'
Scores = dict[float, float]
PHOTOS = 120  # that each fold leaves out


class Shop:
    """Two folds whose detectors score as `scores` says; what is exported and how often it is scored."""

    def __init__(self, runs: Path, scores: Scores, monkeypatch: pytest.MonkeyPatch, fits: bool = True) -> None:
        self.runs, self.exported, self.scored, self.shown = runs, list[tuple[str, float]](), 0, set[int]()
        for k in (0, 1):
            one = runs / "cross_fit" / str(k) / "one"
            (one / "weights").mkdir(parents=True)
            (one / "weights" / "last.pt").write_bytes(bytes([k]))
            (one / "run.json").write_text('{"settings": {"patience": 0}}')
            (one / "model.json").write_text(SIDECAR)

        def between(trained: Path, start: Path, share: float, config: object) -> torch.nn.Module | None:
            network = torch.nn.Linear(1, 1)
            network.share = share
            return network if fits else None

        def score(network: object, photos: tuple[object, ...], n: int) -> dict[str, float]:
            self.scored += 1
            self.shown.add(len(photos))
            assert all(len(photo.labels) for photo in photos)  # others would count against no share
            return {"det_map50": scores[network.share]}

        monkeypatch.setattr(start_share.start_share, "between", between)
        monkeypatch.setattr(start_share, "Network", lambda network, *_: network)
        monkeypatch.setattr(start_share.validation, "score", score)
        monkeypatch.setattr(start_share.start_share, "export_with", self.note)

    def note(self, out: Path, start: Path, share: float, config: object, photos: list[object]) -> None:
        assert len(photos) == PHOTOS  # all of those that were left out
        self.exported.append((str(out.relative_to(self.runs)), share))

    def choose(self, lines: Callable[[str], None] = lambda line: None, procedure: Procedure = PROCEDURE) -> float:
        return start_share.choose_for_folds(self.runs, procedure, [fold(0), fold(1)], Clock(), lines)


def fold(number: int) -> Folds:
    photos = [SimpleNamespace(id=1000 * number + i, labels=np.full(i % 2, 2)) for i in range(PHOTOS)]  # half show nothing
    parts = {"valid": photos, "train": []}
    return SimpleNamespace(labelled=parts.__getitem__)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        pytest.param([0.9, 0.9, 0.9, 0.9], 0.5, id="all alike"),
        pytest.param([0.89, 0.8985, 0.9, 0.9], 0.3, id="within the tolerance"),
        pytest.param([0.89, 0.8975, 0.9, 0.9], 0.15, id="not within it"),
        pytest.param([0.7, 0.8, 0.89, 0.9], 0.0, id="only without"),
        pytest.param([0.6, 0.9, 0.8, 0.7], 0.3, id="better than without"),
    ],
)
def test_the_most_that_costs_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: list, share: float) -> None:
    shop, lines = Shop(tmp_path, dict(zip(SHARES, scores, strict=True)), monkeypatch), list[str]()
    assert shop.choose(lines.append) == share
    assert shop.exported == [("cross_fit/0/one", share), ("cross_fit/1/one", share)]
    assert shop.shown == {SHOWN} and shop.scored == 2 * len(SHARES)
    assert f"keeps {share:.0%} of the weights that it started from" in lines[0]
    assert shop.choose() == share and shop.scored == 2 * len(SHARES)  # kept
    (tmp_path / "cross_fit" / "1" / "one" / "weights" / "last.pt").write_bytes(b"other")
    assert shop.choose() == share and shop.scored == 4 * len(SHARES)


def test_the_users_share_is_taken_whatever_it_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, lines = Shop(tmp_path, {0.8: 0.2}, monkeypatch), list[str]()
    assert shop.choose(lines.append, replace(PROCEDURE, start_share=0.8)) == 0.8
    assert shop.exported == [("cross_fit/0/one", 0.8), ("cross_fit/1/one", 0.8)]
    assert lines == [
        "fit: start: the detector keeps 80% of the weights that it started from: on photos left out det mAP50 0.2000, as wished"
    ]


def test_a_start_of_another_kind_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, lines = Shop(tmp_path, {}, monkeypatch, fits=False), list[str]()
    assert shop.choose(lines.append) == 0.0 and shop.exported == []
    assert lines == ["fit: start: nothing of it is kept: it was no detector of the same outputs"]
    assert not (tmp_path / start_share.RECORD).exists()


def test_classifiers_of_an_older_version_keep_their_detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They learned the boxes of detectors without any share, and would be refused with others."""
    shop = Shop(tmp_path, dict.fromkeys(SHARES, 0.9), monkeypatch)
    (tmp_path / "cross_fit" / "0" / classifier_name(PROCEDURE)).mkdir()
    assert shop.choose() == 0.0 and shop.exported == []
    (tmp_path / "cross_fit" / "0" / classifier_name(PROCEDURE)).rmdir()
    assert shop.choose() == 0.5
    (tmp_path / "cross_fit" / "0" / classifier_name(PROCEDURE)).mkdir()
    assert shop.choose() == 0.5 and read_object(tmp_path / start_share.RECORD)["det_map50"]["0.5"] == 0.9


def test_it_looks_on_the_device_of_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, devices = Shop(tmp_path, dict.fromkeys(SHARES, 0.9), monkeypatch), set[str]()

    def noted(network: torch.nn.Linear, *_: object) -> torch.nn.Module:
        devices.add(network.weight.device.type)
        return network

    monkeypatch.setattr(start_share, "device_of", lambda name: torch.device("meta"))
    monkeypatch.setattr(start_share, "Network", noted)
    shop.choose()
    assert devices == {"meta"}
