"""Fixtures: a folder of constant models, and a place to make mistakes in.

What takes long to import (torch, ultralytics, our commands) is imported by the fixture that needs it: test_imports.py.
"""

import json
import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, CATEGORIES, save_model
from place import IDS, Place, draw_shop, mains, put_models

collect_ignore_glob = ["*/conftest.py"]  # two folders' have no doctests, but one name: both on one command line would clash
# Measured: seconds of the files that take longest, where two workers share two processors.
SECONDS = {
    "test_docs.py": 250, "distillation/test_several_processes.py": 90, "distillation/test_teach.py": 85,
    "fitting/test_whole_fit.py": 60, "fitting/test_fit_command.py": 55, "gpu/test_gpu_command.py": 50,
    "studies/test_backbones.py": 50, "experiments/test_demo.py": 45, "studies/test_detectors.py": 45,
    "performance/test_detector_table.py": 42, "test_what_runs_are_made_from.py": 40, "test_out_of_fold.py": 40,
    "stage1_detector/test_start_share.py": 38, "studies/test_digits.py": 35, "studies/test_distill.py": 35,
    "ultralytics_engine/test_rtdetr.py": 35, "test_distributed_training.py": 35, "studies/test_namers.py": 30,
    "stage1_detector/test_starter_detector.py": 28, "studies/test_retinanets.py": 27, "torch_engine/test_canvases.py": 25,
    "submission/test_bad_zips.py": 25, "torch_engine/test_loop_distributed.py": 25, "studies/test_gates.py": 24,
    "submission/test_faults.py": 23, "studies/test_grocery.py": 23, "test_mistakes_in_runs_and_zips.py": 23,
    "submission/test_escapes.py": 21, "stage2_classifier/test_train_distributed.py": 18,
}  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where workers share the tests, the files that take longest come first: who begins one last is waited for.

    Those that SECONDS does not know are taken by how many slow tests they have.
    """
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        known = {path: value for path in {item.path for item in items} for end, value in SECONDS.items() if path.match(end)}
        items.sort(key=lambda item: -known.get(item.path, slow[item.path]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed, as UTF-8: names of files that are none would stop a worker that reports them to the others."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts from the start of a process, which here is that of all tests: run.py's time, and what a command has told."""
    if "submission.run" in sys.modules:
        monkeypatch.setattr(sys.modules["submission.run"], "STARTED", time.monotonic())
    for name in ("photos.repairs", "photos.trained_on"):
        if name in sys.modules:
            sys.modules[name].forget()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """R: a class-agnostic detector, a class-aware one, a classifier that is sure of the second category, ensemble.json."""
    root = tmp_path / "runs"
    aware = np.concatenate([CANDIDATES[:4], [[0.8, 0.1], [0.1, 0.1], [0.0, 0.5]]])  # (4 + 3, 2)
    save_model(root / "one", CANDIDATES, task="detector")
    save_model(root / "all", aware, task="detector", categories=CATEGORIES)
    save_model(root / "shelf", np.array([0.0, 9.0, 0.0]), task="classifier", family="timm", categories=CATEGORIES)
    ensemble = {
        "categories": CATEGORIES,
        "detectors": [
            {"file": "one/model.onnx", "weight": 1.0, "views": [{"size": 64}]},
            {"file": "all/model.onnx", "weight": 0.0, "evidence_weight": 1.0, "views": [{"size": 64}]},
        ],
        "merge": {"method": "wbf", "iou": 0.55},
        "classifiers": [{"file": "shelf/model.onnx", "batch": 4}],
        "gate": {"policy": "raw"},
    }
    (root / "ensemble.json").write_text(json.dumps(ensemble))
    return root


@pytest.fixture(scope="session")
def right(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Everything as it should be; `place` is a copy, so that no test changes it."""
    from photos.data import read
    from stage2_classifier.gate.ensemble import default_ensemble, write_ensemble

    place = Place(tmp_path_factory.mktemp("right"))
    draw_shop(place.data)
    put_models(place.runs, IDS)
    assert mains()["folds"](place.words("folds")) == 0
    write_ensemble(place.runs, default_ensemble(place.runs, ["classifier_shelf"], read(place.data)))
    assert mains()["build"](place.words("build")) == 0
    return place


@pytest.fixture
def place(right: Place, tmp_path: Path) -> Place:
    """A copy of it, to spoil."""
    shutil.copytree(right.root, tmp_path / "place")
    return Place(tmp_path / "place")


@pytest.fixture
def refused(place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Call a command; it must end with code 2 and one line that holds `message`, and leave every file as it was."""

    def call(name: str, flags: list[str], message: str, lines: int = 1) -> None:
        before = place.files()
        capsys.readouterr()
        code = mains()[name]([*place.words(name), *flags])
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, lines), error
        assert error.startswith("error: ") and message in error, error
        after = place.files()
        assert {file: after.get(file) for file in before} == before

    return call


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up and nobody called; processes of this machine may talk, whose addresses are paths."""
    connect = socket.socket.connect

    def local(self: socket.socket, address: object) -> None:
        assert isinstance(address, str), f"network: {address}"
        connect(self, address)

    def refused(*args: object, **options: object) -> None:
        raise AssertionError(f"network: {args}")

    monkeypatch.setattr(socket.socket, "connect", local)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
