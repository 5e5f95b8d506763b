"""The command: what it refuses, in one line, and a whole fit of drawn shelves."""

import json
import shutil
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_shop import SMALL

from experiments.performance.exif_photos import labelled
from fitting import ledger as ledgers
from fitting.fit import main, remarks
from fitting.wishes import Wishes
from fusion.ensemble import ClassifierMember, Ensemble, Member
from photos import fingerprint
from photos.data import read
from photos.studio import STUDIO
from runs import record
from stage1_detector.config import STARTER
from stage2_classifier.gate.ensemble import write_ensemble
from tests.fitting.sets import SPEEDS
from tests.fitting.test_survey import write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data", "annotations", [(64, 48, [(0, 20, 20)]), (64, 48, [(1, 20, 20)])])
    return tmp_path / "data"


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command refuses a call with."""
    capsys.readouterr()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_a_set_without_labels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "data", "annotations", [(64, 48, [])])
    assert "got 0 boxes, need at least 1" in refused([str(tmp_path / "data"), "--minutes", "9"], capsys)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(["--minutes", "0"], "--minutes: got 0.0, allowed 1.0 to", id="no minutes"),
        pytest.param([], "--minutes", id="minutes not given"),
        pytest.param(["--minutes", "9", "--size", "100"], "--size: got 100, must be a multiple of 32", id="an odd canvas"),
        pytest.param(["--minutes", "9", "--crops", "both"], "no studio photos", id="studio photos that are not there"),
        pytest.param(
            ["--minutes", "9", "--folds", "3"], "2 photos with boxes to train on, need 3", id="more folds than photos"
        ),
        pytest.param(["--minutes", "9", "--groups", "no.csv"], "--groups: got no.csv", id="scenes that are not there"),
        pytest.param(["--minutes", "9", "--pretrained", "no.pt"], "--pretrained: got no.pt", id="weights that are not there"),
    ],
)
def test_a_wrong_call_is_one_line(words: list[str], line: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert line in refused([str(data), "--out", str(data.parent / "run"), *words], capsys)
    assert not (data.parent / "run").exists()


def test_weights_that_fit_neither_stage_are_one_line_before_anything_is_measured(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"a": torch.zeros(1)}, path := data.parent / "w.safetensors")
    line = refused([str(data), "--minutes", "9", "--out", str(data.parent / "run"), "--pretrained", str(path)], capsys)
    assert f"--pretrained: got {path}, which fits neither stage; detector: fills 0 of" in line and "; classifier: fills" in line
    assert not (data.parent / "run").exists()


def test_weights_in_the_folder_of_the_fit_are_refused_at_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, path = data.parent / "run", data.parent / "run" / "one" / "weights" / "last.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    line = refused([str(data), "--minutes", "9", "--out", str(runs), "--pretrained", str(path)], capsys)
    assert f"--pretrained: got {path}, which {runs} would replace by what is trained; pass another --out" in line


def test_labels_that_read_exif_in_two_ways_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(tmp_path / "data", [(6, "landscape", "stored"), (6, "landscape", "turned")])
    line = refused([str(tmp_path / "data"), "--minutes", "9", "--out", str(tmp_path / "run")], capsys)
    assert "the labels give the stored size for 1" in line and not (tmp_path / "run").exists()


def test_how_exif_is_read_and_what_the_judge_makes_of_the_names_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled(tmp_path / "data", [(6, "landscape", "turned"), (1, "landscape", "turned")])
    (tmp_path / "data" / "images" / "img_1.jpg").rename(tmp_path / "data" / "images" / "one.jpg")
    file = tmp_path / "data" / "annotations.json"
    file.write_text(file.read_text().replace("img_1.jpg", "one.jpg"))
    monkeypatch.setattr("fitting.session.begin", lambda *_: (_ for _ in ()).throw(ValueError("enough")))
    assert main([str(tmp_path / "data"), "--minutes", "9", "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().out
    assert "fit: EXIF: 1 of 2 photos is read turned" in told
    assert "fit: judge's ids: 1 of 2 photos would be skipped" in told


def test_photos_without_boxes_are_told_and_whether_they_look_unlabelled(tmp_path: Path) -> None:
    full, bare = (64, 48, [(0, 6 * k, 20) for k in range(1, 7)]), (64, 48, [])
    write(tmp_path / "data", "annotations", [full, full, bare])
    unlabelled = "; they look unlabelled, as of the photos with boxes 100 % have 6 or more: label them, or take them out"
    line = f"1 photo without boxes (the first is 3.jpg), taken for shelves without products{unlabelled}"
    assert next(remarks(read(tmp_path / "data"))) == line
    write(tmp_path / "other", "annotations", [(64, 48, [(0, 20, 20)]), bare])
    assert next(remarks(read(tmp_path / "other"))).endswith("shelves without products")
    write(tmp_path / "whole", "annotations", [full])
    assert list(remarks(read(tmp_path / "whole"))) == []


def test_labels_that_are_there_twice_are_told(tmp_path: Path) -> None:
    write(tmp_path / "data", "annotations", [(64, 48, [(0, 20, 20), (1, 9, 9)])] * 2)
    whole = read(tmp_path / "data")
    assert list(remarks(whole)) == []
    photo = whole.photos[0]
    twice = replace(photo, boxes=photo.boxes[[0, 0, 1, 1]], labels=photo.labels[[0, 0, 1, 0]], annotation_ids=np.arange(4))
    categories = (whole.categories[0], replace(whole.categories[1], name=f"{whole.categories[0].name} "))
    told = "labels in doubt: {}; hylle data " + f"{whole.root} tells more"
    boxes, one_name = "boxes listed twice (IoU 0.95 or more, one name)", "products of one name: 2 in 1 group (0 = 1)"
    assert list(remarks(replace(whole, photos=(twice, whole.photos[1])))) == [
        told.format(f"{boxes}: 1 (1.jpg: 0 and 1)"),
        told.format("boxes with two names: 1 (1.jpg: 2 and 3)"),
    ]
    assert list(remarks(replace(whole, categories=categories))) == [told.format(one_name)]
    assert list(remarks(replace(whole, categories=(categories[1], replace(categories[1], id=0))))) == []  # reading tells it


def test_a_run_folder_that_is_a_file_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data.parent / "run").touch()
    assert "which is a file" in refused([str(data), "--minutes", "9", "--out", str(data.parent / "run")], capsys)


def test_a_run_folder_of_other_commands_is_left_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = data.parent / "run"
    runs.mkdir()
    (runs / "folds.json").write_text("{}")
    assert "folds.json of other commands" in refused([str(data), "--minutes", "9", "--out", str(runs)], capsys)
    assert (runs / "folds.json").read_text() == "{}"


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["fit", "plan"])
@pytest.mark.parametrize("folder", ["one", "all", "classifier_shelf", "classifier_both", "second", "cross_fit"])
def test_models_that_are_left_of_another_fit_are_refused_before_anything_is_measured(
    data: Path, folder: str, plan: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fitting.session.begin", lambda *_: (_ for _ in ()).throw(ValueError("enough")))
    call = [str(data), "--minutes", "9", "--out", str(runs := data.parent / "run"), *plan]
    (runs / folder).mkdir(parents=True)
    assert "enough" in refused(call, capsys)  # an empty one is nobody's
    (runs / folder / "run.json").write_text("{}")
    told = f"{runs} holds {folder} of another fit or of other commands, and no plan.json of them; remove them, or take another"
    assert told in refused(call, capsys)
    ledgers.Ledger({"boxes": "0"}, {}, 9.0).write(runs)  # of another set, and nothing of it begun
    assert told in refused(call, capsys)


def test_a_file_that_is_wished_for_is_the_same_however_its_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, weights = tmp_path / "g.csv", tmp_path / "start.pt"
    table.write_text("file_name,scene\n")
    weights.write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    short, long = Wishes(groups="g.csv", pretrained="start.pt"), Wishes(groups=str(table), pretrained=str(weights))
    for begun, now in ((short, long), (long, short)):
        for wishes in (asdict(begun), ledgers.comparable(asdict(begun))):  # as earlier versions recorded them, and as now
            ledgers.refuse_other(tmp_path, ledgers.Ledger({}, wishes, 9.0), {}, now)
    begun = ledgers.Ledger({}, ledgers.comparable(asdict(short)), 9.0)
    table.write_text("file_name,scene\n1.jpg,1\n")
    with pytest.raises(ValueError, match=r"holds a fit begun with groups 'g\.csv sha256:.*', now 'g\.csv sha256:"):
        ledgers.refuse_other(tmp_path, begun, {}, long)


def test_a_model_yaml_that_is_edited_is_another_one(tmp_path: Path) -> None:
    (path := tmp_path / "my.yaml").write_text("width: 1")
    wishes = Wishes(model=str(path))
    earlier, begun = (ledgers.Ledger({}, kept, 9.0) for kept in (asdict(wishes), ledgers.comparable(asdict(wishes))))
    path.write_text("width: 2")
    ledgers.refuse_other(tmp_path, earlier, {}, wishes)  # of a version that did not record what the file held
    with pytest.raises(ValueError, match=r"holds a fit begun with model '.*my\.yaml sha256:.*', now '.*my\.yaml sha256:"):
        ledgers.refuse_other(tmp_path, begun, {}, wishes)


def test_a_run_folder_of_another_set_or_of_other_wishes_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, dataset = data.parent / "run", read(data)
    made_from = fingerprint.of_photos(dataset.photos, dataset.categories)
    ledgers.Ledger(made_from, {"size": 320}, 9.0).write(runs)
    (runs / "folds.json").write_text("{}")  # so something was begun
    call = [str(data), "--minutes", "9", "--out", str(runs)]
    assert "holds a fit begun with" in refused(call, capsys)
    ledgers.Ledger(made_from | {"boxes": "0"}, {}, 9.0).write(runs)
    assert "a fit of another data set, or of other labels" in refused(call, capsys)
    ledgers.Ledger(made_from, asdict(Wishes()), 9.0).write(runs)
    (data / STUDIO / "111").mkdir(parents=True)
    (data / STUDIO / "111" / "front.jpg").write_bytes(b"a photo that came later")
    assert "or studio photos" in refused(call, capsys)
    (runs / ledgers.NAME).write_text('{"minutes": 9}')
    assert "damaged" in refused(call, capsys)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert ledgers.load(tmp_path) is None
    ledger = ledgers.Ledger({"photos": "a"}, {"size": 0}, 9.0, parts={"one": ledgers.Part(3, 60.0, True, 30.0)}, spent=40.0)
    ledger.write(tmp_path)
    assert ledgers.load(tmp_path) == ledger


@pytest.fixture
def known_speeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that need not be measured."""
    monkeypatch.setattr("fitting.machine.measured", lambda *_: SPEEDS)


@pytest.mark.usefixtures("known_speeds")
def test_one_scene_is_told_by_the_plan_and_what_is_advised_then_can_be_followed(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, table = data.parent / "run", data.parent / "g.csv"
    table.write_text("file_name,scene\n1.jpg,a\n2.jpg,a\n")
    call = [str(data), "--minutes", "45", "--out", str(runs)]
    one_scene = [*call, "--groups", str(table)]
    line = refused([*one_scene, "--plan"], capsys)
    assert "of 1 scene: need 2 or more" in line and not runs.exists()
    assert refused(one_scene, capsys) == line
    assert (runs / ledgers.NAME).is_file()  # the minutes that it took count
    monkeypatch.setattr("fitting.session.run_procedure", lambda *_: (_ for _ in ()).throw(ValueError("enough")))
    assert "enough" in refused([*call, "--groups", "photo"], capsys)
    assert (runs / "folds.json").is_file()
    assert "holds a fit begun with" in refused(one_scene, capsys)  # now something hangs on it


@pytest.mark.usefixtures("known_speeds")
@pytest.mark.parametrize(
    ("words", "code"), [(["--minutes", "45", "--plan"], 0), (["--minutes", "1"], 2)], ids=["a plan", "too few minutes"]
)
def test_a_plan_and_a_refused_start_leave_nothing(words: list[str], code: int, data: Path) -> None:
    """But for machine.json, where the machine is measured."""
    runs = data.parent / "run"
    assert main([str(data), "--out", str(runs), "--groups", "photo", *words]) == code
    assert not runs.exists()


@pytest.mark.usefixtures("known_speeds")
def test_an_ensemble_of_models_that_are_not_planned_is_refused_before_any_training(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fitting.trainings.train_detector", lambda *_: pytest.fail("trained"))
    runs = data.parent / "run"
    runs.mkdir()
    categories = [category.id for category in read(data).categories]
    for file, ids, what in [
        ("all/model.onnx", categories, "all/model.onnx"),
        ("one/model.onnx", [*categories, 99], "other categories"),
    ]:
        member = Member(file, views=[{"size": 320}])
        write_ensemble(runs, Ensemble(ids, [member], classifiers=[ClassifierMember("classifier_shelf/model.onnx")]))
        line = refused([str(data), "--minutes", "45", "--out", str(runs), "--groups", "photo"], capsys)
        assert f"ensemble.json names {what}, which no fold is trained with; remove the file" in line
        assert [path.name for path in runs.iterdir()] == ["ensemble.json"]


@pytest.mark.slow
def test_a_whole_fit_is_planned_carried_out_and_reused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine of known speeds; one that it measures: `README.md`, whose commands are run. From a file of one stage."""
    from fitting import machine
    from stage1_detector.synthesis import make_photos

    monkeypatch.setattr(machine, "measure", lambda *_: SPEEDS)
    data, runs = tmp_path / "data", tmp_path / "run"
    make_photos.draw(replace(SMALL, count=12), data, workers=1)
    call = [str(data), "--minutes", "6", "--out", str(runs), "--size", "160", "--crop-size", "32", "--folds", "2"]
    call += ["--epochs", "1", "--crop-epochs", "1", "--groups", str(data / "scenes.csv")]
    start = shutil.copyfile(STARTER, tmp_path / "w.safetensors")
    call += ["--pretrained", str(start)]
    assert main([*call, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "cross_fit/1/one" in shown and "160 px" in shown and not (runs / "plan.json").exists()
    began = time.monotonic()
    assert main(call) == 0
    took, said = time.monotonic() - began, capsys.readouterr().out
    assert "cross-fitted" in said and "of 6 minutes" in said
    assert said.count(f"start: {start} is of the detector alone; the classifier starts from what auto takes") == 1
    for folder in (runs, runs / "cross_fit" / "1"):
        settings = [json.loads(path.read_text())["settings"] for path in sorted(folder.glob("*/run.json"))]
        assert [one["pretrained"] == record.fingerprint(start) for one in settings] == [False, True]  # classifier, one
    assert zipfile.is_zipfile(runs / "submission.zip")
    plan = json.loads((runs / "plan.json").read_text())
    assert all(part["done"] for part in plan["parts"].values())
    in_parts = sum(part["seconds"] for part in plan["parts"].values())
    assert 0.5 * took < in_parts < plan["spent"] + 0.001 < took + 0.002
    made = (runs / "submission.zip").read_bytes()
    shutil.rmtree(runs / "classifier_shelf" if (runs / "classifier_shelf").is_dir() else runs / "classifier_both")
    monkeypatch.chdir(tmp_path)
    call[-1] = start.name
    assert main(call) == 0  # what is missing is made again, the rest reused: the same seed makes the same zip
    assert (runs / "submission.zip").read_bytes() == made
