"""The whole path, quickly: from drawn shelves to a judged zip; a second time it reuses what exists; the zip's bytes repeat."""

import json
from pathlib import Path

import pytest
from place import Place
from small_shop import SMALL

from experiments import demo
from experiments.ablation import AblationResult, as_records
from experiments.figures.ablation_table import Row
from fusion.gate import Gate
from photos.intervals import Interval
from runs import record
from stage1_detector.synthesis import make_photos
from submission.build import build


def test_recording_needs_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--out", str(tmp_path), "--record"]) == 2
    assert "must be new" in capsys.readouterr().err


def test_a_folder_of_other_commands_is_refused_before_anything_is_drawn(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "draw", lambda data, quick: pytest.fail("drawn"))
    assert demo.main(["--out", str(place.runs)]) == 2
    error = capsys.readouterr().err
    assert "folds.json of other photos" in error and error.endswith("pass another --out\n") and "--force" not in error


def test_folds_of_other_settings_are_no_reason_to_name_a_flag_that_it_lacks(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "draw", lambda data, quick: place.data)
    (place.data / "scenes.csv").write_text("file_name,scene\n" + "".join(f"img_{i:05d}.jpg,{i}\n" for i in range(1, 11)))
    (place.runs / "data").mkdir()
    assert demo.main(["--out", str(place.runs)]) == 2
    error = capsys.readouterr().err
    assert "was made with --groups photo" in error and error.endswith("pass another --out\n") and "--force" not in error


def test_figures_are_called_by_what_they_are_of() -> None:
    one = (0.5, 0.4, 0.6)
    names = ("detector", "gate", "gate + further names", "stacked")
    values = [(name, (0.1 * i, 0.0, 1.0)) for i, name in enumerate(names)]
    rows = [Row(name, one, one, score, one, 0, 0, 0) for name, score in values]
    result = AblationResult(rows, Gate("agree"), Interval(0.1, 0.0, 0.2, 5), "25 test photos", 25)
    found = {row["key"]: row for row in demo.table_records(result)}
    assert found["demo.score.gate"]["value"] == 0.1 and found["demo.score.further"]["value"] == 0.2
    assert (found["demo.score.gate_minus_detector"]["unit"], found["demo.det_map50.gate"]["unit"]) == ("score", "mAP50")
    assert not any("stacked" in key for key in found)
    of_ablation = {row["key"]: row["unit"] for row in as_records(result, "s", "c")}
    assert of_ablation["gate.s.gate.score"] == of_ablation["gate.s.gate_minus_detector"] == "score"
    assert of_ablation["gate.s.gate.cls_map50"] == "mAP50"


@pytest.mark.slow
def test_photos_in_judged_zip_out_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (record.ROOT / ".judge" / ".ready").is_file():
        pytest.skip("the judge's environment is absent: make judge")
    monkeypatch.setitem(make_photos.RECIPES, "demo", SMALL)  # but for their number
    out = tmp_path / "demo"
    assert demo.main(["--out", str(out), "--quick"]) == 0
    said = capsys.readouterr().out
    for step in ("shelves:", "folds:", "one:", "all:", "classifier shelf:", "classifier studio:", "gate:", "built", "done"):
        assert step in said, step
    assert isinstance(json.loads((out / "predictions.json").read_text()), list)
    assert sorted((out / "photos").glob("*.png"))
    weights = {path: path.stat().st_mtime_ns for path in out.glob("*/model.onnx")}
    assert len(weights) == 4
    first = (out / "submission.zip").read_bytes()
    assert demo.main(["--out", str(out), "--quick"]) == 0
    again = capsys.readouterr().out
    for step in ("shelves: reuses", "one: reuses", "all: reuses", "classifier shelf: reuses", "classifier studio: reuses"):
        assert step in again, step
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/model.onnx")} == weights
    assert (out / "submission.zip").read_bytes() == first
    assert build(out, tmp_path / "other.zip")
    assert (tmp_path / "other.zip").read_bytes() == first
