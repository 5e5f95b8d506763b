"""Out-of-fold boxes: whose name they get, that nobody sees its own scene, that a finished fold is kept."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_shop import SMALL

from photos import folds
from photos.data import Dataset, Photo, read
from stage1_detector import recipes as detector_config
from stage1_detector import train as detector
from stage1_detector.synthesis import make_photos
from stage2_classifier import out_of_fold
from stage2_classifier import train as classifier
from stage2_classifier.config import Columns
from stage2_classifier.crops import shelf_regions

NO_PHOTOS = folds.Folds(folds.Settings("", "photo", 5, 0), Dataset(Path(), (), ()), {}, {}, {})
TRUTH = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
FOUND = np.array([[1, 0, 11, 10], [21, 1, 30, 10], [12, 0, 19, 10], [5, 0, 15, 10]], np.float32)


def photo(boxes: np.ndarray = TRUTH, number: int = 1) -> Photo:
    return Photo(number, Path("a.jpg"), 60, 40, boxes, np.arange(len(boxes)) + 4, np.arange(len(boxes)), None)


def test_nothing_found_adds_nothing() -> None:
    for empty in (photo(), photo(TRUTH[:0])):
        made = out_of_fold.with_detected(empty, out_of_fold.NO_BOXES)
        assert len(made.boxes) == len(made.labels) == len(empty.boxes)
    assert len(out_of_fold.with_detected(photo(TRUTH[:0]), FOUND).boxes) == 0
    assert out_of_fold.matched(TRUTH, out_of_fold.NO_BOXES)[0].shape == (0, 4)


def test_found_boxes_get_the_name_of_the_product_they_overlap() -> None:
    made = out_of_fold.with_detected(photo(), FOUND)
    assert made.labels.tolist() == [4, 5, 4, 5]
    np.testing.assert_array_equal(made.boxes[2:], FOUND[:2])


def test_what_overlaps_nothing_becomes_background() -> None:
    made = out_of_fold.background([photo()], [FOUND], Columns(9, background=True), 0)[0]
    wrong = made.boxes[made.labels == 9]
    assert FOUND[2].tolist() in wrong.tolist()
    assert FOUND[3].tolist() not in wrong.tolist(), "a third of a product is neither one nor none"
    assert out_of_fold.background([photo()], [FOUND], Columns(9), 0)[0].boxes.tolist() == TRUTH.tolist()


def test_the_error_is_that_of_the_matched_boxes() -> None:
    truth = np.tile(TRUTH, (20, 1)) + np.repeat(np.arange(20) * 100, 2)[:, None].astype(np.float32)
    error = out_of_fold.measured_error([photo(truth)], [truth + np.array([1, 0, 1, 0], np.float32)])
    np.testing.assert_allclose(error, [0.148, 0, 0, 0], atol=1e-3)


def test_one_that_started_from_weights_needs_them(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    told = asdict(detector_config.recipe("small")) | {"pretrained": "abc", "folds": "f"}
    (tmp_path / "one" / "run.json").write_text(json.dumps({"settings": told}))
    with pytest.raises(ValueError, match="--detector-weights: got None, must be the file that"):
        out_of_fold.fold_settings(tmp_path, out_of_fold.Plan(2), NO_PHOTOS)
    (tmp_path / "one" / "run.json").write_text(json.dumps({"settings": told | {"pretrained": None}}))
    with pytest.raises(ValueError, match="one started from none"):
        out_of_fold.fold_settings(tmp_path, out_of_fold.Plan(2, weights=tmp_path / "one" / "run.json"), NO_PHOTOS)
    assert out_of_fold.fold_settings(tmp_path, out_of_fold.Plan(2, quick=True), NO_PHOTOS)["detector"]["epochs"] == 1
    assert out_of_fold.fold_settings(tmp_path, out_of_fold.Plan(2), NO_PHOTOS)["detector"] == asdict(
        detector_config.recipe("small")
    )


def test_without_a_detector_there_are_no_folds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one/run.json not found; train it first"):
        out_of_fold.fold_settings(tmp_path, out_of_fold.Plan(2), NO_PHOTOS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn shop, its folds by the scenes as drawn, and a rehearsed detector."""
    root = tmp_path_factory.mktemp("oof")
    make_photos.draw(replace(SMALL, count=14, shots=(1.0,)), root / "data", workers=1)
    scenes = str(root / "data" / "scenes.csv")
    base = ["--data", str(root / "data"), "--out", str(root)]
    assert folds.main([*base, "--groups", scenes]) == 0
    assert detector.main([*base, "--quick", "--device", "cpu"]) == 0
    return root


def arguments(runs: Path, *more: str) -> list[str]:
    return ["--data", str(runs / "data"), "--out", str(runs), "--quick", "--background", "0.2", *more]


@pytest.mark.slow
def test_folds_are_trained_once_and_go_into_the_classifier(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert classifier.main(arguments(runs, "--folds", "2")) == 0
    parts = folds.load(runs / "folds.json", read(runs / "data"))
    (place,) = (runs / "oof").iterdir()
    told = [json.loads((place / f"fold_{k}.json").read_text()) for k in range(2)]
    seen = [set(map(int, one["boxes"])) for one in told]
    assert not seen[0] & seen[1]
    assert seen[0] | seen[1] == {p.id for p in parts.photos("train")}
    for k, own in enumerate(seen):
        trained_on = {int(path.stem) for path in (place / f"fold_{k}" / "photos" / "train" / "images").iterdir()}
        assert not own & trained_on
        assert not {parts.scene[i] for i in own} & {parts.scene[i] for i in trained_on}
    assert json.loads((runs / "classifier_shelf" / "run.json").read_text())["settings"]["out_of_fold"]["count"] == 2

    monkeypatch.setattr(out_of_fold, "train_fold", lambda *_: pytest.fail("a finished fold is trained again"))
    assert classifier.main(arguments(runs, "--folds", "2", "--name", "second")) == 0
    capsys.readouterr()
    monkeypatch.setattr(out_of_fold, "train_fold", lambda out, *_: pytest.fail(f"{out.parent.name} is trained"))
    with pytest.raises(pytest.fail.Exception, match="is trained") as raised:
        classifier.main(arguments(runs, "--folds", "3", "--name", "third"))
    assert place.name not in str(raised.value)
    assert classifier.main(arguments(runs, "--folds", "200", "--name", "fourth")) == 2
    assert "--folds: got 200, allowed 2 to" in capsys.readouterr().err


@pytest.mark.slow
def test_found_boxes_are_not_shaken_and_true_ones_are(runs: Path) -> None:
    one = folds.load(runs / "folds.json", read(runs / "data")).photos("train")[0]
    made = out_of_fold.with_detected(one, one.boxes[:3] + 1)
    assert [region.still for region in shelf_regions([made], 32)] == [False] * len(one.boxes) + [True] * 3


@pytest.mark.parametrize("key", ["teacher", "distill_model"])
def test_folds_beside_a_taught_detector_are_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.json").write_text(json.dumps({"settings": {key: "0123456789abcdef"}}))
    with pytest.raises(ValueError, match=rf"--folds: .*one was taught by another detector \({key}\)"):
        out_of_fold.fold_settings(tmp_path, out_of_fold.Plan(2), SimpleNamespace())  # type: ignore[arg-type]
