"""Our classifier's training and one of timm's parts, timed in turns on the same crops."""

from pathlib import Path

import pytest
from place import draw_shop

from experiments.performance import classifier_speed


def test_fewer_boxes_than_a_batch_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_shop(tmp_path)
    assert classifier_speed.main(["--data", str(tmp_path), "--photos", "1"]) == 2
    assert "need a batch of 48 at least" in capsys.readouterr().err


@pytest.mark.slow
def test_both_learn_and_the_ratio_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_shop(tmp_path)
    call = ["--data", str(tmp_path), "--photos", "16", "--size", "32", "--batch", "8", "--steps", "1", "--rounds", "2"]
    assert classifier_speed.main(call) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert all(f"round {i}: ours " in text for i in (1, 2))
    assert "ours over timm: " in text
