"""Bars of the separate commands are shown with the labels that they are of, and not with others; the top tells of others."""

from pathlib import Path

import pytest
from markupsafe import escape
from place import IDS, Place

from experiments import ablation
from fusion.models import read_object
from hylle import report
from photos import folds, trained_names
from photos.data import read
from reporting.figures import Ablation, ablation_of
from reporting.held_out import gather_held_out
from runs import record


def shown(place: Place) -> Ablation:
    """The bars that a report shows now."""
    return ablation_of(gather_held_out(place.runs, folds.load(place.runs / folds.NAME, read(place.data))))


def renamed(place: Place, part: str) -> None:
    """Gives a box of this part another product's name."""
    photo = folds.load(place.runs / folds.NAME, read(place.data)).photos(part)[0].id

    def change(values: dict) -> None:
        row = next(row for row in values["annotations"] if row["image_id"] == photo)
        row["category_id"] = next(i for i in IDS if i != row["category_id"])

    place.change(change)


def without_labels(path: Path) -> None:
    """The file as an earlier version wrote it."""
    record.write_json(path, {name: value for name, value in read_object(path).items() if name != "labels"})


@pytest.mark.parametrize(("part", "shows"), [("train", True), ("valid", False)])
def test_policies_of_the_gate(copied: Place, part: str, shows: bool) -> None:
    assert shown(copied).rows
    renamed(copied, part)
    now = shown(copied)
    assert bool(now.rows) == shows
    assert ("the labels changed since the gate was fitted; fit it again" in now.absent) == (not shows)
    without_labels(copied.runs / "gate.json")
    now = shown(copied)
    assert now.rows and any(line.startswith("gate.json does not record its labels") for line in now.absent)


@pytest.mark.parametrize(("part", "shows"), [("train", True), ("test", False)])
def test_variants_of_the_ablation(copied: Place, part: str, shows: bool) -> None:
    ablation.ablation(copied.data, copied.runs, [], False)
    before = shown(copied)
    assert before.setting.startswith("photos of the part test") and not before.absent
    renamed(copied, part)
    now = shown(copied)
    assert now.setting.startswith("photos of the part test") == shows
    assert ("ablation.json is left out: it was measured before the labels changed" in now.absent) == (not shows)
    without_labels(copied.runs / "ablation.json")
    assert shown(copied).absent[0].startswith("ablation.json does not record its labels")


@pytest.mark.parametrize(("part", "tells"), [("train", False), ("valid", True), ("test", False)])
def test_the_top_of_the_page_and_the_terminal_tell_of_labels_that_changed_since(
    copied: Place, capsys: pytest.CaptureFixture[str], part: str, tells: bool
) -> None:
    """Those that the gate was fitted on; a page of the test part is of its labels of now."""
    told = "The labels of the part valid changed since the gate was fitted: here the boxes and names of now are counted"
    for then in (False, tells):
        assert report.main([str(copied.runs)]) == 0
        head = (copied.runs / "report.html").read_text(encoding="utf-8").partition("<nav")[0]
        assert (f'<p class="warning">{told}' in head, f"report: {told}" in capsys.readouterr().out) == (then, then)
        renamed(copied, part)


def test_products_that_are_only_called_otherwise_are_told_as_that(copied: Place, capsys: pytest.CaptureFixture[str]) -> None:
    record.write_run(copied.runs / "all", {}, {}, trained_names.noted(read(copied.data).categories))
    copied.change(lambda values: values["categories"][1].update(name="<i>tea</i>"))
    assert report.main([str(copied.runs)]) == 0
    said, head = capsys.readouterr().out, (copied.runs / "report.html").read_text(encoding="utf-8").partition("<nav")[0]
    told = f"1 product is called otherwise than when {copied.runs / 'all'} was trained: '緑茶 500ml', now '<i>tea</i>'"
    assert f"report: {told}" in said and str(escape(told)) in head
    assert "changed since" not in said + head
    renamed(copied, "valid")
    assert report.main([str(copied.runs)]) == 0
    said = capsys.readouterr().out
    assert f"report: {told}" in said and "valid changed since" in said
