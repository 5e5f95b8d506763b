"""Valid photos are calibrated without their own scene, so that a scale and bias for each name do not flatter the classifier."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from place import IDS, Place
from scipy.special import softmax

from fusion.ensemble import ClassifierMember
from fusion.models import Model, read_sidecar
from photos import folds
from photos.data import read
from runs.normalisation import IMAGENET
from stage2_classifier import cross_fitting, learning, scaling
from stage2_classifier.config import Columns, recipe
from stage2_classifier.gate.evidence import BoxesToName, OutputCache, probabilities_at
from stage2_classifier.scaling import Scaling, fit_scaling

C = 30


def drawn(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, C), calibrated as they are, and labels: what changes names here is chance."""
    logits = rng.normal(0, 1.5, (n, C))
    return logits, np.array([rng.choice(C, p=p) for p in softmax(logits, axis=1)], np.int64)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())


def test_no_crops_and_one_scene_leave_nothing_out() -> None:
    rng = np.random.default_rng(0)
    assert cross_fitting.cross_fit("vector", np.zeros((0, C)), np.zeros(0, np.int64), np.zeros(0), rng) is None
    assert cross_fitting.cross_fit("vector", *drawn(9, rng), np.zeros(9), rng) is None


def test_the_scaling_of_a_crop_never_saw_its_scene() -> None:
    rng = np.random.default_rng(0)
    logits, labels = drawn(200, rng)
    groups = np.arange(200) % 7
    crossed = cross_fitting.cross_fit("vector", logits, labels, groups, rng)
    assert crossed is not None
    for k, fitted in enumerate(crossed.scalings):
        others = ~np.isin(groups, groups[crossed.turn == k])
        assert fitted == fit_scaling("vector", logits[others], labels[others])
        assert crossed.scaled(logits)[crossed.turn == k] == pytest.approx(fitted.scaled(logits[crossed.turn == k]))


@pytest.mark.slow
def test_what_was_fitted_on_valid_flatters_there_and_cross_fitted_it_does_not() -> None:
    """Against accuracy on crops that nothing has seen, over 20 drawn valid parts of 200 crops in 10 scenes."""
    rng = np.random.default_rng(0)
    fresh, truth = drawn(4000, rng)
    in_sample, cross_fitted = [], []
    for _ in range(20):
        logits, labels = drawn(200, rng)
        fitted = fit_scaling("vector", logits, labels)
        crossed = cross_fitting.cross_fit("vector", logits, labels, np.arange(200) % 10, rng)
        assert crossed is not None
        worth = accuracy(fitted.scaled(fresh), truth) - accuracy(fresh, truth)
        in_sample.append(accuracy(fitted.scaled(logits), labels) - accuracy(logits, labels) - worth)
        cross_fitted.append(accuracy(crossed.scaled(logits), labels) - accuracy(logits, labels) - worth)
    error = np.std(cross_fitted, ddof=1) / np.sqrt(20)
    assert np.mean(in_sample) > 3 * error  # 0.7 points
    assert abs(np.mean(cross_fitted)) < 2 * error  # 0.1 +- 0.2 points


@pytest.fixture
def calibrated(place: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[Place, dict]:
    """The place with a classifier that was calibrated by vector scaling on valid photos of three scenes; and the metrics."""
    parts = folds.load(place.runs / "folds.json", read(place.data))
    valid = parts.dataset.photos[:6]
    parts = replace(parts, scene=parts.scene | {photo.id: photo.id % 3 for photo in valid})
    logits = np.random.default_rng(0).normal(0, 1, (sum(len(photo.boxes) for photo in valid), len(IDS)))
    monkeypatch.setattr(learning, "predict", lambda model, crops: logits)
    monkeypatch.setattr(scaling, "choose_scaling", lambda z, y, groups, rng: fit_scaling("vector", z, y))
    out = place.runs / "classifier_shelf"

    def export(model: object, path: Path, sidecar: dict, crops: object) -> dict:
        values = json.loads(path.with_suffix(".json").read_text())
        path.with_suffix(".json").write_text(json.dumps(values | {k: sidecar[k] for k in ("temperature", "scale", "bias")}))
        return {}

    monkeypatch.setattr(learning, "export_classifier", export)
    model = SimpleNamespace(columns=Columns(len(IDS)), normalisation=IMAGENET)
    return place, learning.finish(model, out, recipe("demo", quick=True), parts, valid, np.zeros(4))


def names_of(place: Place, photo_index: int) -> np.ndarray:
    """The gate's evidence of the classifier, (1, C), on one photo."""
    photo = read(place.data).photos[photo_index]
    to_name = BoxesToName([photo], {photo.id: photo.boxes[:1]}, "key")
    cache = OutputCache(place.runs, place.runs / "raw")
    return probabilities_at(to_name, ClassifierMember("classifier_shelf/model.onnx"), len(IDS), cache)[0]


def test_the_gates_evidence_on_valid_is_calibrated_without_the_scene(calibrated: tuple[Place, dict]) -> None:
    place, _ = calibrated
    turns = json.loads((place.runs / "classifier_shelf" / cross_fitting.NAME).read_text())["turns"]
    logits = np.arange(len(IDS), dtype=float)[None]  # what the constant classifier puts out
    for turn in turns:
        for photo in turn["photos"]:
            expected = Scaling(**turn["scaling"]).apply(logits)
            assert names_of(place, photo - 1) == pytest.approx(expected, abs=1e-6)
    side = read_sidecar(place.runs / "classifier_shelf" / "model.json")
    shipped = Scaling(side.temperature, side.scale, side.bias).apply(logits)
    assert names_of(place, 8) == pytest.approx(shipped, abs=1e-6)  # not of the photos it was calibrated on
    assert np.abs(names_of(place, 0) - shipped).max() > 1e-4


def test_a_classifier_calibrated_otherwise_since_is_told(
    calibrated: tuple[Place, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    place, _ = calibrated
    side = place.runs / "classifier_shelf" / "model.json"
    side.write_text(json.dumps(json.loads(side.read_text()) | {"temperature": 7.0}))
    model = Model(side.with_suffix(".onnx"))
    assert cross_fitting.sidecars(model.path, model.sidecar) == {}
    assert "changed since its calibration was cross-fitted" in capsys.readouterr().out


def test_the_metrics_say_what_the_calibration_adds(calibrated: tuple[Place, dict]) -> None:
    _, metrics = calibrated
    assert {"valid_accuracy", "valid_accuracy_calibrated", "valid_accuracy_cross_fitted", "ece_cross_fitted"} <= set(metrics)
    assert "cross-fitted by scene (adds " in learning.flattery(metrics)
