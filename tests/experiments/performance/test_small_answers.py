"""Time outside the model, by this checkout's code and by another's, on graphs that are exported for it."""

from pathlib import Path

import pytest

from experiments.performance import small_answers


@pytest.mark.slow
def test_every_candidate_goes_to_the_code_of_the_checkout_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict] = []
    monkeypatch.setattr(small_answers.records, "write", lambda name, figures: rows.extend(figures))
    arguments = ["--names", "3", "--size", "64", "--rounds", "3", "--record"]
    assert small_answers.main([*arguments, "--before", str(small_answers.HERE)]) == 0
    before, after = rows
    assert before["key"] == "runtime.outside_ms.3classes.before" and "; by the code of " in before["setting"]
    assert after["key"] == "runtime.outside_ms.3classes.after" and "by the code" not in after["setting"]
    assert all(0 < row["low"] <= row["value"] <= row["high"] and row["n"] == 3 for row in rows)
    assert "times as long" in capsys.readouterr().out


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert small_answers.main(["--before", str(tmp_path)]) == 2
    assert "need a checkout of this project" in capsys.readouterr().err
