"""Fits that are killed: when they are, what was at work, and what counts as a difference."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments.studies import killed_fits


def run_folder(folder: Path, model: bytes, score: float) -> Path:
    """A finished fit's zip and figures."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "submission.zip", "w") as archive:
        archive.writestr("one.onnx", model)
        archive.writestr("run.py", b"pass")
    scores = dict.fromkeys(killed_fits.SCORES, 0.5) | {"test": {"score": score}}
    (folder / "fitted.json").write_text(json.dumps(scores))
    return folder


def test_a_file_of_the_zip_and_a_score_that_differ_are_told(tmp_path: Path) -> None:
    alone, same, other = (
        run_folder(tmp_path / name, model, score) for name, model, score in (("a", b"1", 1), ("b", b"1", 1), ("c", b"2", 0.9))
    )
    assert killed_fits.compare(alone, same) == ([], [], 2)
    assert killed_fits.compare(alone, other) == (["one.onnx"], ["test"], 2)


def test_a_run_is_killed_at_each_moment_and_then_left_to_end(tmp_path: Path) -> None:
    """Each life writes a line; what was at work is told by the plan."""
    (tmp_path / "plan.json").write_text('{"running": "cross_fit/0/one"}')
    code = "import sys, time; open(sys.argv[1], 'a').write('began\\n'); time.sleep(float(open(sys.argv[2]).read()))"
    lives, nap = tmp_path / "lives", tmp_path / "nap"
    nap.write_text("30")

    def told(line: str) -> None:
        if lives.read_text().count("began") == 2:
            nap.write_text("0")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(killed_fits, "say", told)
        hit = killed_fits.killed_at([sys.executable, "-c", code, str(lives), str(nap)], np.array([1.0, 2.0]), tmp_path)
    assert hit == ["cross_fit/0/one"] * 2 and lives.read_text().count("began") == 3


def test_a_fit_that_ends_before_it_could_be_killed_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the fit was over before it could be killed; take fewer --kills"):
        killed_fits.killed_at([sys.executable, "-c", "pass"], np.array([20.0]), tmp_path)
    assert killed_fits.running(tmp_path) == "measuring the machine"
    (tmp_path / "plan.json").write_text('{"running": ""}')
    assert killed_fits.running(tmp_path) == "between two parts"


def test_a_folder_of_an_earlier_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "killed").mkdir()
    assert killed_fits.main(["--data", "D", "--out", str(tmp_path)]) == 2
    assert "killed is there already; remove it" in capsys.readouterr().err
