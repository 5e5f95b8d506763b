"""Calibration as figures: a record for each line and its difference to none, and the headline's two; diagrams and a table."""

from pathlib import Path

import cv2
import pytest

from experiments.figures import calibration_table
from experiments.figures.calibration_table import SOURCES, Line
from stage2_classifier.reliability import Bin

BIN = Bin(0.5, 1.0, 40, 0.8, 0.7)


def line(source: str, method: str, picked: bool, ece: float) -> Line:
    gain = (ece - 0.3, ece - 0.31, ece - 0.29)
    return Line(
        source, method, picked, 40, 0.7, (ece, ece - 0.01, ece + 0.01), ece, gain, (0.9, 0.8, 1.0), (0.0, 0.0, 0.0), [BIN]
    )


LINES = [
    line(source, method, method == "per class", ece)
    for source in SOURCES
    for method, ece in (("none", 0.3), ("per class", 0.1))
]


def test_no_lines_are_no_figures() -> None:
    assert calibration_table.as_records([], "snacks", True, "", "") == []


@pytest.mark.parametrize("headline", [False, True], ids=["a set among others", "the set of the headline"])
def test_each_line_is_a_figure_and_so_is_its_difference_to_none(headline: bool) -> None:
    rows = calibration_table.as_records(LINES, "snacks", headline, "on test", "command")
    got = {row["key"]: (row["value"], row["n"]) for row in rows}
    want = {}
    for source in SOURCES:
        want |= {f"ece.snacks.{source}.none": (0.3, 40), f"ece.snacks.{source}.per_class": (0.1, 40)}
        want[f"ece.snacks.{source}.per_class_minus_none"] = (pytest.approx(-0.2), 40)
    assert got == want | ({"ece.before": (0.3, 40), "ece.after": (0.1, 40)} if headline else {})


def test_the_diagrams_are_a_picture_and_the_table_marks_what_valid_picks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration_table.draw(LINES, tmp_path / "calibration.png")
    assert cv2.imread(str(tmp_path / "calibration.png")).shape[1] > 1000
    calibration_table.show(LINES, "on test")
    shown = [words for words in capsys.readouterr().out.splitlines() if "per class" in words]
    assert len(shown) == len(SOURCES) and all("per class *" in words for words in shown)
