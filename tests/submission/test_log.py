"""The log of submissions keeps every line, knows a zip by its bytes, and puts the judge's score beside the local one."""

import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from synced_files import synced_contents

from fusion.ensemble import Ensemble, Member
from runs import record
from runs.model_files import measured_of
from submission import built_of, log

SCORE = [0.9, 0.85, 0.95]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A zip (any bytes) and a run folder with its ablation."""
    (tmp_path / "a.zip").write_bytes(b"a")
    (tmp_path / "b.zip").write_bytes(b"b")
    (tmp_path / "R").mkdir()
    rows = [{"arm": "detector", "score": [0.1, 0.0, 0.2]}, {"arm": log.ARM, "score": SCORE}]
    (tmp_path / "R" / "ablation.json").write_text(json.dumps({"rows": rows}))
    return tmp_path


def call(place: Path, *arguments: str) -> int:
    return log.main(["--log", str(place / "log.jsonl"), *[argument.replace("@", f"{place}/") for argument in arguments]])


def test_an_empty_log_is_an_empty_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place) == 0
    assert "local score" in capsys.readouterr().out
    assert not (place / "log.jsonl").exists()


def test_a_zip_is_noted_with_its_local_score_and_then_the_judges(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, "add", "@a.zip", "--runs", "@R", "--notes", "first") == 0
    assert call(place, "add", "@b.zip") == 0
    first, second = log.read(place / "log.jsonl")
    assert [first[k] for k in ("zip", "score", "low", "high", "judge", "notes")] == ["a.zip", *SCORE, None, "first"]
    assert (second["score"], len(second["sha256"])) == (None, 64)
    assert call(place, "judged", first["sha256"][:6], "0.7", "--notes", "private") == 0
    first, again = log.read(place / "log.jsonl")
    assert (first["judge"], first["notes"], again) == (0.7, "first; private", second)
    assert "the judge gave -0.2000 on average against the local score (1 submission)" in capsys.readouterr().out


def test_the_file_may_be_named_before_or_after_what_is_done(place: Path) -> None:
    after = ["--log", str(place / "log.jsonl")]
    assert log.main(["add", str(place / "a.zip"), *after]) == 0
    (line,) = log.read(place / "log.jsonl")
    assert log.main(["judged", line["sha256"][:6], "0.7", *after]) == 0
    assert log.main([*after, "add", str(place / "b.zip")]) == 0
    assert [line["judge"] for line in log.read(place / "log.jsonl")] == [0.7, None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["add", "@none.zip"], "none.zip: no such file", id="no zip"),
        pytest.param(["add", "@a.zip"], "a.zip: noted before", id="twice"),
        pytest.param(["add", "@b.zip", "--runs", "@"], "ablation.json: no such file", id="no ablation"),
        pytest.param(["judged", "ffff", "0.5"], "sha ffff: begins 0 of 1 noted zips", id="unknown sha"),
        pytest.param(["judged", "", "0.5"], "sha: got nothing, need the first letters", id="no sha"),
        pytest.param(["judged", "", "1.5"], "the judge's score: got 1.5, must be in [0, 1]", id="score above 1"),
    ],
)
def test_mistakes_are_one_line_and_lose_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(place, "add", "@a.zip") == 0
    before = (place / "log.jsonl").read_text()
    capsys.readouterr()
    assert call(place, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert (place / "log.jsonl").read_text() == before


def test_a_broken_line_is_told_by_its_number(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, "add", "@a.zip") == 0
    own = (place / "log.jsonl").read_bytes()
    for line, told in (
        (b"[1", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"sha256": "a"}', "lacks date, zip, score"),
        (own.strip().replace(b'"judge": null', b'"judge": "good"'), 'judge is "good", need a number'),
        (own.strip().replace(b'"notes": ""', b'"notes": 7'), "notes is 7, need a text"),
        (own.strip().replace(b'"score": null', b'"score": 0.5'), "low is null, need a number"),
    ):
        (place / "log.jsonl").write_bytes(own + line + b"\n")
        assert call(place) == 2
        assert f"log.jsonl:2: {told}" in capsys.readouterr().err
    (place / "log.jsonl").write_bytes(b"\xff\xfe")
    assert call(place) == 2
    assert "log.jsonl: not UTF-8, so not a log of submissions" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert log.main(["--log", str(place / "none" / "x.jsonl"), "add", str(place / "a.zip")]) == 2
    assert f"there is no folder {place / 'none'}; make it first" in capsys.readouterr().err
    assert log.main(["--log", str(place), "add", str(place / "a.zip")]) == 2
    assert f"--log {place}: got a folder, need a file" in capsys.readouterr().err


def test_another_score_of_the_judge_is_told_and_the_first_is_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, "add", "@a.zip") == 0
    (line,) = log.read(place / "log.jsonl")
    for score in ("0.8", "0.8", "0.7"):
        assert call(place, "judged", line["sha256"][:8], score) == 0
    assert "a.zip: judged 0.8000 before, 0.7000 now" in capsys.readouterr().out
    (line,) = log.read(place / "log.jsonl")
    assert (line["judge"], line["notes"]) == (0.7, "judged 0.8000 before")


def test_an_ablation_of_another_ensemble_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, ensemble = place / "R", Ensemble([1], [Member("one/model.onnx", views=[{"size": 64}])], naming_floor=0.1)
    record.write_json(runs / "ensemble.json", asdict(ensemble))
    values = json.loads((runs / "ablation.json").read_text()) | {"measured": measured_of(runs, ensemble)}
    record.write_json(runs / "ablation.json", values)
    zipped(place / "a.zip", built_of.entry(runs, ensemble))
    assert call(place, "add", "@a.zip", "--runs", "@R") == 0
    ensemble = replace(ensemble, naming_floor=0.2)
    record.write_json(runs / "ensemble.json", asdict(ensemble))
    zipped(place / "b.zip", built_of.entry(runs, ensemble))
    assert call(place, "add", "@b.zip", "--runs", "@R") == 2
    assert "was measured before" in capsys.readouterr().err


def zipped(path: Path, manifest: dict[str, object]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))


def test_the_score_of_another_model_is_not_noted_for_a_zip(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, ensemble = place / "R", Ensemble([1], [Member("one/model.onnx", views=[{"size": 64}])])
    record.write_json(runs / "ensemble.json", asdict(ensemble))
    assert call(place, "add", "@a.zip", "--runs", "@R") == 2
    assert "a.zip: not a zip" in capsys.readouterr().err
    zipped(place / "a.zip", {"hylle": "0.1"})
    assert call(place, "add", "@a.zip", "--runs", "@R") == 0
    assert "whether it was built of the models in" in capsys.readouterr().out
    zipped(place / "b.zip", built_of.entry(runs, ensemble))
    (runs / "one").mkdir()
    (runs / "one" / "model.onnx").write_bytes(b"another model")
    (runs / "one" / "model.json").write_text("{}")
    assert call(place, "add", "@b.zip", "--runs", "@R") == 2
    assert "b.zip: was built of other models, or by another ensemble.json, than" in capsys.readouterr().err
    assert len(log.read(place / "log.jsonl")) == 1


@pytest.mark.parametrize(
    ("manifest", "noted"),
    [
        pytest.param({}, "mine", id="float32"),
        pytest.param(
            built_of.precision_entry(False, ["one.onnx", "eye.onnx"]),
            "local score of float32 models; in the zip these are in 8 bits: one.onnx, eye.onnx; mine", id="8 bits",
        ),
        pytest.param(
            built_of.precision_entry(True, []),
            "local score of float32 models; in the zip all models are in FP16; mine", id="FP16",
        ),
    ],
)  # fmt: skip
def test_the_score_of_float32_models_is_not_noted_as_that_of_smaller_ones(
    place: Path, capsys: pytest.CaptureFixture[str], manifest: dict[str, object], noted: str
) -> None:
    zipped(place / "a.zip", manifest)
    assert call(place, "add", "@a.zip", "--runs", "@R", "--notes", "mine") == 0
    assert log.read(place / "log.jsonl")[0]["notes"] == noted
    assert ("a.zip: local score of float32 models" in capsys.readouterr().out) == bool(manifest)


def test_another_ablation_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "R" / "ablation.json").write_text('{"rows": [{"arm": "raw", "score": [0, 0, 0]}]}')
    assert call(place, "add", "@b.zip", "--runs", "@R") == 2
    assert "has no arm 'gate + further names', only raw" in capsys.readouterr().err


def test_notes_are_shown_as_they_are(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = "as [lr=0.1] before, see R[/old]\u2028next\x85"
    assert call(place, "add", "@a.zip", "--notes", note) == 0
    assert call(place) == 0
    told = capsys.readouterr().out
    assert log.read(place / "log.jsonl")[0]["notes"] == note
    assert "[lr=0.1]" in told and "R[/old]" in told


def test_an_empty_file_is_an_empty_log(place: Path) -> None:
    (place / "log.jsonl").touch()
    assert call(place) == 0 and log.read(place / "log.jsonl") == []


def test_the_log_is_on_the_disk_before_it_replaces_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "log.jsonl", synced_contents(monkeypatch)
    log.write(path, [{"zip": "a.zip"}])

    def killed(unfinished: Path, target: Path) -> Path:
        assert synced[-1] == b'{"zip": "a.zip"}\n{"zip": "b.zip"}\n'
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        log.write(path, [{"zip": "a.zip"}, {"zip": "b.zip"}])
    assert path.read_text() == '{"zip": "a.zip"}\n'
