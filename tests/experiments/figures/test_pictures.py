"""The worst photos come first, and what is drawn on them has the colour of what became of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.figures import pictures
from fusion.boxes import Detections
from photos.data import Photo
from photos.score import Truth
from reporting.verdicts import verdicts

BOXES = np.array([[100, 100, 200, 200], [300, 100, 400, 200], [500, 100, 600, 200]], np.float32)
NAMES = ["MÜSLI", "RIS", ""]


def photo(folder: Path, name: str) -> Photo:
    Image.new("RGB", (1200, 800)).save(folder / name)
    return Photo(1, folder / name, 1200, 800, BOXES, np.array([0, 1, 2]), np.arange(3), None)


def detections(boxes: np.ndarray, labels: list[int]) -> Detections:
    return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.array(labels, np.int64))


def outline(picture: np.ndarray, box: np.ndarray) -> tuple[int, ...]:
    """The colour of the middle of the box's lower edge."""
    return tuple(picture[int(box[3]) - 1, int(box[0] + box[2]) // 2].tolist())


def test_a_photo_without_boxes_is_drawn(tmp_path: Path) -> None:
    Image.new("RGB", (1200, 800)).save(tmp_path / "a.jpg")
    none = np.zeros(0, np.int64)
    empty = Photo(1, tmp_path / "a.jpg", 1200, 800, np.zeros((0, 4), np.float32), none, none, None)
    assert pictures.draw(empty, Detections.empty(), [])[:, :1200].max() < 10


def test_boxes_have_the_colour_of_what_became_of_them(tmp_path: Path) -> None:
    beside = np.array([[700, 400, 800, 500]], np.float32)
    drawn = pictures.draw(photo(tmp_path, "a.jpg"), detections(np.concatenate([BOXES[:2], beside]), [0, 0, 1]), NAMES)
    colours = [outline(drawn, box) for box in (*BOXES, beside[0])]
    assert colours == [pictures.RIGHT, pictures.WRONG_NAME, pictures.MISSED, pictures.NO_PRODUCT]
    assert drawn.shape[0] == 800 and drawn.shape[1] > 1200, "a margin lists the names"


def test_a_photo_is_counted_as_the_report_counts_it(tmp_path: Path) -> None:
    ignored = np.array([[500, 0, 1000, 800]], np.float32)
    one = replace(photo(tmp_path, "a.jpg"), boxes=BOXES[:1], labels=np.array([0]), annotation_ids=np.arange(1), ignored=ignored)
    places = [[100, 100, 200, 200], [100, 110, 200, 205], [600, 100, 700, 200], [700, 100, 800, 200]]
    shown = Detections(np.array(places, np.float32), np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.zeros(4, np.int64))
    counts = verdicts(Truth.of(one), shown).counts
    assert list(counts.values()) == [1, 0, 0, 1]  # right, wrong name, missed, invented: the second box on one product
    assert pictures.judged(one, shown, 0.2).counts == counts and pictures.mistakes(one, shown) == 1
    drawn = pictures.draw(one, shown, NAMES)
    assert [outline(drawn, np.array(box)) for box in places[1:]] == [pictures.NO_PRODUCT, (0, 0, 0), (0, 0, 0)]


def test_a_box_below_the_least_score_is_drawn_as_missed(tmp_path: Path) -> None:
    weak = Detections(BOXES, np.array([0.9, 0.9, pictures.SHOWN / 2], np.float32), np.array([0, 1, 2]))
    drawn = pictures.draw(photo(tmp_path, "a.jpg"), weak, NAMES)
    assert [outline(drawn, box) for box in BOXES] == [pictures.RIGHT, pictures.RIGHT, pictures.MISSED]


def test_the_least_score_is_the_one_that_is_given(tmp_path: Path) -> None:
    weak = Detections(BOXES, np.array([0.9, 0.5, 0.05], np.float32), np.array([0, 1, 2]))
    one = photo(tmp_path, "a.jpg")
    assert [pictures.mistakes(one, weak, floor) for floor in (0.04, 0.3, 0.6)] == [0, 1 / 3, 2 / 3]
    drawn = pictures.draw(one, weak, NAMES, 0.04)
    assert [outline(drawn, box) for box in BOXES] == [pictures.RIGHT] * 3
    (path,) = pictures.write_worst([one], [weak], NAMES, tmp_path / "out", 0.6)
    written = np.asarray(Image.open(path))
    assert [outline(written, box) for box in BOXES] == [pictures.RIGHT, pictures.MISSED, pictures.MISSED]


def test_the_worst_photo_is_the_first_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "07_old.png").touch()
    two = [photo(tmp_path, "good.jpg"), photo(tmp_path, "bad.jpg")]
    right, wrong = detections(BOXES, [0, 1, 2]), detections(BOXES, [1, 1, 1])
    paths = pictures.write_worst(two, [right, wrong], NAMES, tmp_path / "out")
    assert [path.name for path in paths] == ["01_bad.png", "02_good.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["01_bad.png", "02_good.png"]
