"""A gate and the models that it was fitted to stay together, and what a search has found stays until another is asked for."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from constant_models import CANDIDATES, save_model
from place import Place, mains

from experiments import calibration
from fusion.ensemble import Ensemble, Member, parse, read_ensemble
from fusion.merge import Merge
from fusion.models import read_object
from photos import folds
from photos.data import read
from photos.fingerprint import of_file
from runs import model_files, record
from stage2_classifier import enrolment
from stage2_classifier.gate import choose, fit, search
from stage2_classifier.gate.ensemble import default_ensemble, write_ensemble
from stage2_classifier.label_review import review
from submission import built_of, judge


@pytest.fixture
def fitted(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose gate is fitted."""
    monkeypatch.setattr(choose, "bootstrap", partial(choose.bootstrap, n=20))  # resamples, for speed
    assert mains()["gate"](place.words("gate")) == 0
    return place


def retrain(place: Place) -> None:
    """Put another detector in the place of R/one."""
    save_model(place.runs / "one", CANDIDATES * np.float32(0.9), task="detector")


def test_a_hand_made_ensemble_records_no_models(place: Place) -> None:
    assert read_object(place.runs / "ensemble.json").get("made_from", {}) == {}
    retrain(place)
    assert mains()["build"](place.words("build")) == 0


@pytest.mark.parametrize("made_from", [{"a": 3}, [], "x", {"a": None}])
def test_fingerprints_are_text(made_from: object) -> None:
    values = asdict(Ensemble([0], [Member("a.onnx", views=[{"size": 64}])])) | {"made_from": made_from}
    with pytest.raises(ValueError, match="made_from: got "):
        parse(values)


def test_the_gate_records_its_models_and_the_zip_has_its_manifest(fitted: Place) -> None:
    files = [f"{name}/model.onnx" for name in ("one", "all", "classifier_shelf")]
    recorded = read_object(fitted.runs / "ensemble.json")["made_from"]
    assert recorded == model_files.fingerprints(fitted.runs, files) and all(len(value) == 16 for value in recorded.values())
    assert mains()["build"](fitted.words("build")) == 0
    with zipfile.ZipFile(fitted.root / "a.zip") as archive:
        assert "made_from" not in json.loads(archive.read("ensemble.json"))


COMMANDS: dict[str, Callable[[Place], list[str]]] = {
    "build": lambda place: place.words("build"),
    "ablation": lambda place: place.words("ablation"),
    "judge": lambda place: place.words("judge"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_models_that_the_gate_does_not_know_are_refused(fitted: Place, refused: Callable, name: str) -> None:
    retrain(fitted)
    refused(name, [], f"one/model.onnx changed since the gate in {fitted.runs / 'ensemble.json'} was fitted to it: ")
    refused(name, [], f"hylle gate --data D --runs {fitted.runs} fits it again")


@pytest.mark.parametrize("main", [calibration.main, review.main], ids=["calibration", "labels"])
def test_readers_of_evidence_refuse_them_too(fitted: Place, capsys: pytest.CaptureFixture[str], main: Callable) -> None:
    retrain(fitted)
    assert main(["--data", str(fitted.data), "--runs", str(fitted.runs)]) == 2
    assert "one/model.onnx changed since the gate in " in capsys.readouterr().err


def test_another_sidecar_is_another_model_and_a_missing_one_is_gone(fitted: Place, refused: Callable) -> None:
    path = fitted.runs / "classifier_shelf" / "model.json"
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text) | {"temperature": 3.0}))
    refused("build", [], "classifier_shelf/model.onnx changed since")
    path.write_text(text)
    assert mains()["build"](fitted.words("build")) == 0
    path.with_suffix(".onnx").unlink()
    refused("build", [], "classifier_shelf/model.onnx is gone since the gate")
    refused("build", [], "train it, then hylle gate")


def test_the_command_that_is_named_mends_it(fitted: Place) -> None:
    retrain(fitted)
    assert mains()["gate"](fitted.words("gate")) == 0
    for name in ("ablation", "build"):
        assert mains()[name](fitted.words(name)) == 0


def test_the_judge_needs_no_ensemble_in_the_run_folder(
    fitted: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged: list[Path] = []
    monkeypatch.setattr(judge, "judge", lambda zip_path, *_: judged.append(zip_path))
    ensemble = read_ensemble(fitted.runs)
    for told, code in (
        (built_of.entry(fitted.runs, replace(ensemble, naming_floor=0.9)), 2),
        (built_of.entry(fitted.runs, ensemble), 0),
    ):
        with zipfile.ZipFile(fitted.root / "a.zip", "w") as archive:
            archive.writestr("manifest.json", json.dumps(told))
        assert mains()["judge"](fitted.words("judge")) == code
    assert "was built of other models, or by another ensemble.json" in capsys.readouterr().err
    (fitted.runs / "ensemble.json").unlink()
    assert "is not known" not in capsys.readouterr().out
    assert mains()["judge"](fitted.words("judge")) == 0
    assert len(judged) == 2
    told = "holds no models: whether those of the zip were trained, or chosen, on these photos is not known"
    assert told in capsys.readouterr().out


def test_a_zip_tells_which_photos_it_has_seen(fitted: Place, capsys: pytest.CaptureFixture[str]) -> None:
    parts = folds.load(fitted.runs / folds.NAME, read(fitted.data))
    archive = fitted.root / "a.zip"
    trained, chosen, test = ([of_file(photo.path) for photo in parts.photos(part)] for part in ("train", "valid", "test"))
    models = [fitted.runs / name for name in ("one", "all", "classifier_shelf")]
    for model in models[:2]:
        record.write_json(model / "trained_on.json", {"train": trained, "valid": []})
    assert mains()["build"](fitted.words("build")) == 0
    assert built_of.seen_by(archive) is None  # the classifier does not tell
    for name in ("ensemble.json", "gate.json"):
        (fitted.runs / name).rename(fitted.root / name)
    assert mains()["judge"](fitted.words("judge")) == 0
    assert "whether those of the zip were trained, or chosen, on these photos is not known" in capsys.readouterr().out
    for name in ("ensemble.json", "gate.json"):
        (fitted.root / name).rename(fitted.runs / name)
    record.write_json(models[2] / "trained_on.json", {"train": [], "valid": []})
    assert mains()["build"](fitted.words("build")) == 0
    assert built_of.seen_by(archive) == {"train": set(trained), "valid": set(chosen)}
    (fitted.runs / "ensemble.json").unlink()
    assert mains()["judge"](fitted.words("judge")) == 0
    assert "not known" not in capsys.readouterr().out
    for word, photos in (("none of these", test), (f"{len(chosen)} of these {len(chosen)} photos were", chosen)):
        assert word in built_of.seen_in_words(archive, [p.path for p in parts.dataset.photos if of_file(p.path) in photos])


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_zip_is_not_judged_on_photos_that_it_has_seen(fitted: Place, refused: Callable, part: str) -> None:
    parts = folds.load(fitted.runs / folds.NAME, read(fitted.data))
    for name in ("one", "all", "classifier_shelf"):
        record.write_json(fitted.runs / name / "trained_on.json", {"train": [], "valid": []})
    seen = {part: [of_file(photo.path) for photo in parts.photos("test")]}
    record.write_json(fitted.runs / "one" / "trained_on.json", {"train": [], "valid": []} | seen)
    assert mains()["build"](fitted.words("build")) == 0
    (fitted.runs / "ensemble.json").unlink()
    refused("judge", [], f"a.zip: was trained, or chosen, on {len(seen[part])} photos of the part test, by their bytes")


def test_a_zip_whose_gate_does_not_tell_its_photos_tells_of_none(fitted: Place) -> None:
    for name in ("one", "all", "classifier_shelf"):
        record.write_json(fitted.runs / name / "trained_on.json", {"train": [], "valid": []})
    why = read_object(fitted.runs / "gate.json")
    del why["chosen_on"]
    record.write_json(fitted.runs / "gate.json", why)
    assert mains()["build"](fitted.words("build")) == 0
    assert built_of.seen_by(fitted.root / "a.zip") is None


def test_a_zip_that_was_changed_after_it_was_built_is_not_of_its_run_folder(tmp_path: Path) -> None:
    (tmp_path / "ensemble.json").write_text("{}")
    packed = {"a.json": {"sha256": hashlib.sha256(b"{}").hexdigest()}, "b.onnx": {"sha256": hashlib.sha256(b"b").hexdigest()}}
    told = json.dumps({"files": packed})
    for files, changed in (
        ({"a.json": b"{}", "b.onnx": b"b"}, ""),
        ({"a.json": b"{ }", "b.onnx": b"b"}, "a.json"),
        ({"a.json": b"{}"}, "b.onnx"),
        ({"a.json": b"{}", "b.onnx": b"b", "c.py": b""}, "c.py"),
    ):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name, content in ({"manifest.json": told.encode()} | files).items():
                archive.writestr(name, content)
        if changed:
            with pytest.raises(ValueError, match=f"{changed} is not what hylle build packed"):
                built_of.refuse_other(tmp_path / "a.zip", tmp_path)
        else:
            built_of.refuse_other(tmp_path / "a.zip", tmp_path)


def test_an_ensemble_of_other_categories_is_not_fitted(fitted: Place, refused: Callable) -> None:
    fitted.change(lambda v: v["categories"].append({"id": 1, "name": "new"}))
    refused("gate", [], "ensemble.json knows other categories than the data set; --classifiers asks for a new one")


def searched(place: Place) -> Ensemble:
    """Soft-NMS over two box-forming detectors, a weight for each view, as a search applies it."""
    save_model(place.runs / "second", CANDIDATES, task="detector")
    ensemble = default_ensemble(place.runs, ["classifier_shelf"], read(place.data))
    second = replace(ensemble.detectors[0], file="second/model.onnx")
    write_ensemble(place.runs, replace(ensemble, detectors=[*ensemble.detectors, second]))
    both = [
        replace(m, file=str(place.runs / m.file), views=[m.views[0] | {"weight": 0.75}])
        for m in (ensemble.detectors[0], second)
    ]
    search.apply(place.runs, Ensemble([0], both, Merge("soft_nms", iou=0.6, sigma=0.3)))
    return parse(read_object(place.runs / "ensemble.json"))


def test_a_searched_ensemble_survives_gate_and_ablation(fitted: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = searched(fitted)
    assert before.merge.method == "soft_nms" and len(before.detectors) == 3
    for name in ("gate", "ablation", "gate"):
        assert mains()[name](fitted.words(name)) == 0
        after = parse(read_object(fitted.runs / "ensemble.json"))
        kept = replace(after, gate=before.gate, naming_floor=before.naming_floor, made_from={})  # the gate fits its own
        assert kept == replace(before, made_from={})
    assert set(after.made_from) == {"one/model.onnx", "all/model.onnx", "second/model.onnx", "classifier_shelf/model.onnx"}
    assert "fitted to the ensemble in" in capsys.readouterr().out
    assert mains()["gate"]([*fitted.words("gate"), "--classifiers", fit.CLASSIFIER]) == 0
    asked = parse(read_object(fitted.runs / "ensemble.json"))
    assert asked.merge.method == "wbf" and len(asked.detectors) == 2


def test_what_is_enrolled_on_purpose_stays_with_the_gate(fitted: Place) -> None:
    """Enrolling changes a classifier, and undoing brings it back: the gate still fits, unless it was another's before."""
    file, path = "classifier_shelf/model.onnx", fitted.runs / "ensemble.json"
    model = fitted.runs / file
    before, recorded = model_files.fingerprint_of(model), read_object(path)["made_from"]
    changed = onnx.load(str(model))
    changed.doc_string = "enrolled"
    onnx.save(changed, str(model))
    after = model_files.fingerprint_of(model)
    followed = enrolment.followed(read_object(path), file, before, after)
    assert followed == read_object(path) | {"made_from": recorded | {file: after}}
    assert enrolment.followed(followed, file, "another", before) == followed
    assert enrolment.followed({}, file, before, after) == {}
