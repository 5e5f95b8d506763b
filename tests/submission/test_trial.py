"""A zip run on two drawn photos: what its outcome is told as."""

from pathlib import Path

import pytest

from submission import trial
from submission.outcome import Outcome


@pytest.mark.parametrize(
    ("outcome", "told", "is_warning"),
    [
        pytest.param(Outcome(photos=2, predictions=30), None, False, id="finds something"),
        pytest.param(Outcome(photos=2, predictions=0), "finds nothing on two drawn photos", True, id="finds nothing"),
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
    assert (photos, tried.not_run) == (["img_00001.jpg", "img_00002.jpg"], "")
    assert [(told in str(v), v.warning) for v in tried.violations] == ([] if told is None else [(True, is_warning)])
