"""Which labels are doubted and how surely, the command's files, and what applying does to a copy and never to the set."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_grid import GRID, grid_evidence
from PIL import Image
from place import Place

from photos.data import read
from runs import record
from stage2_classifier.label_review import review
from stage2_classifier.label_review.contact_sheet import COLUMNS, ROWS, SIDE, Cell, picture, shortened, write
from stage2_classifier.label_review.suspicions import Suspicion

# -- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ranked(place: Place) -> list[dict]:
    """What the command writes for the test part of the place of mistakes, whose classifier always says the third name."""
    words = ["--data", str(place.data), "--runs", str(place.runs), "--part", "test", "--out", str(place.root / "labels")]
    before = place.files()
    assert review.main(words) == 0
    assert {file: place.files()[file] for file in before} == before
    return json.loads((place.root / "labels" / "proposals.json").read_text())


def test_the_list_is_complete_sorted_and_applies_nothing(place: Place, ranked: list[dict]) -> None:
    keys = ["id", "kind", "image_id", "file_name", "annotation_id", "current", "proposed", "score", "why", "apply"]
    assert ranked and all(list(row) == keys for row in ranked)
    assert [row["score"] for row in ranked] == sorted((row["score"] for row in ranked), reverse=True)
    assert not any(row["apply"] for row in ranked)
    truth = {a["id"]: a for a in json.loads((place.data / "annotations.json").read_text())["annotations"]}
    for row in (row for row in ranked if row["annotation_id"] is not None):
        assert row["current"] == {key: truth[row["annotation_id"]][key] for key in ("bbox", "category_id")}
    named = [row for row in ranked if row["kind"] == "mislabelled" and row["current"]["category_id"] != 40]
    assert {row["proposed"]["category_id"] for row in named} == {40}
    with Image.open(place.root / "labels" / "contact_sheet.png") as sheet:
        assert sheet.width > COLUMNS * SIDE


def test_reviewed_proposals_are_not_overwritten(place: Place, ranked: list[dict], capsys: pytest.CaptureFixture[str]) -> None:
    path = place.root / "reviewed" / "proposals.json"
    path.parent.mkdir()
    path.write_text(json.dumps([ranked[0] | {"apply": True}, *ranked[1:]]))
    before = path.read_text()
    assert review.main(["--data", str(place.data), "--runs", str(place.runs), "--out", str(path.parent)]) == 2
    assert "holds reviewed proposals; apply them, or pass another --out" in capsys.readouterr().err
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("apply", "about", "code"),
    [
        pytest.param(True, None, 2, id="accepted"),
        pytest.param(False, None, 0, id="all rejected"),
        pytest.param(True, "another list", 0, id="of another list"),
        pytest.param(True, "", 0, id="a first line that was cut off"),
    ],
)
def test_a_list_that_was_decided_about_in_the_browser_is_kept_until_that_is_applied(
    place: Place, ranked: list[dict], capsys: pytest.CaptureFixture[str], apply: bool, about: str | None, code: int
) -> None:
    """The decisions fit no other list: the page refuses them, and moving them away would lose them."""
    path, folder = place.root / "labels" / "proposals.json", place.runs / "review"
    folder.mkdir()
    first = json.dumps({"about": {"proposals": record.digest(ranked) if about is None else about}})
    (folder / "decisions.jsonl").write_text(first[:5] if about == "" else first + '\n{"id": 1, "action": "accept"}\n')
    (folder / "proposals.json").write_text(json.dumps([ranked[0] | {"apply": apply}, *ranked[1:]]))
    before = path.read_text()
    words = ["--data", str(place.data), "--runs", str(place.runs), "--part", "test", "--out", str(path.parent)]
    assert review.main([*words, "--top", "1"]) == code
    error = capsys.readouterr().err
    assert ("--apply" in error and "review/proposals.json --out COPY, then move" in error) == bool(code)
    assert (path.read_text() == before) == bool(code)


def test_top_cuts_the_list_and_all_parts_are_warned_of(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(place.data), "--runs", str(place.runs), "--part", "all", "--top", "3"]
    assert review.main(words) == 0
    assert "of 10 photos were trained on" in capsys.readouterr().out
    assert len(json.loads((place.runs / "labels" / "proposals.json").read_text())) == 3


def test_names_are_read_once_and_kept(place: Place, ranked: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a model was loaded again")

    monkeypatch.setattr(review, "Pipeline", never)
    words = ["--data", str(place.data), "--runs", str(place.runs), "--part", "test", "--out", str(place.root / "labels")]
    assert review.main(words) == 0
    assert json.loads((place.root / "labels" / "proposals.json").read_text()) == ranked


# -- applying ------------------------------------------------------------------------------------------------------------


def proposals(place: Place) -> list[dict]:
    """One reviewed proposal of each kind about the first photos, and one that was not agreed to."""
    mine = json.loads((place.data / "annotations.json").read_text())["annotations"]
    current = [{"bbox": a["bbox"], "category_id": a["category_id"]} for a in mine]
    new = [{"bbox": b, "category_id": 40} for b in (mine[0]["bbox"], [12.0, 9.0, 30.0, 40.0], [1.0, 1.0, 8.0, 6.0])]
    about = [(mine[0], current[0], new[0]), (mine[1], current[1], new[1]), (None, None, new[2]), (mine[3], current[3], None)]
    rows = [
        {"id": k, "kind": kind, "image_id": (a or mine[0])["image_id"], "annotation_id": a and a["id"], "current": now,
         "proposed": then, "apply": True}
        for k, (kind, (a, now, then)) in enumerate(zip(("mislabelled", "shifted", "missing", "duplicate"), about, strict=True))
    ]  # fmt: skip
    refused = {"id": 9, "kind": "duplicate", "image_id": mine[5]["image_id"], "annotation_id": mine[5]["id"]}
    return [*rows, refused | {"current": current[5], "proposed": None, "apply": False}]


def apply(place: Place, rows: object) -> int:
    (place.root / "reviewed.json").write_text(json.dumps(rows))
    return review.main(
        ["--data", str(place.data), "--apply", str(place.root / "reviewed.json"), "--out", str(place.root / "copy")]
    )


def test_what_was_agreed_to_is_in_the_copy_and_nothing_in_the_set(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = place.files()
    old = json.loads((place.data / "annotations.json").read_text())
    assert apply(place, proposals(place)) == 0
    assert "4 proposals applied (1 mislabelled, 1 shifted, 1 missing, 1 duplicate)" in capsys.readouterr().out
    assert {file: place.files()[file] for file in before} == before
    new = json.loads((place.root / "copy" / "annotations.json").read_text())
    assert new["annotations"][0] == old["annotations"][0] | {"category_id": 40}
    assert new["annotations"][1] == old["annotations"][1] | {"category_id": 40, "bbox": [12.0, 9.0, 30.0, 40.0], "area": 1200.0}
    assert old["annotations"][3]["id"] not in {a["id"] for a in new["annotations"]}
    assert new["annotations"][-1]["id"] == 1 + max(a["id"] for a in old["annotations"])
    assert new["annotations"][3:-1] == old["annotations"][4:]
    assert len(read(place.root / "copy").photos) == len(read(place.data).photos)
    assert (place.root / "copy" / "images").is_symlink()


def test_a_copy_is_written_whole_or_not_at_all(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, copy = proposals(place), place.root / "copy"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(record, "write_json", killed)
        assert apply(place, path) == 130
    assert not copy.exists() and not copy.with_name("copy.part").exists()
    copy.with_name("copy.part").mkdir()  # as kill -9 leaves it
    capsys.readouterr()
    assert apply(place, path) == 2 and "copy.part: left by a call that was stopped" in capsys.readouterr().err
    copy.with_name("copy.part").rmdir()
    copy.mkdir()  # an empty folder is taken
    assert apply(place, path) == 0 and (copy / "annotations.json").is_file()


def without_sizes(content: dict) -> None:
    for image in content["images"]:
        del image["width"], image["height"]


def with_text(content: dict) -> None:
    """Every id as text, and every size."""
    keys = ("id", "image_id", "category_id", "width", "height")
    for row in (row for kind in ("images", "annotations", "categories") for row in content[kind]):
        row.update({key: str(row[key]) for key in keys if key in row})


@pytest.mark.parametrize("change", [without_sizes, with_text])
def test_a_set_whose_records_the_reader_completes(place: Place, change: Callable[[dict], None]) -> None:
    rows = proposals(place)
    place.change(change)
    assert apply(place, rows) == 0
    old, new = read(place.data), read(place.root / "copy")
    assert new.categories == old.categories and len(new.photos) == len(old.photos)
    assert new.photos[0].boxes[:2].tolist() == [[10.0, 8.0, 40.0, 48.0], [12.0, 9.0, 42.0, 49.0]]
    assert [new.categories[label].id for label in new.photos[0].labels] == [40, 40, 40]
    assert new.photos[0].annotation_ids[2] == 1 + max(photo.annotation_ids.max() for photo in old.photos)
    assert len(new.photos[1].boxes) == len(old.photos[1].boxes) - 1


def spoilt(change: Callable[[list[dict]], object]) -> Callable[[Place], object]:
    def make(place: Place) -> object:
        rows = proposals(place)
        other = change(rows)
        return rows if other is None else other

    return make


MISTAKES: dict[str, tuple[Callable[[Place], object], str]] = {
    "no list": (spoilt(lambda rows: {"a": 1}), "got dict, need a list of objects"),
    "no id": (spoilt(lambda rows: [{"id": 3}]), "proposal 3: no kind, image_id"),
    "kind": (spoilt(lambda rows: rows[0].update(kind="wrong")), "got kind 'wrong'"),
    "apply is a word": (spoilt(lambda rows: rows[0].update(apply="yes")), "apply 'yes'"),
    "photo of another set": (spoilt(lambda rows: rows[0].update(image_id=77)), "image_id 77 is not in the data set"),
    "box of another set": (spoilt(lambda rows: rows[0].update(annotation_id=777)), "has no annotation 777"),
    "box of another photo": (spoilt(lambda rows: rows[0].update(image_id=5)), "image 5 has no annotation"),
    "changed since": (spoilt(lambda rows: rows[0]["current"].update(bbox=[1, 2, 3, 4])), "rank again"),
    "renamed since": (spoilt(lambda rows: rows[0]["current"].update(category_id=40)), "rank again"),
    "twice": (spoilt(lambda rows: rows.append(rows[0])), "2 proposals with apply true, need at most 1"),
    "nothing to add": (spoilt(lambda rows: rows[2].update(proposed=None)), "proposed: got None, need an object with bbox"),
    "a box of words": (spoilt(lambda rows: rows[0]["proposed"].update(bbox="all")), "need an object with bbox"),
    "outside the photo": (spoilt(lambda rows: rows[2]["proposed"].update(bbox=[0, 0, 500, 9])), "404.0 px out of its photo"),
    "no such name": (spoilt(lambda rows: rows[2]["proposed"].update(category_id=8)), "category_id 8: no category has this id"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_file_that_does_not_fit_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], make: Callable[[Place], object], message: str
) -> None:
    assert apply(place, make(place)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (place.root / "copy").exists()


def test_a_copy_never_overwrites_and_is_never_inside_the_set(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.root / "reviewed.json").write_text("[]")
    words = ["--data", str(place.data), "--apply", str(place.root / "reviewed.json"), "--out"]
    for out, message in (
        (place.runs, "is not empty"),
        (place.data, "is not empty"),
        (place.root / "a.zip", "is a file"),
        (place.data / "copy", "is inside the data set"),
    ):
        assert review.main([*words, str(out)]) == 2
        assert message in capsys.readouterr().err
    assert review.main(words[:-1]) == 2
    assert "needs --out COPY" in capsys.readouterr().err
    assert review.main([*words[:3], str(place.root / "none.json"), "--out", str(place.root / "copy")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_what_ranking_needs_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, message in (
        ([], "--runs is missing, the run folder"),
        (["--runs", str(place.runs), "--top", "0"], "--top: got 0, need 1 or more"),
        (
            ["--runs", str(place.runs), "--classifier", "classifier_studio"],
            "classifier_studio/model.onnx not found: train it first",
        ),
        (["--runs", str(place.root / "none")], "folds.json not found"),
        (["--runs", str(place.runs), "--out", str(place.root / "a.zip")], "which is a file"),
    ):
        assert review.main(["--data", str(place.data), *flags]) == 2
        assert message in capsys.readouterr().err


# -- pictures ------------------------------------------------------------------------------------------------------------


def test_pages_hold_all_cells_and_the_colours_mark_both_boxes(tmp_path: Path) -> None:
    assert write([], tmp_path) == []
    Image.new("RGB", (80, 60), "black").save(tmp_path / "a.jpg", quality=95)
    photo = replace(grid_evidence().photo, path=tmp_path / "a.jpg", boxes=GRID[:0])
    cells = [Cell(photo, GRID[5], GRID[5] + 4, ("1 shifted", "now: blåbærsyltetøy", "then: x"))] * (COLUMNS * ROWS + 1)
    assert [path.name for path in write(cells, tmp_path)] == ["contact_sheet.png", "contact_sheet_02.png"]
    pixels = np.asarray(picture(cells[0])).reshape(-1, 3).tolist()
    assert [230, 30, 30] in pixels and [30, 200, 60] in pixels


def test_long_names_are_cut_to_the_picture() -> None:
    class Font:
        def getlength(self, text: str) -> float:
            return 10.0 * len(text)

    assert shortened("short", Font()) == "short"
    assert shortened("x" * 100, Font()) == "x" * 19 + "..."


def test_names_with_braces_and_empty_names_are_told(place: Place) -> None:
    place.change(lambda v: [c.update(name="{now} {x}" if c["id"] == 7 else "") for c in v["categories"]])
    dataset = read(place.data)
    photo = dataset.photos[0]
    doubt = Suspicion("mislabelled", 0, 0, photo.boxes[0], 2, 0.5, "{now} or {then}")
    told = review.proposal(1, doubt, photo, dataset)["why"]
    assert told == "{now} {x} or category 40"
