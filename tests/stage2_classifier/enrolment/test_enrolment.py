"""A product is taught from photos: the column, the class maps, the order of names, undoing; what must not change does not."""

import json
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest
from cosine_models import BLUE, GREEN, RED, save_classifier
from onnx import numpy_helper
from PIL import Image
from taught_shop import IDS, SCALE, category, everything, photos_of, probabilities, taught, words

from fusion.models import Model, read_sidecar
from fusion.pipeline import load
from runs import identity, process
from runs.model_files import fingerprints
from stage2_classifier import enrolment
from stage2_classifier.prototypes import read_photos

# -- the command -----------------------------------------------------------------------------------------------------------


def test_a_new_product_is_named_and_the_others_are_as_before(shop: Path, runs: Path) -> None:
    before = probabilities(runs, RED, GREEN)
    assert category(runs, BLUE) in IDS
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    assert [category(runs, colour) for colour in (RED, GREEN, BLUE)] == [3, 7, 8]
    np.testing.assert_allclose(probabilities(runs, RED, GREEN)[:, :2], before, atol=1e-3)
    ensemble = json.loads((runs / "ensemble.json").read_text())
    assert (ensemble["categories"], ensemble["names"]) == ([3, 7, 8], ["Red Tea", "Green Tea", "Blue Tea"])
    assert json.loads((runs / "eye" / "enrolled.json").read_text()) == [{"name": "Blue Tea", "id": 8, "replaced": False}]
    assert not list(runs.rglob("*.part*"))


def test_the_new_name_reaches_the_predictions_though_the_detector_was_never_taught_it(shop: Path, runs: Path) -> None:
    blue_shelf = np.full((64, 64, 3), (10, 10, 245), np.uint8)
    assert {row["category_id"] for row in load(runs)(blue_shelf)} <= set(IDS)
    assert taught(shop, runs, "Blue Tea", (20, 20, 230), "--id", "40") == 0
    assert {row["category_id"] for row in load(runs)(blue_shelf)} == {40}


def test_undo_brings_back_every_file_and_works_once(shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads((runs / "ensemble.json").read_text()) | {"made_from": fingerprints(runs, ["eye/model.onnx"])}
    (runs / "ensemble.json").write_text(json.dumps(values))
    assert taught(shop, runs, "Blue Tea", (20, 20, 230), "--classifier", "eye/") == 0  # as the shell completes it
    between = everything(runs)
    assert taught(shop, runs, "Grey Tea", (230, 20, 230)) == 0
    assert enrolment.main(words(shop, runs, "--undo", "--classifier", "./eye/")) == 0
    after = everything(runs)
    kept = {"eye/model.before_enroll.onnx", "eye/model.before_enroll.json"}
    assert {k: v for k, v in between.items() if k not in kept and k != "ensemble.json"} == {
        k: v for k, v in after.items() if k != "ensemble.json"
    }
    assert json.loads(after["ensemble.json"]) == json.loads(between["ensemble.json"])
    capsys.readouterr()
    assert enrolment.main(words(shop, runs, "--undo")) == 2
    assert "only the last enrolling can be undone" in capsys.readouterr().err


def stopped_at(number: int, call: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the call was stopped at its renaming or removal of this number, as by a kill."""
    steps = count()

    def step(name: str) -> Callable:
        real = getattr(Path, name)

        def stopping(path: Path, *args: object, **more: object) -> object:
            of_model = not path.name.startswith("process.json")  # which says who is at work
            if of_model and (name == "replace" or path.exists()) and next(steps) == number:
                raise KeyboardInterrupt
            return real(path, *args, **more)

        return stopping

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink"):
            patched.setattr(Path, name, step(name))
        code = call()
    assert code in (0, 130)
    return code == 130


@pytest.mark.parametrize("stopped", ["enrolling", "undoing"])
@pytest.mark.parametrize("word", ["Blue Tea", "Green Tea"], ids=["a new column", "one replaced"])
def test_wherever_it_is_stopped_the_next_call_puts_it_right(
    stopped: str, word: str, shop: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = json.loads((runs / "ensemble.json").read_text()) | {"made_from": fingerprints(runs, ["eye/model.onnx"])}
    (runs / "ensemble.json").write_text(json.dumps(values))
    original = everything(runs / "eye")
    photos = str(photos_of(shop.parent / "photos", (20, 20, 230)))
    enroll = lambda: enrolment.main(words(shop, runs, "--photos", photos, "--name", word))  # noqa: E731
    undo = lambda: enrolment.main(words(shop, runs, "--undo"))  # noqa: E731
    number, goes_on = 0, True
    while goes_on:
        if stopped == "undoing":
            assert enroll() == 0
        goes_on = stopped_at(number, enroll if stopped == "enrolling" else undo, monkeypatch)
        if (stopped == "enrolling") == goes_on:
            assert enroll() == 0
        assert undo() == 0
        assert {name: data for name, data in everything(runs / "eye").items() if name in original} == original
        assert json.loads((runs / "eye" / "enrolled.json").read_text()) == []
        assert json.loads((runs / "ensemble.json").read_text()) == values
        assert not (runs / "eye" / "enrolling.json").exists() and not list(runs.rglob("*before_enroll*"))
        number += 1
    assert number > 6


def test_a_graph_and_a_sidecar_of_two_models_are_refused(runs: Path) -> None:
    side = runs / "eye" / "model.json"
    side.write_text(json.dumps(json.loads(side.read_text()) | {"categories": [*IDS, 9]}))
    with pytest.raises(ValueError, match="got 2 columns, its sidecar tells of 3: not of one model"):
        Model(runs / "eye" / "model.onnx")


def test_an_ensemble_of_before_has_no_names_and_gets_none(shop: Path, runs: Path) -> None:
    values = json.loads((runs / "ensemble.json").read_text())
    (runs / "ensemble.json").write_text(json.dumps({key: value for key, value in values.items() if key != "names"}))
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    assert load(runs).ensemble.names == []
    assert enrolment.main(words(shop, runs, "--undo")) == 0
    assert load(runs).ensemble.names == []


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".TIF", ".tiff", ".jpeg"])
def test_photos_of_every_kind_that_studio_photos_have_are_read(tmp_path: Path, suffix: str) -> None:
    picture = next(photos_of(tmp_path / "drawn", (20, 20, 230)).iterdir())
    folder = tmp_path / "NEW"
    folder.mkdir()
    Image.open(picture).save(folder / f"0{suffix}")
    assert len(read_photos(folder, 16)) == 1


def test_a_second_product_goes_behind_the_first(shop: Path, runs: Path) -> None:
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    assert taught(shop, runs, "Pink Tea", (230, 20, 230)) == 0
    assert [category(runs, c) for c in (RED, GREEN, BLUE, RED + BLUE)] == [3, 7, 8, 9]


def test_the_same_name_again_replaces_its_column(shop: Path, runs: Path) -> None:
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    shutil.rmtree(shop.parent / "photos of Blue Tea")
    assert taught(shop, runs, "Blue Tea", (230, 20, 230)) == 0
    assert read_sidecar(runs / "eye" / "model.json").categories == [3, 7, 8]
    assert category(runs, RED + BLUE) == 8


@pytest.mark.parametrize(
    ("flags", "blue"), [pytest.param([], 7, id="replaced"), pytest.param(["--blend", "0.01"], 3, id="hardly mixed")]
)
def test_a_name_of_the_data_set_keeps_its_id_and_gets_another_prototype(
    shop: Path, runs: Path, flags: list[str], blue: int
) -> None:
    save_classifier(runs / "eye" / "model.onnx", [SCALE * np.stack([0.8 * RED + 0.6 * BLUE, GREEN], 1)], IDS)
    before = (runs / "ensemble.json").read_bytes()
    assert taught(shop, runs, " green tea", (20, 20, 230), *flags) == 0
    assert read_sidecar(runs / "eye" / "model.json").categories == IDS
    assert category(runs, BLUE) == blue
    assert (runs / "ensemble.json").read_bytes() == before


def test_without_an_ensemble_only_the_classifier_changes(shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "ensemble.json").unlink()
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    assert "is not there yet" in capsys.readouterr().out
    assert category(runs, BLUE) == 8 and not (runs / "ensemble.json").exists()
    assert enrolment.main(words(shop, runs, "--undo")) == 0
    assert category(runs, BLUE) in IDS


def test_studio_embeddings_can_be_moved_to_the_shelf(shop: Path, runs: Path) -> None:
    """The studio's light is bluer than the shelf's: the measured step takes a new prototype to where it stands."""
    studio = shop / "NM_NGD_product_images"
    photos_of(studio / "Red Tea", (200, 30, 128))
    photos_of(studio / "Green Tea", (30, 200, 128))
    for flags, at_least, at_most in (([], -1.0, 0.99), (["--shift"], 0.97, 1.0)):
        shutil.rmtree(shop.parent / "photos of Yellow Tea", ignore_errors=True)
        assert taught(shop, runs, "Yellow Tea", (200, 200, 128), *flags) == 0
        matrix = numpy_helper.to_array(onnx.load(str(runs / "eye" / "model.onnx")).graph.initializer[0])
        on_shelf = np.array([200, 200, 30]) / 255 - 0.5
        assert at_least <= matrix[:, 2] @ on_shelf / np.linalg.norm(on_shelf) / SCALE <= at_most
        assert enrolment.main(words(shop, runs, "--undo")) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--name", "Blue Tea"], "got --photos None", id="no photos"),
        pytest.param(["--photos", "PHOTOS"], "--name None", id="no name"),
        pytest.param(["--photos", "nowhere", "--name", "a"], "must be a folder with photos", id="no such folder"),
        pytest.param(["--photos", "EMPTY", "--name", "a"], "must be a folder with photos", id="empty folder"),
        pytest.param(["--photos", "PHOTOS", "--name", "a", "--id", "3"], "--id: got 3", id="id taken"),
        pytest.param(["--photos", "BLANK", "--name", "a"], "white.png: of one colour: it shows no product", id="a blank photo"),
        pytest.param(["--photos", "SMALL", "--name", "a"], "dot.png: 15 x 20 pixels, need 16", id="a photo of few pixels"),
        pytest.param(
            ["--photos", "PHOTOS", "--name", "a", "--id", str(2**31)],
            "--id: got 2147483648, must be in [0, 2147483647]",
            id="huge id",
        ),
        pytest.param(
            ["--photos", "WALL", "--name", "a"], "wall.png: of one colour: it shows no product", id="a wall with noise"
        ),
        pytest.param(["--photos", "SPECK", "--name", "a"], "speck.png: only 9 x 5 pixels differ", id="a speck before a wall"),
        pytest.param(["--photos", "CUT", "--name", "a"], "cut.jpg: the photo is cut off or damaged", id="a photo cut off"),
        pytest.param(["--photos", "HALF", "--name", "a"], "half.jpg: the photo is cut off or damaged", id="half a photo"),
        pytest.param(["--photos", "PHOTOS", "--name", "a", "--id", "-1"], "--id: got -1", id="negative id"),
        pytest.param(["--photos", "PHOTOS", "--name", "Red Tea", "--id", "9"], "has the id 3 already", id="two ids"),
        pytest.param(["--photos", "PHOTOS", "--name", "a", "--blend", "0"], "a share above 0", id="blend of nothing"),
        pytest.param(["--photos", "PHOTOS", "--name", "a", "--shift"], "studio photos: got", id="no studio to measure"),
        pytest.param(["--undo", "--classifier", ".."], "..: not a folder in", id="outside of the run folder"),
        pytest.param(["--undo"], "model.before_enroll.onnx not found", id="nothing to undo"),
    ],
)
def test_mistakes_are_told_in_one_line_and_change_nothing(
    shop: Path, runs: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    places = {"PHOTOS": str(photos_of(shop.parent / "photos", (20, 20, 230))), "EMPTY": str(shop.parent / "empty")}
    (shop.parent / "empty").mkdir()
    noise, wall = np.random.default_rng(0).integers(0, 255, (90, 90, 3)), np.full((90, 90, 3), 240)
    wall[40:45, 50:59] = 0
    for folder, name, photo in (
        ("BLANK", "white.png", np.full((90, 90, 3), 255)),
        ("SMALL", "dot.png", np.arange(900).reshape(20, 15, 3)),
        ("WALL", "wall.png", 240 + noise % 6),
        ("SPECK", "speck.png", wall),
    ):
        places[folder] = str(photos_of(shop.parent / folder, (20, 20, 230)))
        Image.fromarray(photo.astype(np.uint8)).save(f"{places[folder]}/{name}")
    for folder, name, end in (("CUT", "cut.jpg", b""), ("HALF", "half.jpg", b"\xff\xd9")):
        places[folder] = str(photos_of(shop.parent / folder, (20, 20, 230)))
        Image.fromarray(noise.astype(np.uint8)).save(path := Path(places[folder], name))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + end)
    before = everything(runs)
    capsys.readouterr()
    assert enrolment.main(words(shop, runs, *[places.get(flag, flag) for flag in flags])) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error, error
    assert everything(runs) == before


def test_a_linear_head_is_refused(shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_classifier(runs / "eye" / "model.onnx", [np.stack([RED, GREEN], 1)], IDS, linear=True)
    before = everything(runs)
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "its head is linear" in error and "--head arcface" in error
    assert everything(runs) == before


def test_a_graph_whose_other_logits_would_change_is_refused(shop: Path, runs: Path) -> None:
    """A head that subtracts the mean of all logits: the check after the surgery must see it, and leave the model alone."""
    path = runs / "eye" / "model.onnx"
    graph = onnx.load(str(path))
    graph.graph.node[-1].output[0] = "raw"
    graph.graph.node.extend([
        onnx.helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[1], keepdims=1),
        onnx.helper.make_node("Sub", ["raw", "mean"], ["logits"]),
    ])  # fmt: skip
    onnx.save(graph, str(path))
    before = everything(runs)
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 2
    assert everything(runs) == before


def test_an_ensemble_of_another_class_map_is_refused(shop: Path, runs: Path) -> None:
    values = json.loads((runs / "ensemble.json").read_text()) | {"categories": [3, 7, 9]}
    (runs / "ensemble.json").write_text(json.dumps(values))
    before = everything(runs)
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 2
    assert everything(runs) == before


def test_two_that_enroll_at_once_are_refused(shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, before = runs / "eye" / process.NAME, everything(runs)
    other.write_text(json.dumps(identity.of_process(os.getppid())))
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == enrolment.main(words(shop, runs, "--undo")) == 2
    assert f"process {os.getppid()} is at work on it" in capsys.readouterr().err
    other.unlink()
    assert everything(runs) == before


def test_a_name_is_not_taught_into_the_column_of_another_product(
    shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the data set gives two products each other's ids since the training."""
    (runs / "eye" / "run.json").write_text(json.dumps({"names": {"3": "Green Tea", "7": "Red Tea"}}))
    before = everything(runs)
    assert taught(shop, runs, "Red Tea", (230, 20, 20)) == 2
    assert "eye was trained with 'Green Tea' under this id, and 'Red Tea' under 7" in capsys.readouterr().err
    assert everything(runs) == before
