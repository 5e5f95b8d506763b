"""How long a zip would take at the judge: told from a run on large drawn photos, and a warning where it is too long."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from submission import check, pace
from submission.judge_machine import Limits, Machine
from submission.outcome import Outcome
from submission.pace import COUNT, PLANNED, SIZE, Pace, budget_of, measured
from submission.trial import Trial
from submission.violation import Violation

NAMESPACES = subprocess.run(["unshare", "-rmn", "true"], capture_output=True, check=False).returncode == 0
RUN = """
import json, pathlib, sys, time
photos, output = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[4])
rows = []
for path in photos.iterdir():
    time.sleep(SECONDS)
    rows.append({"image_id": int(path.stem[4:]), "category_id": 0, "bbox": [1, 1, 50, 50], "score": 0.9})
output.write_text(json.dumps(rows))
"""


def timed(tmp_path: Path, seconds: float, limit: float = 300.0, more: str = "") -> tuple[Pace | None, list[Violation]]:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("run.py", RUN.replace("SECONDS", str(seconds)) + more)
    return measured(tmp_path / "a.zip", Machine(Path(sys.executable), Limits(limit), unprotected=not NAMESPACES))


def test_seconds_of_a_photo_are_those_of_all_that_are_planned_for(tmp_path: Path) -> None:
    quick, warned = timed(tmp_path, 0.02)
    slow, _ = timed(tmp_path, 0.32)
    assert quick is not None and slow is not None and not warned
    assert slow.seconds - quick.seconds == pytest.approx(PLANNED * 0.3, abs=30)
    assert slow.seconds > PLANNED * 0.3  # no photo counts as start


def test_a_zip_that_the_judge_would_stop_is_warned_of() -> None:
    assert Pace(300.0, 2).violations() == []
    (warning,) = Pace(301.0, 2).violations()
    assert warning.warning and "takes about 301 s for 250 photos of 3 megapixels" in str(warning)
    assert "on 2 processors and no GPU; the judge stops at 300 s, with 4 processors and a GPU" in str(warning)


def test_one_that_is_stopped_even_on_a_few_photos_has_a_pace_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "JUDGE_LIMITS", Limits(2.0))
    slow, (warning,) = timed(tmp_path, 60, limit=2.0)
    assert slow is not None and slow.seconds > PLANNED * 1.8 and warning.warning


def test_what_large_photos_break_is_a_violation(tmp_path: Path) -> None:
    nothing, (violation,) = timed(tmp_path, 0, more="\nraise SystemExit('too large')")
    assert nothing is None and not violation.warning
    assert "on 1 drawn photo of 3 megapixels: exit code 1, need 0: too large" in str(violation)


def test_the_photos_are_large_and_every_one_has_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(pace, "budget_of", lambda archive: None)

    def execute(archive: Path, images: Path, output: Path, machine: Machine) -> Outcome:
        for path in images.iterdir():
            with Image.open(path) as photo:
                seen[path.name] = photo.size
        return Outcome(seconds=1.0 if len(list(images.iterdir())) == 1 else 3.5)

    monkeypatch.setattr(pace, "execute", execute)
    told, _ = measured(Path("a.zip"), Machine(Path("python")))
    assert set(seen.values()) == {SIZE} and len(seen) == COUNT
    assert told is not None and told.seconds == pytest.approx(0.5 + PLANNED * 0.5)


def test_the_checker_tells_the_pace_of_what_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("run.py", RUN)
    monkeypatch.setattr(check, "check", lambda path: [])
    monkeypatch.setattr("submission.trial.try_zip", lambda path: Trial([]))
    slow = Pace(999.0, 2)
    monkeypatch.setattr(pace, "measured", lambda archive, machine: (slow, slow.violations()))
    monkeypatch.setattr(check, "judge_python", lambda: Path("python"))
    assert check.main([str(tmp_path / "a.zip")]) == 0
    out = capsys.readouterr().out
    assert "warning: run.py: takes about 999 s for 250 photos" in out and "\ntime: about 999 s for 250 photos" in out


def test_what_did_not_run_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "measured", lambda *arguments: pytest.fail("it was timed"))
    for tried in (Trial([], "no environment"), Trial([Violation("run.py", 0, "dies", "mend it")])):
        monkeypatch.setattr("submission.trial.try_zip", lambda path, own=tried: own)
        assert check.run_on_drawn_photos(tmp_path / "a.zip") == (tried.violations, None)


@pytest.mark.parametrize(
    ("budget", "told"),
    [(None, None), (270.0, None), (8.0, "whole it takes about 200 s .* leaves parts of the work out to end within 8 s")],
)
def test_a_zip_of_ours_that_would_leave_parts_out_is_warned_of(budget: float | None, told: str | None) -> None:
    found = [str(violation) for violation in Pace(200.0, 2, budget).violations()]
    assert len(found) == (told is not None) and all(re.search(told, line) for line in found)


def test_the_budget_is_that_of_a_zip_of_this_project(tmp_path: Path) -> None:
    for files, budget in (
        ({"run.py": ""}, None),
        ({"fusion/pipeline.py": ""}, 270.0),
        ({"fusion/pipeline.py": "", "ensemble.json": '{"time_budget_s": 8}'}, 8.0),
        ({"ensemble.json": '{"time_budget_s": 8}'}, None),
    ):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        assert budget_of(tmp_path / "a.zip") == budget
