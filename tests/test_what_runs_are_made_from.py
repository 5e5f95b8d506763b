"""Labels mended in place, photos replaced, folds dealt anew: what depends on it is made anew, nothing else, and it says so."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from place import IDS, Place, mains
from small_shop import SMALL

from photos import folds, trained_names
from photos.data import read
from runs import record
from stage1_detector import detector_run, recipes
from stage1_detector.detector_run import DetectorRun
from stage1_detector.synthesis import make_photos
from stage2_classifier import classifier_run, config, out_of_fold
from stage2_classifier.training_request import ClassifierRun, Plan

ALL = ("one", "all", "classifier_shelf")


def settings_now(place: Place) -> dict[str, dict]:
    """The settings of the three runs of a place, as they would be recorded now."""
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    of_detector = {
        classes: detector_run.settings_of(
            DetectorRun(data=place.data, runs=place.runs, classes=classes), recipes.recipe("small"), parts
        )
        for classes in ("one", "all")
    }
    request = ClassifierRun(data=place.data, runs=place.runs)
    return of_detector | {"classifier_shelf": classifier_run.settings_of(request, config.recipe("demo", quick=False), parts)}


@pytest.fixture
def trained(place: Place) -> Place:
    """A place whose three runs are finished, with folds whose scenes were found by how the photos look."""
    text = (place.runs / folds.NAME).read_text()
    (place.runs / folds.NAME).write_text(text.replace('"groups": "photo"', '"groups": "auto"'))
    for name, settings in settings_now(place).items():
        record.write_run(place.runs / name, settings, {})
    return place


def part_of(place: Place, part: str) -> list[int]:
    """The ids of the photos of a part."""
    return [photo.id for photo in folds.load(place.runs / folds.NAME, read(place.data)).photos(part)]


def rename(place: Place, part: str) -> None:
    """Give the boxes of a part other names."""
    ids = part_of(place, part)
    place.change(lambda v: [a.update(category_id=IDS[0]) for a in v["annotations"] if a["image_id"] in ids])


def move(place: Place, part: str) -> None:
    """Move the boxes of a part."""
    ids = part_of(place, part)
    place.change(lambda v: [a.update(bbox=[12, 9, 30, 40]) for a in v["annotations"] if a["image_id"] in ids])


def repaint(place: Place, part: str) -> None:
    """Change the bytes of a photo of a part."""
    path = place.data / "images" / f"img_{part_of(place, part)[0]:05d}.jpg"
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("change", "part", "stale", "words"),
    [
        pytest.param(rename, "train", ALL[1:], "names of the train photos that changed since", id="train names"),
        pytest.param(rename, "valid", ALL[1:], "names of the valid photos that changed since", id="valid names"),
        pytest.param(rename, "test", (), "", id="test names"),
        pytest.param(move, "train", ALL, "boxes of the train photos that changed since", id="train boxes"),
        pytest.param(move, "valid", ALL, "boxes of the valid photos that changed since", id="valid boxes"),
        pytest.param(move, "test", (), "", id="test boxes"),
        pytest.param(repaint, "train", ALL, "photos of the train photos that changed since", id="a train photo"),
        pytest.param(repaint, "test", (), "", id="a test photo"),
    ],
)
def test_what_depends_on_a_change_is_refused_and_nothing_else(
    trained: Place, change: Callable, part: str, stale: tuple[str, ...], words: str
) -> None:
    change(trained, part)
    refused = {}
    for name, settings in settings_now(trained).items():
        try:
            assert record.finished(trained.runs / name, settings, force=False)
        except ValueError as error:
            refused[name] = str(error)
    assert tuple(refused) == stale
    assert all(f"holds a finished run with {words}; pass --force" in message for message in refused.values()), refused


def test_the_commands_refuse_what_is_stale_and_reuse_the_rest(
    trained: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "begin", lambda *_: pytest.fail("something is trained anew"))
    rename(trained, "train")
    calls = {"detector --classes one": 0, "detector --classes all": 2, "classifier": 2}
    for call, code in calls.items():
        name, *flags = call.split()
        recipe = ["--recipe", "small"] if name == "detector" else ["--recipe", "demo"]
        words = [word for word in trained.words(name) if word != "--quick"]
        words = words if name == "classifier" else words[: words.index("--device")]
        assert mains()[name]([*words, *recipe, *flags]) == code
        said = capsys.readouterr()
        assert ("reuses" in said.out) == (code == 0)
        assert ("names of the train photos that changed since; pass --force" in said.err) == (code == 2)


def test_a_stopped_run_does_not_go_on_with_other_labels(trained: Place) -> None:
    before = settings_now(trained)
    record.begin(trained.runs / "all", before["all"], resume=False)
    move(trained, "train")
    with pytest.raises(
        ValueError, match="was begun with boxes of the train photos that changed since; pass the same, or --force"
    ):
        record.begin(trained.runs / "all", settings_now(trained)["all"], resume=True)


def test_a_run_of_an_earlier_version_does_not_say_what_it_is_made_from(trained: Place) -> None:
    settings = settings_now(trained)["all"]
    earlier = {key: value for key, value in settings.items() if " " not in key} | {"folds": "of the bytes of folds.json"}
    record.write_run(trained.runs / "all", earlier, {})
    with pytest.raises(ValueError, match="boxes of the train photos that it does not record"):
        record.finished(trained.runs / "all", settings, force=False)


def test_studio_photos_and_synthetic_photos_count_by_their_bytes(place: Place) -> None:
    parts, studio = folds.load(place.runs / folds.NAME, read(place.data)), place.root / "studio"
    (studio / "a").mkdir(parents=True)
    (studio / "a" / "main.jpg").write_bytes(b"1")
    shutil.copytree(place.data, place.root / "synthetic")
    photo = ClassifierRun(data=place.data, runs=place.runs, crops="both", studio=studio)
    drawn = DetectorRun(data=place.data, runs=place.runs, synthetic=place.root / "synthetic")

    def made_from() -> tuple:
        of_classifier = classifier_run.settings_of(photo, config.recipe("demo", quick=True), parts)
        of_detector = detector_run.settings_of(drawn, recipes.recipe("small"), parts)
        return of_classifier["studio files"], of_detector["synthetic"]

    before = made_from()
    assert made_from() == before
    (studio / "a" / "main.jpg").write_bytes(b"22")
    (place.root / "synthetic" / "images" / "img_00001.jpg").write_bytes(b"22")
    after = made_from()
    assert after[0] != before[0] and after[1] != before[1]


def test_a_model_yaml_of_the_users_counts_by_what_it_holds(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that ultralytics finds by the name without the letter of the size."""
    monkeypatch.chdir(tmp_path)
    parts, request = folds.load(place.runs / folds.NAME, read(place.data)), DetectorRun(data=place.data, runs=place.runs)

    def made_from(model: str) -> dict:
        return detector_run.settings_of(request, replace(recipes.recipe("small"), model=model), parts)

    assert "model_file" not in made_from("yolov8n.yaml")
    for model, file in (("my.yaml", "my.yaml"), ("yolov8n.yaml", "yolov8.yaml")):
        Path(file).write_text("width: 1")
        record.write_run(place.runs / "one", before := made_from(model), {})
        assert before["model"] == model
        Path(file).write_text("width: 2")
        with pytest.raises(ValueError, match="holds a finished run with model_file"):
            record.finished(place.runs / "one", made_from(model), force=False)
        with pytest.raises(ValueError, match=rf"--folds: {file} is not what .*one was trained from; put that back"):
            out_of_fold.fold_settings(place.runs, Plan(2), parts)
        Path(file).write_text("width: 1")
        assert out_of_fold.fold_settings(place.runs, Plan(2), parts)["model_file"] == before["model_file"]


def test_runs_made_before_model_yamls_were_recorded_are_of_the_file_as_it_is_and_that_is_told(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("width: 1")
    parts, request = folds.load(place.runs / folds.NAME, read(place.data)), DetectorRun(data=place.data, runs=place.runs)
    now = detector_run.settings_of(request, replace(recipes.recipe("small"), model="my.yaml"), parts)
    older = {name: value for name, value in now.items() if name != "model_file"}
    assert detector_run.as_recorded(request, now, leads=True) == now, "there is none"
    record.write_run(request.out, older, {})
    record.write_json(request.out / "begun.json", older)
    for again in (request, replace(request, resume=True)):
        assert detector_run.as_recorded(again, now, leads=True) == older
        assert f"{request.out} does not record what my.yaml held, so that is not compared" in capsys.readouterr().out
    assert detector_run.as_recorded(replace(request, force=True), now, leads=True) == now
    assert out_of_fold.fold_settings(place.runs, Plan(2), parts)["model_file"] == now["model_file"]
    record.write_run(request.out, older | {"model": "other.yaml"}, {})
    assert detector_run.as_recorded(request, now, leads=True) == now


def test_runs_made_before_shrinking_was_a_choice_are_those_of_linear(place: Place) -> None:
    parts, request = folds.load(place.runs / folds.NAME, read(place.data)), DetectorRun(data=place.data, runs=place.runs)
    before, now = (
        detector_run.settings_of(request, replace(recipes.recipe("small"), shrinking=shrinking), parts)
        for shrinking in ("linear", "average")
    )
    assert "shrinking" not in before and now == before | {"shrinking": "average"}


def test_out_of_fold_detectors_depend_on_photos_and_boxes(trained: Place) -> None:
    def made_from() -> dict:
        return out_of_fold.fold_settings(trained.runs, Plan(2), folds.load(trained.runs / folds.NAME, read(trained.data)))

    before = made_from()
    rename(trained, "train")
    assert made_from() == before
    move(trained, "train")
    assert made_from() != before


# -- weights that have seen what is held out now


# -- the whole path


@pytest.mark.slow
def test_names_mended_in_the_middle_train_anew_what_depends_on_them_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path)
    make_photos.draw(replace(SMALL, count=8), place.data, workers=1)
    words = {f"detector {classes}": [*place.words("detector"), "--classes", classes] for classes in ("one", "all")}
    words |= {name: place.words(name) for name in ("folds", "classifier", "gate", "build")}

    def call(name: str, *flags: str) -> tuple[int, str]:
        code = mains()[name.split()[0]]([*words[name], *flags])
        said = capsys.readouterr()
        return code, said.out + said.err

    trained = ("detector one", "detector all", "classifier")
    for name in ("folds", *trained, "gate", "build"):
        assert call(name)[0] == 0
    assert all("reuses" in call(name)[1] for name in trained)
    known = {category.id: category.name for category in read(place.data).categories}
    for folder, names in zip(ALL, ({}, known, known), strict=True):
        assert trained_names.trained_under(place.runs / folder) == names
    ids = part_of(place, "train")
    place.change(
        lambda v: [a.update(category_id=v["categories"][0]["id"]) for a in v["annotations"] if a["image_id"] == ids[0]]
    )
    assert call("folds")[0] == 0 and "reuses" in call("detector one")[1]
    for name in trained[1:]:
        code, said = call(name)
        assert code == 2 and "names of the train photos that changed since; pass --force" in said
        assert call(name, "--force")[0] == 0
    code, said = call("build")
    assert code == 2 and "changed since the gate in" in said
    for name in ("gate", "build"):
        assert call(name)[0] == 0
    assert all("reuses" in call(name)[1] for name in trained)
