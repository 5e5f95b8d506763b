"""Whether a plan has a detector that names too, with a refit and without, and what it says why."""

from dataclasses import replace

import pytest

from fitting import stage_settings
from fitting.plan import lay_out
from fitting.wishes import Wishes
from tests.fitting.sets import FRIDGE, SPEEDS, VIDEO


def test_a_class_aware_detector_is_trained_where_the_names_have_boxes_enough_or_where_it_is_asked_for() -> None:
    many = replace(FRIDGE, median_boxes=500.0)
    assert lay_out(FRIDGE, SPEEDS, Wishes(), 9000).procedure.aware is None
    assert lay_out(FRIDGE, SPEEDS, Wishes(aware="yes"), 9000).procedure.aware is not None
    assert lay_out(many, SPEEDS, Wishes(), 9000).procedure.aware is not None
    assert lay_out(many, SPEEDS, Wishes(aware="no"), 9000).procedure.aware is None
    assert lay_out(replace(many, names=1), SPEEDS, Wishes(), 9000).procedure.aware is None
    assert "cross_fit/0/all" in lay_out(many, SPEEDS, Wishes(), 9000).epochs


def test_without_a_refit_what_pays_is_done_too_where_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    many, asked = replace(FRIDGE, median_boxes=500.0), Wishes(refit="no")
    once = lay_out(many, SPEEDS, asked, 9000)
    assert once.procedure.aware is not None and not once.procedure.refit and list(once.epochs)[:2] == ["one", "all"]
    assert lay_out(many, SPEEDS, Wishes(refit="no", aware="no"), 9000).procedure.aware is None
    monkeypatch.setattr(stage_settings, "with_best_backbone", lambda config: replace(config, model="tf_efficientnet_lite0"))
    assert lay_out(VIDEO, SPEEDS, asked, 90 * 60).procedure.classifier.size == 160


@pytest.mark.parametrize(
    ("boxes", "names", "aware", "minutes", "line"),
    [
        (500.0, 8, "auto", 150, "yes: the median of 8 names has 500 boxes; it pays from 200"),
        (500.0, 8, "auto", 4, "no: the median of 8 names has 500 boxes, but there is no time for it"),
        (22.0, 8, "auto", 150, "no: the median of 8 names has 22 boxes; it pays from 200"),
        (500.0, 1, "auto", 150, "no: there is one name"),
        (500.0, 8, "no", 150, "no, as you said (--aware no)"),
        (22.0, 8, "yes", 150, "yes, as you said (--aware yes)"),
    ],
)
@pytest.mark.parametrize("refit", ["auto", "yes", "no"])
def test_why_there_is_a_detector_of_names_or_none(
    boxes: float, names: int, aware: str, minutes: int, line: str, refit: str
) -> None:
    survey = replace(FRIDGE, median_boxes=boxes, names=names)
    plan = lay_out(survey, SPEEDS, Wishes(aware=aware, refit=refit), minutes * 60)
    assert plan.why["names by a detector too"] == line
