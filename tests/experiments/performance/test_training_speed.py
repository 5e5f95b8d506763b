"""Our training and ultralytics' own, timed in turns on the same photos."""

from pathlib import Path

import pytest
from place import draw_shop

from experiments.performance import training_speed


def test_one_epoch_has_no_time_between_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training_speed.main(["--data", str(tmp_path), "--out", str(tmp_path), "--epochs", "1"]) == 2
    assert "--epochs, --photos, --rounds: got 1, 16, 3" in capsys.readouterr().err


@pytest.mark.slow
def test_both_train_and_the_ratio_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    draw_shop(data)
    call = [
        "--data",
        str(data),
        "--out",
        str(tmp_path / "runs"),
        "--photos",
        "4",
        "--size",
        "64",
        "--epochs",
        "3",
        "--rounds",
        "2",
    ]
    assert training_speed.main(call) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert all(f"round {i}: {name} " in text for i in (1, 2) for name in ("ours", "ultralytics"))
    assert "ours over ultralytics: " in text
    assert (tmp_path / "runs" / "ultralytics1" / "weights" / "last.pt").is_file()
