"""Charts fit any page: its colours, no ids that clash, names as they are."""

import re

import numpy as np

from reporting.charts import Bar, Curve, bars, calibration, histogram, long_tail, precision_recall


def test_a_curve_without_points_is_a_chart_too() -> None:
    chart = precision_recall([Curve("found", np.zeros(0), np.zeros(0))], {}, "nothing found")
    assert chart.svg.startswith("<svg") and 'aria-label="nothing found"' in chart.svg


def test_lines_and_text_take_the_colour_of_the_page() -> None:
    chart = calibration([Curve("detector", np.array([0.2, 0.9]), np.array([0.3, 0.8]))], "a")
    assert "currentColor" in chart.svg and "#010203" not in chart.svg
    assert all("currentColor" in style for style in re.findall(r'<text[^>]*style="([^"]*)"', chart.svg))


def test_ids_of_two_charts_are_those_of_equal_content() -> None:
    svgs = [histogram(np.arange(9.0), "x", "a").svg, long_tail(np.array([9, 1, 0]), "b").svg]
    parts = [dict(re.findall(r'id="([^"]+)"(.*?)</', svg, re.DOTALL)) for svg in svgs]
    assert all(parts[0][i] == parts[1][i] for i in parts[0].keys() & parts[1].keys())


def test_names_are_text_and_never_markup_or_formulas() -> None:
    chart = bars([Bar("a <b> & $x_1$", 0.5, 0.4, 0.6), Bar("Müsli", 0.2)], "score", 'a "quoted" <alt>')
    assert "a &lt;b&gt; &amp; $x_1$" in chart.svg and "Müsli" in chart.svg and "<alt>" not in chart.svg


def test_the_same_chart_is_the_same_text() -> None:
    assert histogram(np.arange(9.0), "x", "a") == histogram(np.arange(9.0), "x", "a")
