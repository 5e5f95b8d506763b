"""The whole procedure on drawn photos, killed twice and gone on with: the same result as of one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import SMALL

from fusion.models import read_object
from stage1_detector.synthesis import make_photos

PATIENCE = 600.0  # seconds
FIT = """
from dataclasses import replace
from pathlib import Path
from fitting.procedure import Procedure
from fitting.run import run_procedure
from runs.command import say
from stage1_detector.recipes import recipe, rehearsal
from stage2_classifier.config import recipe as classifier_recipe

detector = replace(rehearsal(recipe("small")), size=96, device="cpu")
procedure = Procedure(detector, classifier_recipe("demo", quick=True), folds=2, refit={refit}, groups="photo")
run_procedure(Path({data!r}), Path({runs!r}), procedure, say)
"""


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


def fit(data: Path, runs: Path, refit: bool = True) -> "subprocess.Popen[bytes]":
    code = FIT.format(data=str(data), runs=str(runs), refit=refit)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env=environment)


def kill_when(due: Callable[[], bool], data: Path, runs: Path) -> None:
    """Start the procedure and kill -9 it once it is due."""
    started = time.monotonic()
    with fit(data, runs) as process:
        while not due():
            assert process.poll() is None and time.monotonic() - started < PATIENCE, "it was over before it could be killed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_killed_and_resumed_it_gives_what_it_gives_when_left_alone(shop: Path, tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    with fit(shop, alone) as process:
        assert process.wait(PATIENCE) == 0
    kill_when((killed / "cross_fit/0/classifier_shelf/begun.json").is_file, shop, killed)
    first = killed / "cross_fit/0/one/model.onnx"
    written = first.stat().st_mtime_ns
    kill_when((killed / "one/begun.json").is_file, shop, killed)
    assert not (killed / "ensemble.json").exists()
    with fit(shop, killed) as process:
        assert process.wait(PATIENCE) == 0
    assert first.stat().st_mtime_ns == written  # what is finished is not made again
    results = [read_object(runs / "fitted.json") for runs in (alone, killed)]
    for name in ("cross_fitted", "test", "name_oracle", "box_oracle", "policy"):
        assert results[0][name] == results[1][name]
    assert results[0]["policy"] == "raw" and results[0]["test"] is not None
    check_refit(alone)


@pytest.mark.slow
def test_without_a_refit_the_models_that_ship_never_saw_the_photos_of_the_gate(shop: Path, tmp_path: Path) -> None:
    with fit(shop, tmp_path, refit=False) as process:
        assert process.wait(PATIENCE) == 0
    parts = {row["image_id"]: row["part"] for row in read_object(tmp_path / "folds.json")["photos"]}
    assert sorted(parts.values()) == ["test"] * 2 + ["train"] * 3 + ["valid"] * 3
    taught = read_object(tmp_path / "one/trained_on.json")
    assert len(taught["train"]) == 3 and not set(taught["train"]) & set(taught["valid"])
    turns = read_object(tmp_path / "gate.json")["turns"]
    assert sorted(photo for turn in turns for photo in turn["photos"]) == sorted(
        i for i, part in parts.items() if part == "valid"
    )
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
    assert set(read_object(runs / "ensemble.json")["made_from"]) == {"one/model.onnx", "classifier_shelf/model.onnx"}
