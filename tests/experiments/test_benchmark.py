"""The benchmarks measure what they say, on a small scale; a failure in what they watch is seen."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from place import Place

from experiments import benchmark
from experiments.performance import bad_photos, endurance, runtime
from fusion.boxes import iou
from fusion.ensemble import read_ensemble
from runs.record import ROOT
from stage2_classifier.gate.ensemble import write_ensemble

judged = pytest.mark.skipif(not (ROOT / ".judge" / ".ready").is_file(), reason="no .judge environment; make test sets it up")


def test_the_shelf_of_the_fusion_benchmark_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    boxes, scores, labels = benchmark.seen_shelf(np.random.default_rng(0), 300)
    assert [len(one) for one in boxes] == [600] * 3 and len(scores) == 3
    assert len(np.unique(labels[0])) > 200 and (labels[0] == labels[2]).all()
    overlap = iou(boxes[0], boxes[1])
    assert 0.6 < np.median(overlap.max(1)) < 1 and np.median(np.sort(overlap, 1)[:, -2]) < 0.2
    assert benchmark.main(["wbf", "--rounds", "1"]) == 0
    assert "wbf.peer_over_ours.300class: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["runtime"], "benchmark runtime: needs --runs and --photos", id="no folders"),
        pytest.param(["memory", "--runs", "{runs}", "--photos", "{none}"], "no photos there", id="no photos"),
        pytest.param(["kills", "--count", "0"], "--count: got 0, need at least 1", id="no kills"),
    ],
)
def test_mistakes_are_one_line(place: Place, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    (place.root / "none").mkdir()
    assert benchmark.main([word.format(runs=place.runs, none=place.root / "none") for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_the_floor_runs_the_very_tensors_that_ours_gives_its_models(place: Place, tmp_path: Path) -> None:
    photos = sorted((place.data / "images").iterdir())[:3]
    unnamed = replace(read_ensemble(place.runs), naming_floor=2.0)  # that of a gate which names no box
    write_ensemble(place.runs, unnamed)
    ensemble = runtime.timed_ensemble(place.runs, 96)
    ours = runtime.Ours(place.runs, ensemble, tmp_path)
    floor = runtime.Floor(ours, photos)
    for photo in photos:
        shapes = [next(iter(feed.values())).shape for _, _, feed in floor.calls[photo]]
        assert shapes == [(1, 3, 96, 96), (1, 3, 96, 96), (2, 3, 64, 64)]
    assert ours.boxes_on(photos) == 6
    taken = runtime.turns({"ours": ours, "floor": floor}, photos, 2)
    assert {name: len(seconds) for name, seconds in taken.items()} == {"ours": 2, "floor": 2}
    ours.output.close()
    assert {member.max_det for member in ensemble.detectors} == {runtime.BOXES} and ensemble.time_budget_s > 1e6


@pytest.mark.slow
@judged
def test_bad_photos_and_kills_are_survived_and_what_fails_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(endurance, "CASES", {name: bad_photos.CASES[name] for name in ("text file", "missing folder")})
    assert benchmark.main(["badphotos", "--mutated", "50"]) == 0
    assert benchmark.main(["kills", "--count", "5"]) == 0
    told = capsys.readouterr().out
    for line in ("badphotos.tried: 52 count", "badphotos.failed: 0 count", "kills.tried: 5 count", "kills.failed: 0 count"):
        assert line in told, told
    folder = endurance.code(tmp_path / "code")
    text = (folder / "run.py").read_text()
    (tmp_path / "photos").mkdir()
    bad_photos.jpeg(tmp_path / "photos" / "1.jpg")
    assert endurance.problem_of(folder, tmp_path / "photos", tmp_path / "out.json") is None
    defect = text.replace("except Exception as error:", "except ZeroDivisionError as error:")
    taking = "read = reader.take()"
    assert taking in defect
    (folder / "run.py").write_text(defect.replace(taking, f"{taking}\n    assert read.photo is not None"))
    (tmp_path / "photos" / "2.jpg").write_text("no photo")
    assert "exit code 1" in str(endurance.problem_of(folder, tmp_path / "photos", tmp_path / "out.json"))
    end = 'END = b"]\\n"'
    assert end in text
    (folder / "run.py").write_text(text.replace(end, 'END = b"\\n"'))
    (tmp_path / "photos" / "2.jpg").unlink()
    assert "not JSON" in str(endurance.problem_of(folder, tmp_path / "photos", tmp_path / "out.json"))


@pytest.mark.slow
@judged
def test_peak_memory_is_that_of_the_process(place: Place, tmp_path: Path) -> None:
    folder = endurance.code(tmp_path / "code")
    photos = [place.data / "images" / "img_00001.jpg"]
    peak = endurance.peak_mb(folder, photos, 20)
    assert 50 < peak < 500
    values = json.loads((folder / "ensemble.json").read_text())
    values["detectors"][0]["views"] = [{"size": 4096}]
    (folder / "ensemble.json").write_text(json.dumps(values))
    assert endurance.peak_mb(folder, photos, 20) > peak + 40  # a canvas of 50 MB
    shutil.rmtree(folder)
