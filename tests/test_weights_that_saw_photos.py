"""Weights know which photos they have seen: none of those is held out from what starts from them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from place import Place, mains
from safetensors.torch import load_file, save_file

from photos import folds, trained_on
from photos.data import read
from runs import checkpoint, fetched, record
from stage1_detector.config import STARTER as DETECTOR
from stage2_classifier import out_of_fold
from stage2_classifier.config import STARTER as CLASSIFIER


def deal_anew(place: Place) -> folds.Folds:
    """Other folds of the same photos: what was valid and test is trained on, and the other way round."""
    content = json.loads((place.runs / folds.NAME).read_text())
    ids = np.array([row["image_id"] for row in content["photos"] if row["part"] == "train"])
    for row in content["photos"]:
        row["part"] = "train" if row["part"] != "train" else "test" if row["image_id"] in ids[:2] else "valid"
    (place.runs / folds.NAME).write_text(json.dumps(content))
    return folds.load(place.runs / folds.NAME, read(place.data))


@pytest.fixture
def weights(place: Place) -> Path:
    """A weights file of a run that saw the train photos of the place's folds, but for its network."""
    parts, out = folds.load(place.runs / folds.NAME, read(place.data)), place.runs / "old"
    trained_on.write(out, parts.photos("train"), parts.photos("valid"))
    (out / "weights").mkdir()
    (out / "weights" / "last.pt").write_bytes(b"weights")
    return out / "weights" / "last.pt"


def test_weights_start_another_training_of_the_same_folds(place: Place, weights: Path) -> None:
    path = place.runs / folds.NAME
    trained_on.refuse_held_out("--pretrained", weights, path, folds.load(path, read(place.data)))


@pytest.mark.parametrize("name", ["weights/best.pt", "weights/epoch-3.pt", "last.pt"])
def test_weights_that_have_seen_what_is_held_out_now_are_refused(
    place: Place, weights: Path, refused: Callable, name: str
) -> None:
    file = weights.parents[1] / name
    torch.save({"tensor": torch.zeros(1)}, file)  # of tensors alone, so that nothing else is wrong with it
    deal_anew(place)
    for command in ("detector", "classifier"):
        shutil.rmtree(place.runs / ("one" if command == "detector" else "classifier_shelf"))
        refused(command, ["--pretrained", str(file)], "photos that ")
        refused(command, ["--pretrained", str(file)], "folds.json holds out now; start from other weights")


@pytest.mark.parametrize("name", ["weights/best.pt", "last.pt"])
def test_a_copy_of_them_elsewhere_is_refused_as_well(place: Place, weights: Path, refused: Callable, name: str) -> None:
    """The checkpoint itself tells which photos it has seen."""
    checkpoint.write(weights.parents[1] / name, {"tensor": torch.zeros(1)})
    shutil.copyfile(weights.parents[1] / name, place.root / "x.pt")
    shutil.rmtree(weights.parents[1])
    assert float(torch.load(place.root / "x.pt", weights_only=True)["tensor"]) == 0
    deal_anew(place)
    for command in ("detector", "classifier"):
        shutil.rmtree(place.runs / ("one" if command == "detector" else "classifier_shelf"))
        refused(command, ["--pretrained", str(place.root / "x.pt")], "x.pt has seen ")


@pytest.mark.parametrize(("command", "starter"), [("detector", DETECTOR), ("classifier", CLASSIFIER)], ids=["one", "crops"])
def test_weights_of_which_nothing_is_known_are_told_once_and_the_starters_are_not(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, starter: Path
) -> None:
    def enough(*_: object) -> None:
        raise ValueError("enough")

    monkeypatch.setattr(record, "begin", enough)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place.root / "cache"))
    copy, other = place.root / "copy.safetensors", place.root / "other.safetensors"
    shutil.copyfile(starter, copy)
    save_file({name: value.float() for name, value in load_file(starter).items()}, other)
    for path, told in ((copy, 0), ("starter", 0), (other, 1), (other, 0)):
        assert mains()[command]([*place.words(command), "--force", "--pretrained", str(path)]) == 2
        line = f"nothing is known of the photos that {path} was trained on; if test photos are among them"
        output = capsys.readouterr()
        assert "error: enough" in output.err and output.out.count(line) == output.out.count("nothing is known") == told
    trained_on.forget()
    fetched.note("other", other, fetched.sha256(other))
    shutil.copyfile(other, copy)
    assert mains()[command]([*place.words(command), "--force", "--pretrained", str(copy)]) == 2
    assert "nothing is known" not in capsys.readouterr().out


def test_weights_of_an_earlier_version_go_by_their_folds(place: Place) -> None:
    path, out = place.runs / folds.NAME, place.runs / "old"
    parts = folds.load(path, read(place.data))
    out.mkdir()
    for recorded in (record.fingerprint(path), folds.fingerprint(path)):
        record.write_run(out, {"folds": recorded}, {})
        trained_on.refuse_held_out("--pretrained", out / "last.pt", path, parts)
    record.write_run(out, {"folds": "others"}, {})
    with pytest.raises(ValueError, match=r"--pretrained: .*last\.pt was trained with other folds than"):
        trained_on.refuse_held_out("--pretrained", out / "last.pt", path, parts)


def test_what_the_starting_weights_have_seen_is_inherited(place: Place, weights: Path) -> None:
    parts = deal_anew(place)
    trained_on.write(place.runs / "new", (), (), [weights])
    with pytest.raises(ValueError, match=r"--teacher: .*new has seen 6 photos that .* holds out now"):
        trained_on.refuse_held_out("--teacher", place.runs / "new", place.runs / folds.NAME, parts)


def test_photos_that_chose_the_epoch_are_no_test_photos(place: Place) -> None:
    path = place.runs / folds.NAME
    parts = folds.load(path, read(place.data))
    trained_on.write(place.runs / "old", (), parts.photos("test"))
    with pytest.raises(ValueError, match=r"--pretrained: .*old has seen 2 photos that"):
        trained_on.refuse_held_out("--pretrained", place.runs / "old", path, parts)


@pytest.mark.parametrize("copy", ["valid", "test"])
def test_a_photo_that_is_in_train_as_well_is_not_held_out(place: Place, copy: str) -> None:
    """Else no class-aware detector could start from the run of the same folds."""
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    (first, *_), (twin, *_) = parts.photos("train"), parts.photos(copy)
    twin.path.write_bytes(first.path.read_bytes())
    trained_on.write(place.runs / "old", parts.photos("train"), parts.photos("valid"))
    trained_on.refuse_held_out("--pretrained", place.runs / "old", place.runs / folds.NAME, parts)
    trained_on.write(place.runs / "old", [*parts.photos("train"), parts.photos("test")[-1]], parts.photos("valid"))
    with pytest.raises(ValueError, match=r"--pretrained: .*old has seen 1 photo that"):
        trained_on.refuse_held_out("--pretrained", place.runs / "old", place.runs / folds.NAME, parts)


def test_a_photo_of_valid_and_test_chooses_the_epoch_anyway(place: Place) -> None:
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    parts.photos("test")[0].path.write_bytes(parts.photos("valid")[0].path.read_bytes())
    trained_on.write(place.runs / "old", parts.photos("train"), parts.photos("valid"))
    trained_on.refuse_held_out("--pretrained", place.runs / "old", place.runs / folds.NAME, parts)


def test_folds_do_not_start_from_weights_that_have_seen_what_they_leave_out(place: Place, weights: Path) -> None:
    photos = folds.load(place.runs / folds.NAME, read(place.data)).photos("train")
    with pytest.raises(ValueError, match=r"--folds: .*last\.pt has seen 6 of the train photos, so no boxes"):
        out_of_fold.refuse_seen(weights, photos)
    out_of_fold.refuse_seen(place.root / "downloaded.pt", photos)
