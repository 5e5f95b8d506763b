"""What a run says of itself: errors, packages that are not here, and files of another method that look like ours."""

import json
import zipfile
from pathlib import Path

import pytest
from scripted_zip import NAMESPACES, PYTHON, run, script

from submission.judge_machine import Machine
from submission.outcome import Outcome, read_statements
from submission.predictions import category_ids, exif_of
from submission.sandbox import execute
from submission.unpacking import unpack


def test_an_error_said_is_a_problem_of_this_projects_run_py_and_a_warning_of_another(tmp_path: Path, photos: Path) -> None:
    outcome = run(tmp_path, photos, "write(); print('error: no GPU, going on by the CPU')")
    assert (outcome.problems, outcome.warnings) == ([], ["run.py says: error: no GPU, going on by the CPU"])
    own = Outcome(log="error: out of time")
    read_statements(own, False, is_ours=True)
    assert (own.problems, own.warnings) == (["run.py says: error: out of time"], [])


@pytest.mark.parametrize(
    ("body", "problems", "warnings"),
    [
        pytest.param(
            "print(\"No module named 'torch'\"); raise SystemExit(1)", ["this run says nothing of the zip"], [], id="told"
        ),
        pytest.param(
            "print(\"No module named 'tqdm'\"); raise SystemExit(1)", ["this run says nothing of the zip"], [], id="required"
        ),
        pytest.param(
            "print(\"No module named 'tqdm'\", flush=True)\nraise KeyError", ["need 0: KeyError"], [], id="another error"
        ),
        pytest.param(
            "try:\n    raise ImportError(\"No module named 'torch'\")\nexcept ImportError as e:\n    raise RuntimeError from e",
            ["this run says nothing of the zip"],
            [],
            id="the cause of another error",
        ),
        pytest.param("print(\"No module named 'torch'\"); write()", [], ["may not be what runs there"], id="done without"),
        pytest.param("print(\"No module named 'torch.gone'\"); raise KeyError", ["need 0: KeyError"], [], id="a part of it"),
    ],
)
def test_a_package_that_is_not_here_is_found_in_the_whole_log(
    tmp_path: Path, photos: Path, body: str, problems: list[str], warnings: list[str]
) -> None:
    outcome = run(tmp_path, photos, body)
    codes = [line for line in outcome.problems if line.startswith("exit code")]
    assert [line.endswith(end) for line, end in zip(codes, problems, strict=True)] == [True] * len(problems)
    assert [line.endswith(end) for line, end in zip(outcome.warnings, warnings, strict=True)] == [True] * len(warnings)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        pytest.param({"categories": ["milk", "bread"], "exif": "turned"}, ["fusion/pipeline.py"], id="built on fusion"),
        pytest.param({"categories": ["milk", "bread"], "exif": "turned"}, [], id="another method"),
    ],
)
def test_ensemble_json_of_another_method_is_not_read(tmp_path: Path, values: dict[str, object], names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "")
        archive.writestr("ensemble.json", json.dumps(values))
    unpack(tmp_path / "a.zip", tmp_path / "code")
    read = (exif_of(tmp_path / "code"), category_ids(tmp_path / "a.zip"))
    assert read == (("turned", ["milk", "bread"]) if names else ("stored", []))


def test_categories_of_another_method_do_not_judge_its_predictions(tmp_path: Path, photos: Path) -> None:
    with zipfile.ZipFile(script(tmp_path, "write()"), "a") as archive:
        archive.writestr("ensemble.json", json.dumps({"categories": ["milk", "bread"]}))
    outcome = execute(tmp_path / "a.zip", photos, tmp_path / "out.json", Machine(PYTHON, unprotected=not NAMESPACES))
    assert (outcome.problems, outcome.predictions) == ([], 1)
