"""A run whose models know no names is judged by what it finds: a box on any product is right."""

from dataclasses import replace

import pytest
from place import Place

from fusion.gate import Gate
from photos import folds
from photos.data import read
from reporting.curves import precision_recall_of
from reporting.held_out import HeldOut, gather_held_out
from reporting.page import write_page
from reporting.products import product_table
from reporting.verdicts import RIGHT, WRONG_NAME
from stage2_classifier.gate.ensemble import load_ensemble, write_ensemble


@pytest.fixture
def nameless(copied: Place) -> HeldOut:
    """What is judged of an ensemble that was made by hand of one class-agnostic detector."""
    ensemble = load_ensemble(copied.runs)
    by_hand = {"detectors": ensemble.detectors[:1], "classifiers": [], "gate": Gate(), "min_scores": {"f1": 0.25}}
    write_ensemble(copied.runs, replace(ensemble, **by_hand))
    return gather_held_out(copied.runs, folds.load(copied.runs / folds.NAME, read(copied.data)))


def test_no_box_has_a_wrong_name(nameless: HeldOut) -> None:
    assert not nameless.named
    assert sum(own.counts[WRONG_NAME] for own in nameless.verdicts) == 0 < sum(own.counts[RIGHT] for own in nameless.verdicts)
    labels = {int(label) for e in nameless.evidence for label in e.photo.labels}
    assert len(labels) > 1  # products of other labels than the first, which every box has
    found = precision_recall_of(nameless)
    point = found.points[0]
    right = sum(own.counts[RIGHT] for own in nameless.verdicts)
    assert point.recall * sum(len(photo.boxes) for photo in nameless.photos) == pytest.approx(right)


def test_the_page_says_what_was_found_and_calls_no_box_by_a_name(nameless: HeldOut) -> None:
    write_page(nameless, nameless.runs / "report.html")
    text = (nameless.runs / "report.html").read_text(encoding="utf-8")
    assert "(none of its models knows names)" in text and "by a wrong name" not in text and "found and named" not in text
    assert "more where no product is labelled, or where one has a box already" in text
    assert "shown at all, as none of its models knows names" in text and "so there are none to confuse" in text
    assert all(row.ap is None for row in product_table(nameless).rows)
