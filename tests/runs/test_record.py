"""run.json: written whole, reused for the same settings, never replaced unasked."""

import importlib.metadata
import json
import sys
from pathlib import Path

import onnxruntime
import pytest

from runs import process, record


def test_a_folder_without_a_run_is_not_finished(tmp_path: Path) -> None:
    assert not record.finished(tmp_path, {"seed": 0}, force=False)


def test_a_run_of_the_same_settings_is_reused_and_of_others_refused(tmp_path: Path) -> None:
    record.write_run(tmp_path, {"seed": 0, "mean": (1, 2)}, {"map": 0.5})
    (tmp_path / "model.onnx").touch()
    assert record.finished(tmp_path, {"seed": 0, "mean": (1, 2)}, force=False)
    with pytest.raises(ValueError, match=r"finished run with seed 0, now 1; pass --force"):
        record.finished(tmp_path, {"seed": 1, "mean": (1, 2)}, force=False)
    assert not record.finished(tmp_path, {"seed": 1, "mean": (1, 2)}, force=True)


def test_run_json_says_with_what_it_was_made(tmp_path: Path) -> None:
    record.write_run(tmp_path, {"seed": 0}, {})
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["versions"]["numpy"] == "1.26.4"
    assert run["commit"]
    assert run["machine"]


@pytest.mark.parametrize(
    ("there", "package", "version"),
    [
        pytest.param({"onnxruntime-gpu": "1.20.9"}, "onnxruntime-gpu", "1.20.9", id="the build for a GPU"),
        pytest.param({"onnxruntime": "1.2", "onnxruntime-gpu": "1.3"}, "onnxruntime", "1.2", id="both"),
        pytest.param({}, "onnxruntime", onnxruntime.__version__, id="a build without a package"),
        pytest.param({}, "opencv-python-headless", "4.9.0", id="OpenCV without a package"),
        pytest.param({"opencv-python": "4.9.0.8"}, "opencv-python", "4.9.0.8", id="OpenCV with windows"),
        pytest.param({}, "ultralytics", "unknown", id="neither a package nor imported"),
    ],
)
def test_a_library_under_another_name_is_recorded(
    there: dict[str, str], package: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(name: str) -> str:
        if name in there:
            return there[name]
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", installed)
    monkeypatch.delitem(sys.modules, "ultralytics", raising=False)
    record.write_run(tmp_path, {"seed": 0}, {})
    assert json.loads((tmp_path / "run.json").read_text())["versions"][package] == version


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    record.write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        record.write_json(tmp_path / "a.json", {"x": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}


def test_a_run_goes_on_with_the_settings_it_was_begun_with_only(tmp_path: Path) -> None:
    record.begin(tmp_path, {"seed": 0, "folds": "a"}, resume=False)
    record.begin(tmp_path, {"seed": 0, "folds": "a"}, resume=True)
    with pytest.raises(ValueError, match=r"was begun with folds 'a', now 'b'; pass the same, or --force"):
        record.begin(tmp_path, {"seed": 0, "folds": "b"}, resume=True)


def test_a_run_that_starts_anew_leaves_nothing_that_says_it_is_finished(tmp_path: Path) -> None:
    record.write_run(tmp_path, {"seed": 0}, {})
    (tmp_path / "last.pt").touch()
    record.begin(tmp_path, {"seed": 1}, resume=False, old=[tmp_path / "last.pt", tmp_path / "none"])
    assert {path.name for path in tmp_path.iterdir()} - {process.NAME} == {"begun.json"}
    record.write_run(tmp_path, {"seed": 1}, {})
    assert not (tmp_path / process.NAME).exists()


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert record.commit() == "unknown"
