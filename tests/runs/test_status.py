"""The table of trainings tells a running one from a stopped and a finished one by the files that they leave."""

import json
import time
from pathlib import Path

import pytest
from place import Place

from runs import process, record, status
from stage1_detector import train as detector


def training(out: Path, line: str | None = None, ago: float = 0.0, **files: object) -> None:
    """Of another machine, where no process is known."""
    record.begin(out, {"epochs": 3}, False)
    (out / process.NAME).unlink()
    if line is not None:
        record.write_json(out / "progress.json", {"line": line, "at": time.time() - 60 * ago})
    for name, value in files.items():
        record.write_json(out / f"{name}.json", value)


def test_an_empty_folder_has_no_trainings_and_says_what_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.rows(tmp_path, time.time()) == []
    assert status.main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "last word" in output and f"no training was begun; first: hylle folds --data D --out {tmp_path}" in output
    (tmp_path / "folds.json").touch()
    status.main([str(tmp_path)])
    assert f"next: hylle train-detector --data D --out {tmp_path} --classes one" in capsys.readouterr().out
    training(tmp_path / "one")
    status.main([str(tmp_path)])
    assert "no training was begun" not in capsys.readouterr().out


def test_each_state_is_told(tmp_path: Path) -> None:
    runs = tmp_path / "R"
    training(runs / "begun")
    training(runs / "one", "epoch 2/3  box_loss 1.5", ago=1)
    training(runs / "all", "epoch 1/3  box_loss 2.5", ago=90)
    training(runs / "shelf", "epoch 3/3", ago=5, run={"metrics": {"valid_accuracy": 0.5, "minutes": 2.0}})
    (runs / "photos").mkdir()
    found = {row.name: row for row in status.rows(runs, time.time() + 1)}
    assert {name: row.state for name, row in found.items()} == {
        "R/begun": "running", "R/one": "running", "R/all": "stopped", "R/shelf": "finished",
    }  # fmt: skip
    assert found["R/one"].last_line == "epoch 2/3  box_loss 1.5" and found["R/one"].minutes == pytest.approx(1, abs=0.1)
    assert found["R/shelf"].last_line == "valid_accuracy 0.500, 2.0 min"
    record.begin(runs / "all", {"epochs": 3}, False)  # anew
    assert status.row(runs / "all", runs, time.time() + 1).last_line == "begun, no epoch done"
    training(runs / "all", "epoch 1/3  box_loss 2.5", ago=90)
    assert status.rows(runs, time.time() + 3600)[-1].name == "R/all"
    assert {row.state for row in status.rows(runs, time.time() + 3600)} == {"stopped", "finished"}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"], ids=["empty", "cut off", "a list", "no scores"])
def test_a_damaged_record_costs_its_scores_only(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    training(tmp_path / "one")
    (tmp_path / "one" / "run.json").write_text(content)
    assert status.main([str(tmp_path)]) == 0
    assert "finished" in capsys.readouterr().out and status.rows(tmp_path, time.time())[0].last_line == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["@none"], "none: no such folder, need a run folder", id="no folder"),
        pytest.param(["@file"], "file: a file, need a run folder", id="a file"),
        pytest.param(["@", "--watch", "0"], "--watch: got 0.0, need seconds > 0", id="no seconds"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    (tmp_path / "file").touch()
    assert status.main([word.replace("@", f"{tmp_path}/") for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_training_leaves_what_the_table_reads(place: Place) -> None:
    assert detector.main([*place.words("detector"), "--classes", "one", "--force"]) == 0
    assert json.loads((place.runs / "one" / "progress.json").read_text())["line"].startswith("epoch 1/1")
    (found,) = status.rows(place.runs, time.time())
    assert (found.name, found.state) == ("runs/one", "finished") and found.last_line.startswith("det_map50 ")
