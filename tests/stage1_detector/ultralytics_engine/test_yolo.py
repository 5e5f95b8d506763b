"""What ultralytics is given: photos and labels laid out anew, our settings in its words, nothing to download."""

import errno
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_photos import photo
from training_jobs import job_of

from stage1_detector.config import DetectorConfig
from stage1_detector.ultralytics_engine import yolo


def test_a_photo_without_boxes_has_an_empty_label_file(tmp_path: Path) -> None:
    images = yolo.link_photos((photo(tmp_path, 1, []),), tmp_path / "out", agnostic=True)
    assert [p.name for p in images.iterdir()] == ["00000001.jpg"]
    assert (tmp_path / "out" / "labels" / "00000001.txt").read_text() == ""


@pytest.mark.parametrize(("agnostic", "classes"), [(True, [0, 0]), (False, [0, 1])], ids=["one class", "all classes"])
def test_labels_are_class_then_centre_and_size_as_fractions(tmp_path: Path, agnostic: bool, classes: list[int]) -> None:
    lines = yolo.label_lines(photo(tmp_path, 1, [[0, 0, 30, 20], [30, 20, 60, 40]]), agnostic).splitlines()
    rows = np.array([[float(v) for v in line.split()] for line in lines])
    assert rows[:, 0].tolist() == classes
    np.testing.assert_allclose(rows[:, 1:], [[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]], atol=1e-6)


def test_photos_of_other_folds_do_not_stay(tmp_path: Path) -> None:
    first, second = photo(tmp_path, 1, []), photo(tmp_path, 2, [])
    yolo.link_photos((first,), tmp_path / "out", agnostic=True)
    images = yolo.link_photos((second,), tmp_path / "out", agnostic=True)
    assert [p.name for p in images.iterdir()] == ["00000002.jpg"]
    assert first.path.is_file()


def test_photos_are_copied_where_the_file_system_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    original = photo(tmp_path, 1, [])
    images = yolo.link_photos((original,), tmp_path / "out", agnostic=True)
    assert (images / "00000001.jpg").read_bytes() == original.path.read_bytes()


def test_a_photo_that_exif_would_turn_wrongly_is_copied_as_the_annotations_mean_it(tmp_path: Path) -> None:
    images = yolo.link_photos((photo(tmp_path, 7, [], turned=True),), tmp_path / "out", agnostic=True)
    (copy,) = images.iterdir()
    assert not copy.is_symlink()
    assert cv2.imread(str(copy)).shape == (40, 60, 3)


def test_settings_in_ultralytics_words(tmp_path: Path) -> None:
    photos = {"train": (photo(tmp_path, 1, [[0, 0, 5, 5]] * 400),), "valid": (photo(tmp_path, 2, []),)}
    words = yolo.ultralytics_arguments(job_of(DetectorConfig(batch=4, epochs=3), photos, tmp_path / "R" / "one"))
    assert words["nbs"] == words["batch"] == 4  # else 16 batches make one step
    assert words["max_det"] == 650  # of 400 boxes, neither 300 nor 100
    assert words["rect"] is True
    assert words["val"] is True
    assert words["plots"] is False  # they need a font that would be fetched
    config = replace(DetectorConfig(), mosaic=1.0, patience=5)
    mosaic = yolo.ultralytics_arguments(job_of(config, photos, tmp_path / "R" / "one"))
    relative = yolo.ultralytics_arguments(job_of(DetectorConfig(), photos, Path("R/one")))
    assert relative["project"] == str(Path.cwd() / "R")  # ultralytics puts a relative one into its own folder of runs
    assert (mosaic["rect"], mosaic["patience"]) == (False, 5)
