"""A zip run on two drawn photos: what its outcome is told as."""

import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

from submission import trial
from submission.judge_machine import Machine
from submission.outcome import Outcome

NAMESPACES = subprocess.run(["unshare", "-rmn", "true"], capture_output=True, check=False).returncode == 0
HEAD = """
import json, pathlib, re, sys
photos, output = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[4])
def number(path):
    return int(re.findall("[0-9]+", path.stem)[-1])
def write(ids):
    rows = [{"image_id": i, "category_id": 0, "bbox": [1, 1, 50, 50], "score": 0.9} for i in ids]
    output.write_text(json.dumps(rows))
"""


@pytest.mark.parametrize(
    ("outcome", "told", "is_warning"),
    [
        pytest.param(Outcome(photos=2, predictions=30), None, False, id="finds something"),
        pytest.param(
            Outcome(photos=2, predictions=0, without=["a.jpg", "b.jpeg"]),
            "finds nothing on two drawn photos",
            True,
            id="finds nothing",
        ),
        pytest.param(Outcome(problems=["exit code 1", "slow"]), "exit code 1, and 1 problem more", False, id="dies"),
    ],
)
def test_what_comes_of_the_run_is_told(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, told: str | None, is_warning: bool
) -> None:
    photos: list[str] = []

    def execute(archive: Path, images: Path, output: Path, machine: object) -> Outcome:
        photos.extend(sorted(path.name for path in images.iterdir()))
        return outcome

    monkeypatch.setattr(trial, "execute", execute)
    monkeypatch.setattr(trial, "is_set_up", lambda: True)
    monkeypatch.setattr(trial, "judge_python", lambda: Path("python"))
    tried = trial.try_zip(Path("submission.zip"))
    assert (photos, tried.not_run) == (["img_00007.jpeg", "img_00042.jpg"], "")
    assert [(told in str(v), v.warning) for v in tried.violations] == ([] if told is None else [(True, is_warning)])


@pytest.mark.parametrize(
    ("body", "violation", "not_run"),
    [
        pytest.param("write(map(number, photos.iterdir()))", "", "", id="every photo under its number"),
        pytest.param(
            "write(map(number, photos.glob('*.jpg')))",
            "warning: run.py: finds nothing on one of two drawn photos, img_00007.jpeg",
            "",
            id="one suffix only",
        ),
        pytest.param(
            "write(i for i, path in enumerate(sorted(photos.iterdir()), 1))",
            "run.py: on two drawn photos: predictions.json: prediction 0: image_id: got 1, no photo has that number",
            "",
            id="photos counted",
        ),
        pytest.param(
            "raise ModuleNotFoundError(\"No module named 'torch'\")",
            "",
            "the environment here lacks torch, which the judge has; ",
            id="a package of the judge's that is not here",
        ),
        pytest.param(
            "import packed_nowhere",
            "run.py: on two drawn photos: exit code 1, need 0: ModuleNotFoundError: No module named 'packed_nowhere'",
            "",
            id="a module that nobody has",
        ),
    ],
)
def test_what_kills_a_zip_at_the_judge_shows_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, violation: str, not_run: str
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("run.py", HEAD + body)
    monkeypatch.setattr(trial, "is_set_up", lambda: True)
    monkeypatch.setattr(trial, "judge_python", lambda: Path(sys.executable))
    monkeypatch.setattr(trial, "Machine", partial(Machine, unprotected=not NAMESPACES))
    tried = trial.try_zip(tmp_path / "a.zip")
    assert [str(v)[: len(violation)] for v in tried.violations] == ([violation] if violation else [])
    assert tried.not_run.startswith(not_run) and bool(tried.not_run) == bool(not_run)
