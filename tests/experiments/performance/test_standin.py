"""The stand-in for a GPU: its models cost what they say, and what is measured beside them is run.py's own work."""

from pathlib import Path

import numpy as np
import pytest

from experiments.performance import standin
from fusion.reading import decoded_bytes, read_photo
from submission import run


def test_the_models_sleep_and_the_shelf_has_its_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "MODEL_MS", 5.0)
    monkeypatch.setattr(standin, "CROPS_MS", 1.0)
    photo = standin.jpeg(tmp_path / "1.jpg", 400, 300)
    ours = standin.asleep(tmp_path)
    whole, models = standin.timed(ours, ours.in_turn, [photo] * 3)
    batches = -(-standin.ROWS * standin.COLUMNS // 16)
    assert 3 * (6 * 0.005 + batches * 0.001) <= models < whole
    assert ours.boxes_on([photo]) == standin.ROWS * standin.COLUMNS
    assert ours.threads == 1  # `in_turn` leaves it as it was
    ours.output.close()


def test_answers_are_the_same_in_turn_and_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "MODEL_MS", 1.0)
    lines: list[str] = []
    monkeypatch.setattr(run.Output, "add", lambda self, make: lines.append(make()))
    ours = standin.asleep(tmp_path)
    photos = [standin.jpeg(tmp_path / f"{k}.jpg", 300 + k, 200) for k in range(4)]
    ours(photos)
    ours.in_turn(photos)
    ours.output.close()
    told = [line for line in lines if line]  # "" before the first photo of each
    assert len(told) == 8 and told[:4] == told[4:]


def test_photos_are_as_large_as_phones_store_them(tmp_path: Path) -> None:
    path = standin.jpeg(tmp_path / "1.jpg", *standin.PHOTOS["2mpx"])
    assert read_photo(path).shape == (1200, 1600, 3) and decoded_bytes(path) == 3 * 1600 * 1200
    assert 0.1 < path.stat().st_size / (1600 * 1200) < 0.6
    assert read_photo(path).astype(float).std() > 20


@pytest.mark.parametrize("words", [["--photos", "0"], ["--rounds", "0"]])
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert standin.main(words) == 2
    assert capsys.readouterr().err == f"error: {words[0]}: got 0, need at least 1\n"


def test_figures_are_ratios_of_the_rounds() -> None:
    seconds = {"ahead": [(2.0, 1.0), (3.0, 2.0), (1.2, 1.0)], "in turn": [(4.0, 2.0)]}
    ahead, in_turn = standin.figures("12mpx", seconds, 10)
    assert (ahead.key, ahead.estimate[:4]) == ("runtime.ours_over_floor.standin.12mpx", (1.5, 3, 1.2, 2.0))
    assert (in_turn.key, in_turn.estimate.value) == ("runtime.ours_over_floor.standin.12mpx.in_turn", 2.0)
    assert (
        np.isclose(in_turn.estimate.low, 2.0)
        and "4032 x 3024" in ahead.setting
        and "ahead 200 ms, models 100 ms" in ahead.setting
    )
