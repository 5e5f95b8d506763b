"""The whole procedure on drawn photos, killed twice and gone on with: the same result as of one that was left alone."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import forked
from small_shop import SMALL

from fitting.procedure import Procedure
from fitting.run import run_procedure
from fusion.ensemble import read_ensemble
from fusion.models import read_object
from photos.data import read
from photos.fingerprint import of_file
from runs.command import say
from stage1_detector.recipes import recipe, rehearsal
from stage1_detector.synthesis import make_photos
from stage2_classifier.config import recipe as classifier_recipe
from submission import built_of

PATIENCE = 600.0  # seconds


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn photos, of which two are a given test part."""
    data = tmp_path_factory.mktemp("shop")
    make_photos.draw(replace(SMALL, count=8), data, 0, 1)
    content = json.loads((data / "annotations.json").read_text())
    (data / "annotations.json").unlink()
    test = {image["id"] for image in content["images"][:2]}
    for part, is_test in (("train", False), ("test", True)):
        images = [image for image in content["images"] if (image["id"] in test) == is_test]
        boxes = [box for box in content["annotations"] if (box["image_id"] in test) == is_test]
        (data / f"{part}.json").write_text(json.dumps(content | {"images": images, "annotations": boxes}))
    return data


def fit(data: Path, runs: Path, refit: bool = True) -> None:
    """The whole procedure, as small as it can be."""
    detector = replace(rehearsal(recipe("small")), size=96, device="cpu")
    classifier = classifier_recipe("demo", quick=True)
    second = replace(classifier, seed=1) if refit else None
    run_procedure(data, runs, Procedure(detector, classifier, second=second, folds=2, refit=refit, groups="photo"), say)


def kill_when(due: Callable[[], bool], data: Path, runs: Path) -> None:
    """Start the procedure in a process of its own, and kill -9 that and all that it began once it is due."""
    started, process = time.monotonic(), forked(fit, data, runs)
    while not due():
        assert process.is_alive() and time.monotonic() - started < PATIENCE, "it was over before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


@pytest.mark.slow
def test_killed_and_resumed_it_gives_what_it_gives_when_left_alone(shop: Path, tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    fit(shop, alone)
    kill_when((killed / "cross_fit/0/classifier_shelf/begun.json").is_file, shop, killed)
    first = killed / "cross_fit/0/one/model.onnx"
    written = first.stat().st_mtime_ns
    kill_when((killed / "one/begun.json").is_file, shop, killed)
    assert not (killed / "ensemble.json").exists()
    fit(shop, killed)
    assert first.stat().st_mtime_ns == written  # what is finished is not made again
    results = [read_object(runs / "fitted.json") for runs in (alone, killed)]
    for name in ("cross_fitted", "test", "name_oracle", "box_oracle", "policy"):
        assert results[0][name] == results[1][name]
    assert results[0]["policy"] == "raw" and results[0]["test"] is not None
    check_refit(alone)


@pytest.mark.slow
def test_without_a_refit_the_models_that_ship_never_saw_the_photos_of_the_gate(shop: Path, tmp_path: Path) -> None:
    fit(shop, tmp_path, refit=False)
    parts = {row["image_id"]: row["part"] for row in read_object(tmp_path / "folds.json")["photos"]}
    assert sorted(parts.values()) == ["test"] * 2 + ["train"] * 3 + ["valid"] * 3
    taught = read_object(tmp_path / "one/trained_on.json")
    assert len(taught["train"]) == 3 and not set(taught["train"]) & set(taught["valid"])
    turns = read_object(tmp_path / "gate.json")["turns"]
    assert sorted(photo for turn in turns for photo in turn["photos"]) == sorted(
        i for i, part in parts.items() if part == "valid"
    )
    assert built_of.entry(tmp_path, read_ensemble(tmp_path))["seen"] == {
        "train": taught["train"],
        "valid": sorted(of_file(photo.path) for photo in read(shop).photos if parts[photo.id] == "valid"),
    }
    assert not (tmp_path / "cross_fit/0").exists()
    assert set(read_object(tmp_path / "ensemble.json")["made_from"]) == {"one/model.onnx", "classifier_shelf/model.onnx"}
    assert read_object(tmp_path / "fitted.json")["test"] is not None


def check_refit(runs: Path) -> None:
    """The shipped models saw all photos but the test part; the gate's evidence is of models that did not see the photo."""
    rows = {row["image_id"]: row for row in read_object(runs / "folds.json")["photos"]}
    assert sum(row["part"] == "train" for row in rows.values()) == 6 and len(rows) == 8
    seen = set(read_object(runs / "one/trained_on.json")["train"])
    for k in range(2):
        fold = read_object(runs / f"cross_fit/{k}/one/trained_on.json")
        assert not set(fold["train"]) & set(fold["valid"]) and set(fold["train"]) | set(fold["valid"]) == seen
    assert len(seen) == 6
    detector, classifier = (read_object(runs / name / "run.json")["metrics"] for name in ("one", "classifier_shelf"))
    assert detector["valid"] == {} and "valid_accuracy" not in classifier
    pooled = [np.load(runs / f"cross_fit/{k}/classifier_shelf/held_out.npz")["photos"] for k in range(2)]
    assert {int(photo) for photos in pooled for photo in photos} == {i for i, row in rows.items() if row["part"] == "train"}
    gate = read_object(runs / "gate.json")
    assert sorted(photo for turn in gate["turns"] for photo in turn["photos"]) == sorted(
        i for i, row in rows.items() if row["part"] == "train"
    )
    namers = {"classifier_shelf/model.onnx", "second/model.onnx"}
    assert set(read_object(runs / "ensemble.json")["made_from"]) == {"one/model.onnx"} | namers
    seeds = [read_object(runs / folder / "run.json")["settings"]["seed"] for folder in ("classifier_shelf", "second")]
    assert seeds == [0, 1] and (runs / "cross_fit/1/second/held_out.npz").is_file()
