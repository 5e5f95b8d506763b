"""What a person looks at: the most doubtful photo first, and the very pixels of a proposal."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from photos.data import Photo
from recognition.inputs import Input
from recognition.tables import Products
from reviewing import doubts, labelling
from reviewing.labelling import Guess, Labelling, doubt_of
from reviewing.recognised import Recognised

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
GREY = 128


@pytest.fixture
def asis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops are not enlarged, so that they can be held against the photo's pixels."""
    monkeypatch.setattr(doubts, "fitted", lambda image, side: image)


def test_no_photos_have_no_order(tmp_path: Path) -> None:
    assert Labelling([], Products([7], ["Te"]), 0.3, tmp_path).queue() == []


def test_the_most_doubtful_photo_comes_first_and_what_is_confirmed_last(tmp_path: Path) -> None:
    photos = [Input(tmp_path / f"{name}.jpg", f"{name}.jpg", False) for name in "abcdef"]
    for photo in photos:
        cv2.imwrite(str(photo.path), IMAGE)
    made = Labelling(photos, Products([7], ["Te"]), 0.3, tmp_path / "out")
    for photo, doubt in zip(photos, (0.95, 0.1, 0.9, 0.1, 0.0, 0.0), strict=True):
        made.guesses[photo.name] = Guess((64, 64), [], doubt)
    made.guesses["e.jpg"] = Guess(problem="cut off")
    made.confirm("a.jpg", [])
    assert [row["name"] for row in made.queue()] == [f"{name}.jpg" for name in "cbdfea"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(cv2.error("imdecode: a side\nis too long"), "imdecode: a side is too long", id="OpenCV's own"),
        pytest.param(RuntimeError("onnxruntime: no memory"), "onnxruntime: no memory", id="onnxruntime's own"),
        pytest.param(MemoryError(), "MemoryError", id="without a word"),
    ],
)
def test_a_photo_that_cannot_be_predicted_costs_only_itself(tmp_path: Path, error: Exception, told: str) -> None:
    photos = [Input(tmp_path / f"{name}.jpg", f"{name}.jpg", False) for name in "ab"]
    made = Labelling(photos, Products([7], ["Te"]), 0.3, tmp_path / "out")

    def recognise(photo: Input) -> Recognised:
        if photo.name == "a.jpg":
            raise error
        return Recognised(photo.name, b"", b"", (64, 64), [])

    made.predict(recognise, lambda: False)
    assert {name: (guess.size, guess.problem) for name, guess in made.guesses.items()} == {
        "a.jpg": ((0, 0), told),
        "b.jpg": ((64, 64), ""),
    }


@pytest.mark.parametrize(
    ("score", "sure", "doubt"),
    [
        pytest.param(0.9, 0.2, 0.8, id="far above the floor and of unsure name"),
        pytest.param(0.9, 1.0, 1 / 3, id="far above the floor and of sure name"),
        pytest.param(0.3, 1.0, 1.0, id="on the floor"),
        pytest.param(0.1, 0.2, 1 / 3, id="below the floor: the name does not matter"),
        pytest.param(0.0, 0.2, 0.0, id="of score 0"),
    ],
)
def test_a_box_is_as_doubtful_as_its_name_or_its_nearness_to_the_floor(score: float, sure: float, doubt: float) -> None:
    assert doubt_of(score, 0.3, sure) == pytest.approx(doubt)


def test_without_a_floor_only_the_name_is_doubtful() -> None:
    assert doubt_of(0.01, 0.0, 0.2) == pytest.approx(0.8)
    assert labelling.photo_doubt([]) == 1.0


@pytest.mark.usefixtures("asis")
def test_a_window_within_the_photo_is_its_pixels() -> None:
    np.testing.assert_array_equal(doubts.cut(IMAGE, (10, 20, 8)), IMAGE[20:28, 10:18])


@pytest.mark.usefixtures("asis")
@pytest.mark.parametrize(
    ("square", "place", "part"),
    [
        pytest.param((-3, 0, 8), np.s_[:, 3:], IMAGE[:8, :5], id="left"),
        pytest.param((0, -3, 8), np.s_[3:, :], IMAGE[:5, :8], id="above"),
        pytest.param((55, 0, 8), np.s_[:, :5], IMAGE[:8, 55:], id="right"),
        pytest.param((0, 35, 8), np.s_[:5, :], IMAGE[35:, :8], id="below"),
    ],
)
def test_a_window_beyond_the_photo_is_grey_there(
    square: tuple[int, int, int], place: tuple[slice, slice], part: np.ndarray
) -> None:
    expected = np.full((8, 8, 3), GREY, np.uint8)
    expected[place] = part
    np.testing.assert_array_equal(doubts.cut(IMAGE, square), expected)


def test_an_example_is_the_photos_pixels_under_its_box(monkeypatch: pytest.MonkeyPatch) -> None:
    box = np.array([[10, 20, 25, 28]], np.float32)
    photo = Photo(1, Path("a.jpg"), 60, 40, box, np.zeros(1, np.int64), np.arange(1), None)
    monkeypatch.setattr(doubts, "pixels", lambda photo: IMAGE)
    desk = SimpleNamespace(proposals=[{"annotation_id": 9}], number={5: 0}, examples=lambda category, without: [(photo, 0)])
    np.testing.assert_array_equal(doubts.Doubts.example(desk, 5, 7, 0), IMAGE[20:28, 10:25])
