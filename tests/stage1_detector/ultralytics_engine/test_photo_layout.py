"""Photos and labels laid out anew for ultralytics, and averaged into the very canvases of judgment."""

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_photos import photo
from ultralytics.data.utils import img2label_paths

from fusion.views import make_views
from photos.data import Photo, read_image
from stage1_detector.config import DetectorConfig
from stage1_detector.sidecar import sidecar
from stage1_detector.ultralytics_engine.photo_layout import label_lines, link_photos, shrink_of, tell_left_out


@pytest.mark.parametrize("place", ["images/run", "run/images", "images"])
def test_ultralytics_finds_the_labels_below_a_folder_of_images(tmp_path: Path, place: str) -> None:
    folder = link_photos((photo(tmp_path, 3, [[1, 2, 30, 20]]),), tmp_path / place, agnostic=True)
    (file,) = img2label_paths([str(path) for path in folder.iterdir()])
    assert Path(file) == folder.parent / "labels" / "00000003.txt" and Path(file).read_text()


def test_a_photo_without_boxes_has_an_empty_label_file(tmp_path: Path) -> None:
    images = link_photos((photo(tmp_path, 1, []),), tmp_path / "out", agnostic=True)
    assert [p.name for p in images.iterdir()] == ["00000001.jpg"]
    assert (tmp_path / "out" / "labels" / "00000001.txt").read_text() == ""


@pytest.mark.parametrize(("agnostic", "classes"), [(True, [0, 0]), (False, [0, 1])], ids=["one class", "all classes"])
def test_labels_are_class_then_centre_and_size_as_fractions(tmp_path: Path, agnostic: bool, classes: list[int]) -> None:
    lines = label_lines(photo(tmp_path, 1, [[0, 0, 30, 20], [30, 20, 60, 40]]), agnostic).splitlines()
    rows = np.array([[float(v) for v in line.split()] for line in lines])
    assert rows[:, 0].tolist() == classes
    np.testing.assert_allclose(rows[:, 1:], [[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]], atol=1e-6)


def test_photos_of_other_folds_do_not_stay(tmp_path: Path) -> None:
    first, second = photo(tmp_path, 1, []), photo(tmp_path, 2, [])
    link_photos((first,), tmp_path / "out", agnostic=True)
    images = link_photos((second,), tmp_path / "out", agnostic=True)
    assert [p.name for p in images.iterdir()] == ["00000002.jpg"]
    assert first.path.is_file()


def test_photos_are_copied_where_the_file_system_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    original = photo(tmp_path, 1, [])
    images = link_photos((original,), tmp_path / "out", agnostic=True)
    assert (images / "00000001.jpg").read_bytes() == original.path.read_bytes()


def test_a_photo_that_exif_would_turn_wrongly_is_copied_as_the_annotations_mean_it(tmp_path: Path) -> None:
    images = link_photos((photo(tmp_path, 7, [], turned=True),), tmp_path / "out", agnostic=True)
    (copy,) = images.iterdir()
    assert not copy.is_symlink()
    assert cv2.imread(str(copy)).shape == (40, 60, 3)


def large(folder: Path, width: int, height: int) -> Photo:
    """A photo of noise without loss, with a box in its middle."""
    path = folder / "large.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    box = np.array([[width / 4, height / 4, width / 2, height / 2]], np.float32)
    return Photo(5, path, width, height, box, np.zeros(1, np.int64), np.zeros(1, np.int64), None)


@pytest.mark.parametrize("size", [(240, 160), (250, 100), (160, 400)], ids=["by whole numbers", "by fractions", "tall"])
@pytest.mark.parametrize("family", ["yolo", "rtdetr"])
@pytest.mark.parametrize("shrinking", ["average", "linear"])
def test_what_ultralytics_trains_on_is_the_canvas_of_judgment(
    tmp_path: Path, size: tuple[int, int], family: str, shrinking: str
) -> None:
    from ultralytics.data.dataset import YOLODataset

    original, config = large(tmp_path, *size), DetectorConfig(family=family, size=64, shrinking=shrinking)
    folder = link_photos((original,), tmp_path / "out", True, shrink=shrink_of(config))
    dataset = YOLODataset(img_path=str(folder), imgsz=64, augment=False, data={"names": {0: "product"}, "channels": 3})
    trained_on = dataset.load_image(0, rect_mode=family == "yolo")[0][..., ::-1]  # its first step; padding follows
    described = sidecar(config, None, {"train": (), "valid": ()})
    spec = {"size": 64, "shape": "stretch" if family == "rtdetr" else "square"}
    (view,) = make_views(spec, *size, described["shrinking"])
    canvas = view.warp(read_image(original.path, *size))
    x0, y0, x1, y1 = np.rint(view.to_canvas(np.array([[0, 0, *size]], np.float32))[0]).astype(int)
    np.testing.assert_array_equal(trained_on, canvas[y0:y1, x0:x1])
    assert next(folder.iterdir()).is_symlink() == (view.whole_shrink == 1)


def test_an_averaged_photo_keeps_its_labels(tmp_path: Path) -> None:
    original = large(tmp_path, 250, 100)
    link_photos((original,), tmp_path / "out", True, shrink=shrink_of(DetectorConfig(size=64)))
    assert cv2.imread(str(tmp_path / "out" / "images" / "00000005.png")).shape == (33, 83, 3)
    assert (tmp_path / "out" / "labels" / "00000005.txt").read_text() == label_lines(original, True)


def test_a_photo_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = large(tmp_path, 250, 100)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"out/images/.*\.png: cannot be written \(No space left on device\); is the disk full"):
        link_photos((original,), tmp_path / "out", True, shrink=shrink_of(DetectorConfig(size=64)))


def test_a_long_photo_is_averaged_no_further_than_ultralytics_reads_it() -> None:
    shrink, none = shrink_of(DetectorConfig(size=640)), np.zeros((0, 4), np.float32)
    numbers = [
        shrink(Photo(1, Path("a.jpg"), width, height, none, np.zeros(0), np.zeros(0), "train"))
        for width, height in ((5000, 60), (5000, 4000), (5000, 5), (640, 480))
    ]
    assert numbers == [6, 7, 1, 1]


def test_photos_that_ultralytics_leaves_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "one" / "train" / "images"
    folder.mkdir(parents=True)
    (tmp_path / "narrow.jpg").touch()
    (folder / "00000002.jpg").symlink_to(tmp_path / "narrow.jpg")
    (folder / "00000001.jpg").touch()
    tell_left_out(folder, [str(folder / "00000001.jpg"), str(folder / "00000002.jpg")])
    assert not capsys.readouterr().out
    tell_left_out(folder, [str(folder / "00000001.jpg")])
    told = capsys.readouterr().out
    assert "ultralytics leaves out 1 of 2 photos, such as narrow.jpg: damaged, or with a side below 10 px" in told
