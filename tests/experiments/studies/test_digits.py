"""System C's experiment: drawn strips say what is on them, and the whole road from training to pred.csv."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.figures import records
from experiments.studies import digits, number_strips
from experiments.studies.number_reading import Row, truth_number
from photos import folds
from photos.data import read, read_image
from runs.command import run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("strips") / "S"
    assert number_strips.main(["--out", str(out), "--count", "10"]) == 0
    return out


def test_strips_are_read_as_one_row_of_ten_categories(drawn: Path) -> None:
    dataset = read(drawn)
    assert [category.name for category in dataset.categories] == list("0123456789")
    assert len(dataset.photos) == 10
    for photo in dataset.photos:
        assert 1 <= len(photo.boxes) <= 9
        by_x = "".join(str(label) for label in photo.labels[np.argsort(photo.boxes[:, 0])])
        assert truth_number(photo, "0123456789") == by_x


def test_a_digits_box_holds_its_ink(drawn: Path) -> None:
    """Within a box pixels differ far more than on the plate beside it: the box is where the digit was drawn."""
    inside, beside = [], []
    for photo in read(drawn).photos:
        image = read_image(photo.path, photo.width, photo.height).mean(2)
        for x0, y0, x1, y1 in photo.boxes.astype(int):
            inside.append(image[y0:y1, x0:x1].std())
            beside.append(image[y0:y1, max(0, x0 - 4) : x0].std() if x0 > 8 else np.nan)
    assert np.nanmedian(inside) > 2 * np.nanmedian(beside)


def test_the_same_seed_draws_the_same_and_another_folder_is_refused(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert number_strips.main(["--out", str(tmp_path / "S"), "--count", "10"]) == 0
    assert (tmp_path / "S" / "annotations.json").read_bytes() == (drawn / "annotations.json").read_bytes()
    assert number_strips.main(["--out", str(drawn), "--count", "11"]) == 2
    assert "holds another data set" in capsys.readouterr().err
    assert number_strips.main(["--out", str(tmp_path / "T"), "--count", "0"]) == 2


@pytest.mark.parametrize(
    "names", [["0", "a"], ["10"], [""], ["²"], ["٣"]], ids=["a letter", "two digits", "no name", "power", "Arabic"]
)
def test_only_digits_are_read(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="all must be digits"):
        digits.refuse_others(names, tmp_path)
    digits.refuse_others(list("0123456789"), tmp_path)


def test_no_digit_has_two_categories(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has the categories 1, 1, 2, must be one for each digit"):
        digits.refuse_others(["1", "2", "1"], tmp_path)


def test_a_folder_without_photos_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert digits.main(["--data", str(tmp_path), "--out", str(tmp_path / "X")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_rows_are_averaged_over_seeds() -> None:
    assert digits.mean_rows([[Row(0.5, 0.2, 0.0)], [Row(0.5, 0.4, 1.0)]]) == [Row(0.5, pytest.approx(0.3), 0.5)]


@pytest.mark.slow
def test_models_are_trained_searched_compared_and_written(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    words = ["--data", str(drawn), "--out", str(tmp_path / "X"), "--size", "96", "--epochs", "1", "--synthetic", str(drawn)]
    words += ["--record", "--models", "v1"]
    assert run(digits.body, [*words, "--seeds", "0", "1"]) == 0
    known = records.load()
    assert all(known[f"digits.v1.{kind}"]["n"] == 2 for kind in digits.KINDS)
    assert (tmp_path / "X" / "thresholds.png").stat().st_size > 5000
    at = (tmp_path / "X" / "v1" / "0" / "all" / "run.json").stat().st_mtime_ns
    again = [*words, "v2-resfpn", "--seeds", "0", "--views", "96", "128", "--beside", str(tmp_path / "X"), "--name", ".fused"]
    assert run(digits.body, again) == 0
    assert (tmp_path / "X" / "v1" / "0" / "all" / "run.json").stat().st_mtime_ns == at  # reused
    assert "views of [96, 128] px of 2 models" in records.load()["digits.v1.fused.map"]["setting"]
    assert "digits.v2-resfpn.fused.map_minus_v1" in records.load()
    for model in ("v1", "v2-resfpn"):
        runs = tmp_path / "X" / model / "0"
        photos = folds.load(runs / folds.NAME, read(drawn)).photos("valid")
        with (runs / "pred.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["image_id", "pred_label"] and [int(row[0]) for row in rows[1:]] == [p.id for p in photos]
        assert isinstance(json.loads((runs / "pred.json").read_text()), list)
