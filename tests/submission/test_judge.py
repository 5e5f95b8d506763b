"""`hylle judge` joins predictions to photos by file: whatever their ids, folders and names, the score is that of the photos."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from place import IDS, Place

from fusion.boxes import xyxy_to_xywh
from fusion.reading import find_photos
from photos import folds
from photos.data import Dataset, read
from submission import judge, judge_machine, sandbox
from submission.outcome import Outcome
from submission.own_ids import with_own_ids


def perfect_rows(dataset: Dataset) -> dict[bytes, list[dict]]:
    """The annotations of each photo as predictions, by the photo's bytes."""
    ids = [category.id for category in dataset.categories]
    return {
        photo.path.read_bytes(): [
            {"category_id": ids[label], "bbox": xyxy_to_xywh(box[None])[0].tolist(), "score": 0.5}
            for box, label in zip(photo.boxes, photo.labels, strict=True)
        ]
        for photo in dataset.photos
    }


@pytest.fixture
def judged(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[judge.Judgement, list[dict]]]:
    """Judges all photos of the set with a run.py that knows each photo by its bytes, and finds photos as ours does."""

    def call() -> tuple[judge.Judgement, list[dict]]:
        dataset = read(place.data)
        by_bytes = perfect_rows(dataset)

        def execute(_: Path, images: Path, output: Path, machine: object) -> Outcome:
            photos = find_photos(images).items()
            rows = [{"image_id": i} | row for i, path in photos for row in by_bytes[path.read_bytes()]]
            output.write_text(json.dumps(rows))
            return Outcome(predictions=len(rows), photos=len(photos))

        here = [{"image_id": p.id} | row | {"score": 0.75} for p in dataset.photos for row in by_bytes[p.path.read_bytes()]]
        monkeypatch.setattr(sandbox, "execute", execute)
        monkeypatch.setattr(judge_machine, "judge_python", lambda: Path("python"))
        monkeypatch.setattr(judge, "predict_here", lambda *_: here)
        output = place.runs / "predictions.json"
        judgement = judge.judge(place.root / "a.zip", dataset.photos, dataset.categories, output)
        return judgement, json.loads(output.read_text())

    return call


def permute_ids(values: dict) -> None:
    """Every photo keeps its boxes and gets the id of another one."""
    ids = [image["id"] for image in values["images"]]
    other = dict(zip(ids, np.roll(ids, 3).tolist(), strict=True))
    for image in values["images"]:
        image["id"] = other[image["id"]]
    for annotation in values["annotations"]:
        annotation["image_id"] = other[annotation["image_id"]]


def rename(place: Place, names: list[str]) -> Callable[[dict], None]:
    """The first photos of the set get other names, on the disk too."""

    def change(values: dict) -> None:
        for image, name in zip(values["images"], names, strict=False):
            path = place.data / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (place.data / "images" / image["file_name"]).rename(path)
            image["file_name"] = name

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda place: lambda values: None, [], id="ids as the names say"),
        pytest.param(lambda place: permute_ids, ["10 of 10 photos would get another image id"], id="ids permuted"),
        pytest.param(
            lambda place: rename(place, ["a/7001.jpg", "b/7001.jpg"]),
            ["1 of 10 photos would be skipped, their number came before (b/7001.jpg: 7001 as a/7001.jpg)"],
            id="one base name in two folders",
        ),
        pytest.param(
            lambda place: rename(place, ["oslo.jpg", "fjord æ.JPG"]),
            ["2 of 10 photos would be skipped, no number in their name"],
            id="names without a number",
        ),
    ],
)
def test_the_score_is_that_of_the_photos(
    place: Place,
    judged: Callable,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Place], Callable[[dict], None]],
    said: list[str],
) -> None:
    place.change(change(place))
    judgement, rows = judged()
    assert judgement.scores.score == pytest.approx(1)
    assert (judgement.boxes_px, judgement.score_difference) == (0, 0.25)  # scores here are 0.75, there 0.5
    of_photo = {photo.id: len(photo.boxes) for photo in read(place.data).photos}
    assert {i: sum(row["image_id"] == i for row in rows) for i in of_photo} == of_photo
    out = capsys.readouterr().out
    assert all(line in out for line in said)
    assert ("judge's ids" in out) == bool(said)


def test_photos_without_predictions_are_told(
    place: Place, judged: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judge, "with_own_ids", lambda rows, own: [r for r in with_own_ids(rows, own) if r["image_id"] > 2])
    names = [photo.name for photo in read(place.data).photos if photo.id <= 2]
    judged()
    assert f"judge: no predictions on {len(names)} of 10 photos: {', '.join(names)}\n" in capsys.readouterr().out


def test_what_is_doubtful_about_a_run_is_told(
    judged: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    executed = judge.execute
    monkeypatch.setattr(judge, "execute", lambda *given: replace(executed(*given), warnings=["boxes are small"]))
    judged()
    assert "judge: warning: boxes are small\n" in capsys.readouterr().out


def test_an_id_that_is_another_product_in_the_zip_is_told(
    judged: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after enrolling, where the data set gets a product of its own under the same id."""
    read_there = judge.read_object
    names = {"categories": IDS, "names": ["product 3", " PRODUCT 7", "mint"]}
    monkeypatch.setattr(judge, "read_object", lambda path: read_there(path) | names)
    judged()
    line = (
        "judge: warning: under 1 id the zip has another name than the data set, scored as the same: 40 ('mint', 'product 40')"
    )
    assert line in capsys.readouterr().out


def test_a_run_that_fails_leaves_the_old_predictions(place: Place, judged: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    judged()
    before = (place.runs / "predictions.json").read_bytes()
    monkeypatch.setattr(sandbox, "execute", lambda *_: Outcome(problems=["exit code 1"]))
    photos = read(place.data).photos
    with pytest.raises(ValueError, match="exit code 1"):
        judge.execute(place.root / "a.zip", photos, place.runs / "predictions.json")
    assert (place.runs / "predictions.json").read_bytes() == before
    assert not list(place.runs.glob("*.part"))


def test_folds_say_what_the_judge_would_do_to_the_ids(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.change(permute_ids)
    folds.split(read(place.data), place.root / "new", groups="photo")
    assert "judge's ids: 10 of 10 photos would get another image id (img_00001.jpg: 1 for 8" in capsys.readouterr().out


ROW = {"image_id": 1, "category_id": 7, "bbox": [10.0, 5.0, 30.0, 20.0], "score": 0.5}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        pytest.param({}, (0.0, 0.0), id="the same"),
        pytest.param({"score": 0.75}, (0.0, 0.25), id="a higher score"),
        pytest.param({"score": 0.25}, (0.0, 0.25), id="a lower score"),
        pytest.param({"bbox": [10.0, 5.5, 30.0, 20.0]}, (0.5, 0.0), id="a box further down"),
        pytest.param({"bbox": [10.0, 4.5, 30.0, 20.0]}, (0.5, 0.0), id="a box further up"),
        pytest.param({"category_id": 3}, (np.inf, np.inf), id="another category"),
        pytest.param({"image_id": 2}, (np.inf, np.inf), id="another photo"),
    ],
)
def test_a_run_there_is_held_against_the_pipeline_here(change: dict, difference: tuple[float, float]) -> None:
    other = {"image_id": 0, "category_id": 3, "bbox": [0.0, 0.0, 1.0, 1.0], "score": 0.1}
    assert judge.parity([ROW, other], [other, ROW | change]) == difference  # run.py predicts large files first


@pytest.mark.parametrize(("a", "b", "difference"), [([], [], 0.0), ([ROW], [], np.inf)], ids=["none", "one too many"])
def test_a_run_there_of_other_predictions_is_no_match(a: list, b: list, difference: float) -> None:
    assert judge.parity(a, b) == (difference, difference)
