"""The packed zip: the same bytes for the same inputs, the code byte for byte, and never one that the judge would refuse."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fusion.ensemble import parse
from fusion.pipeline import load
from runs import model_files
from submission import build

ROOT = Path(build.__file__).resolve().parent.parent


def _edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_empty_folder_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--runs", str(tmp_path), "--out", str(tmp_path / "a.zip")]) == 2
    remedy = f"fit the gate first: hylle gate --data D --runs {tmp_path}"
    assert capsys.readouterr().err == f"error: {tmp_path / 'ensemble.json'}: no such file; {remedy}\n"


def test_zip_holds_code_models_and_manifest(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "submission.zip"
    assert build.main(["--runs", str(runs), "--out", str(out)]) == 0
    with zipfile.ZipFile(out) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    models = ["all.json", "all.onnx", "one.json", "one.onnx", "shelf.json", "shelf.onnx"]
    modules = [f"fusion/{path.name}" for path in (ROOT / "fusion").glob("*.py")]
    assert list(files) == sorted([*models, *modules, "run.py", "ensemble.json", "manifest.json"])
    assert all(files[name] == (ROOT / name).read_bytes() for name in modules)
    assert files["run.py"] == (ROOT / "submission" / "run.py").read_bytes()
    assert files["one.onnx"] == (runs / "one" / "model.onnx").read_bytes()
    printed = capsys.readouterr().out
    assert printed.startswith(hashlib.sha256(out.read_bytes()).hexdigest())
    assert "3 weights" in printed


def test_manifest_tells_every_other_file(runs: Path) -> None:
    files = build.collect(runs)
    listed = json.loads(files.pop("manifest.json"))["files"]
    assert listed == {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}


def test_ensemble_names_the_flat_files_and_keeps_all_else(runs: Path) -> None:
    before = json.loads((runs / "ensemble.json").read_text())
    after = json.loads(build.collect(runs)["ensemble.json"])
    assert [member["file"] for member in after["detectors"]] == ["one.onnx", "all.onnx"]
    assert after["classifiers"][0]["file"] == "shelf.onnx"
    for values in (before, after):
        for model in [*values["detectors"], *values["classifiers"]]:
            del model["file"]
    assert after == before


def test_same_inputs_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    first = build.build(runs, tmp_path / "first.zip")
    copy = shutil.copytree(runs, tmp_path / "elsewhere" / "runs")  # other place, other times
    assert build.build(copy, tmp_path / "second.zip") == first
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_dates_and_modes_are_fixed(runs: Path, tmp_path: Path) -> None:
    build.build(runs, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {(info.date_time, info.external_attr, info.create_system) for info in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644 << 16, 3)
        }


def test_weights_that_ensemble_does_not_name_stay_out(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", runs / "teacher")
    build.build(runs, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert "teacher.onnx" not in archive.namelist()


def test_model_used_twice_is_packed_once(runs: Path) -> None:
    one = {"file": "one/model.onnx", "views": [{"size": 64}]}
    _edit(runs / "ensemble.json", detectors=[one, one | {"views": [{"size": 96}]}], classifiers=[])
    files = build.collect(runs)
    assert [name for name in files if name.endswith(".onnx")] == ["one.onnx"]
    assert [member["file"] for member in json.loads(files["ensemble.json"])["detectors"]] == ["one.onnx", "one.onnx"]


def test_refused_zip_leaves_the_former_one(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "submission.zip"
    out.write_bytes(b"the former one")
    shutil.copytree(runs / "one", runs / "two")
    members = [{"file": f"{name}/model.onnx", "views": [{"size": 64}]} for name in ("one", "two", "all")]
    _edit(runs / "ensemble.json", detectors=members)
    assert build.main(["--runs", str(runs), "--out", str(out)]) == 1
    assert out.read_bytes() == b"the former one"
    assert not list(tmp_path.glob("*.part"))
    printed = capsys.readouterr()
    assert printed.out == "the zip: 4 weight files (at most 3; merge or drop some)\n"
    assert "is not written" in printed.err


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        pytest.param("one/model.onnx", None, "one/model.onnx: no such file", id="model missing"),
        pytest.param("all/model.json", None, "all/model.json: no such file", id="sidecar missing"),
        pytest.param("ensemble.json", "{,", "ensemble.json: not JSON: ", id="broken JSON"),
        pytest.param("ensemble.json", "[]", "ensemble.json: got a list, need an object", id="another kind of JSON"),
        pytest.param("ensemble.json", '{"categories": [], "detectors": []}', "detectors: got none", id="no detector"),
        pytest.param("ensemble.json", '{"detectors": [{"file": "a", "wight": 1}]}', "unknown field 'wight'", id="typing error"),
    ],
)
def test_users_mistakes(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, text: str | None, message: str
) -> None:
    (runs / file).unlink() if text is None else (runs / file).write_text(text)
    assert build.main(["--runs", str(runs), "--out", str(tmp_path / "a.zip")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.glob("*.zip*"))


def test_out_that_is_a_folder_is_a_mistake(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--runs", str(runs), "--out", str(tmp_path)]) == 2
    assert "got a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("x/one/model.onnx", "y/one/model.onnx", id="two folders of one name"),
        pytest.param("one/model.onnx", "one.onnx", id="a folder and a file of one name"),
        pytest.param("two.onnx", "ensemble/model.onnx", id="its sidecar would be ensemble.json"),
    ],
)
def test_models_of_one_name_are_refused(first: str, second: str) -> None:
    with pytest.raises(ValueError, match="rename its folder"):
        build._flat([first, second])


def test_the_zip_says_in_its_manifest_alone_what_its_models_are(runs: Path) -> None:
    """A joint or halved model has other bytes than the one that the gate was fitted to."""
    ensemble = parse(json.loads((runs / "ensemble.json").read_text()))
    _edit(runs / "ensemble.json", made_from=model_files.fingerprints(runs, model_files.files_of(ensemble)))
    assert "made_from" not in json.loads(build.collect(runs)["ensemble.json"])


def test_scores_to_cut_at_travel_in_the_zip_and_cut_nothing_there(runs: Path, tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    kept = []
    for i, floors in enumerate(({}, {"f1": 0.95, "precision 0.9": 0.99})):
        _edit(runs / "ensemble.json", min_scores=floors)
        files = build.collect(runs)
        (tmp_path / str(i)).mkdir()
        for name, content in files.items():
            if not name.endswith(".py"):
                (tmp_path / str(i) / name).write_bytes(content)
        assert json.loads(files["ensemble.json"])["min_scores"] == floors
        kept.append(load(tmp_path / str(i))(image, 1))
    assert kept[0] == kept[1]
    assert 0 < min(row["score"] for row in kept[0]) < 0.95
