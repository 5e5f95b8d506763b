"""What of reviewed proposals is applied and what is refused: sets in several files, boxes that reach out of their photos."""

import json
from pathlib import Path
from typing import Any

import pytest
from place import Place

from photos.data import read
from stage2_classifier.label_review import review
from stage2_classifier.label_review.review import proposal
from stage2_classifier.label_review.suspicions import Suspicion

TEA, COFFEE = "tea", "coffee"
Rows = list[dict[str, Any]]


def apply(place: Place, rows: Rows) -> int:
    path = place.root / "reviewed.json"
    path.write_text(json.dumps([row | {"apply": True} for row in rows]))
    return review.main(["--data", str(place.data), "--apply", str(path), "--out", str(place.root / "copy")])


def split(place: Place, valid: dict[int, str]) -> None:
    """The set as train.json, where 1 is tea and 2 coffee, and valid.json with the categories `valid`; two boxes a photo."""
    whole = json.loads((place.data / "annotations.json").read_text())
    (place.data / "annotations.json").unlink()
    parts = {"train": (whole["images"][:6], {1: TEA, 2: COFFEE}), "valid": (whole["images"][6:], valid)}
    for part, (images, names) in parts.items():
        number = {name: i for i, name in names.items()}
        own = [a for a in whole["annotations"] if a["image_id"] in {image["id"] for image in images}]
        for a in own:
            a["category_id"] = number[TEA if a["id"] % 2 else COFFEE]
        categories = [{"id": i, "name": name} for i, name in names.items()]
        content = {"images": images, "annotations": own, "categories": categories}
        (place.data / f"{part}.json").write_text(json.dumps(content))


def doubts(place: Place, name: str) -> dict[str, dict[str, Any]]:
    """A missing box called `name` and another name for the first box, both on the last photo."""
    dataset = read(place.data)
    photo, label = dataset.photos[-1], [category.name for category in dataset.categories].index(name)
    rows = {
        "missing": Suspicion("missing", 0, None, photo.boxes[0] + 2, label, 0.9, "{then}"),
        "mislabelled": Suspicion("mislabelled", 0, 0, photo.boxes[0], label, 0.9, "{then}"),
    }
    return {kind: proposal(1, doubt, photo, dataset) for kind, doubt in rows.items()}


def names_in_the_copy(place: Place) -> list[str]:
    copy = read(place.root / "copy")
    return [copy.categories[label].name for label in copy.photos[-1].labels]


@pytest.mark.parametrize("kind", ["missing", "mislabelled"])
@pytest.mark.parametrize(
    "valid", [pytest.param({1: COFFEE, 2: TEA}, id="swapped"), pytest.param({1: COFFEE, 7: TEA}, id="one of another id")]
)
def test_ids_that_mean_other_names_in_one_file_are_refused(
    place: Place, capsys: pytest.CaptureFixture[str], valid: dict[int, str], kind: str
) -> None:
    """Proposals hold the ids of the merged set: written into valid.json as they are, tea would be coffee there."""
    split(place, valid)
    assert apply(place, [doubts(place, TEA)[kind]]) == 2
    error = capsys.readouterr().err
    assert "labels: the category ids in train.json, valid.json were changed in reading" in error and "--to coco COPY" in error
    assert not (place.root / "copy").exists()


@pytest.mark.parametrize("kind", ["missing", "mislabelled"])
def test_files_that_agree_are_changed(place: Place, kind: str) -> None:
    split(place, {1: TEA, 2: COFFEE})
    before = read(place.data)
    assert apply(place, [doubts(place, TEA)[kind]]) == 0
    old = [before.categories[label].name for label in before.photos[-1].labels]
    assert names_in_the_copy(place) == ([*old, TEA] if kind == "missing" else [TEA, *old[1:]])


def test_files_that_are_only_called_like_a_part_go_along(place: Place) -> None:
    """The reader passes over them too."""
    split(place, {1: TEA, 2: COFFEE})
    (place.data / "test_results.json").write_text('{"map50": 0.8}')
    assert apply(place, [doubts(place, TEA)["missing"]]) == 0
    assert (place.root / "copy" / "test_results.json").read_text() == '{"map50": 0.8}'
    assert names_in_the_copy(place)[-1] == TEA


def test_categories_that_not_every_file_lists_do_not_hinder(place: Place) -> None:
    split(place, {1: TEA, 2: COFFEE, 3: "milk"})
    assert "taken together" in " ".join(read(place.data).notes)
    assert apply(place, [doubts(place, "milk")["missing"]]) == 0
    assert names_in_the_copy(place)[-1] == "milk"


# -- boxes that reach out of their photos --------------------------------------------------------------------------------


@pytest.fixture
def clipped(place: Place) -> Path:
    """The first boxes of the first two photos reach out of them, one further than the other."""
    boxes = ([-8, 8, 30, 40], [-5, 8, 30, 40])
    place.change(lambda v: [v["annotations"][2 * k].update(bbox=box) for k, box in enumerate(boxes)])
    assert "up to 8.0 px out of their photos, clipped: 2" in " ".join(read(place.data).notes)
    return place.data


def first_box(place: Place, photo: int, box: list[float] | None) -> dict[str, Any]:
    """A proposal about the first box of a photo, as the command makes them: with the clipped one as it is now."""
    dataset = read(place.data)
    own = dataset.photos[photo]
    doubt = Suspicion("duplicate", 0, 0, None, None, 0.9, "")
    row = proposal(photo + 1, doubt, own, dataset)
    return row if box is None else row | {"kind": "shifted", "proposed": row["current"] | {"bbox": box}}


@pytest.mark.parametrize("photo", [pytest.param(0, id="the further"), pytest.param(1, id="the other")])
@pytest.mark.parametrize("box", [pytest.param([1.0, 9.0, 20.0, 38.0], id="mended"), pytest.param(None, id="deleted")])
def test_one_of_two_clipped_boxes(place: Place, clipped: Path, photo: int, box: list[float] | None) -> None:
    """The note on the rest is another text then, and nothing new."""
    assert apply(place, [first_box(place, photo, box)]) == 0
    assert "out of their photos, clipped: 1" in " ".join(read(place.root / "copy").notes)
    assert len(read(place.root / "copy").photos[photo].boxes) == 2 - (box is None)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([-7.0, 9.0, 20.0, 38.0], "bbox [-7.0, 9.0, 20.0, 38.0] reaches 7.0 px out of its photo, 96 x 64 pixels; mend it"),
        ([90.0, 9.0, 20.0, 38.0], "reaches 14.0 px out of its photo"),
        ([90.0, 9.0, 0.0, 38.0], "has no area there"),
        ([96.0, 9.0, 0.5, 38.0], "has no area there"),
    ],
)
def test_a_box_that_reading_would_cut_or_drop_is_refused(
    place: Place, clipped: Path, capsys: pytest.CaptureFixture[str], box: list[float], message: str
) -> None:
    """In a set too where others are cut already."""
    assert apply(place, [first_box(place, 0, box)]) == 2
    error = capsys.readouterr().err
    assert "proposal 1: proposed: " in error and message in error and error.count("\n") == 1
    assert not (place.root / "copy").exists()
