"""Charts as SVG that stands in the page: lines and text take the page's colour, so that they fit light and dark.

Drawn by matplotlib, which is installed for other work already: a chart is 10 to 40 kB, where libraries that draw in the browser
bring megabytes of script. The numbers are in tables beside the charts.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"  # stands for the page's own colour of text, until the SVG is written
BLUE, ORANGE, GREEN, RED = "#3b82f6", "#d97706", "#22a06b", "#e5484d"  # chosen: 3:1 against white and against #16181d
COLOURS = (BLUE, ORANGE, GREEN, RED)
SIZE = (4.6, 3.1)  # chosen: inches; on a telephone text is then 9 px high
POINTS = 300  # chosen: of a curve
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "hylle", "font.family": "sans-serif", "font.size": 9, "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 8, "text.parse_math": False,
}  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


class Chart(NamedTuple):
    """An SVG, and what it shows in words, for those who do not see it."""

    svg: Markup
    alt: str


class Curve(NamedTuple):
    """A line through x (N,) and y (N,)."""

    name: str
    x: np.ndarray
    y: np.ndarray


class Bar(NamedTuple):
    """A value with its interval; without one `low` and `high` are None."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def precision_recall(curves: Sequence[Curve], points: Mapping[str, tuple[float, float]], alt: str) -> Chart:
    """Curves of precision (y) over recall (x), and marked points (recall, precision) by name."""
    with matplotlib.rc_context(STYLE):
        axes = unit_axes("recall: share of the products that are found", "precision: share of the boxes that are right")
        for curve, colour in zip(curves, COLOURS, strict=False):
            keep = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).astype(int)) if len(curve.x) else []
            axes.plot(curve.x[keep], curve.y[keep], color=colour, label=curve.name)
        for (name, (recall, precision)), marker in zip(points.items(), "osD^", strict=False):
            axes.plot(recall, precision, marker, color=ORANGE, markeredgecolor=INK, label=f"shown, cut for {name}")
        axes.legend(loc="best")
        return finished(axes, alt)


def calibration(curves: Sequence[Curve], alt: str) -> Chart:
    """Reliability diagrams: the share that is right (y) over the confidence told (x)."""
    with matplotlib.rc_context(STYLE):
        axes = unit_axes("confidence told", "share that is right")
        axes.plot([0, 1], [0, 1], "--", color=INK, alpha=0.5, linewidth=1, label="honest")
        for curve, colour in zip(curves, COLOURS, strict=False):
            axes.plot(curve.x, curve.y, "o-", color=colour, markersize=4, label=curve.name)
        axes.legend(loc="upper left")
        return finished(axes, alt)


def bars(rows: Sequence[Bar], xlabel: str, alt: str) -> Chart:
    """Horizontal bars from the top, with their intervals."""
    with matplotlib.rc_context(STYLE):
        axes = new_axes((SIZE[0], 0.7 + 0.26 * len(rows)))
        places = np.arange(len(rows))[::-1]
        axes.barh(places, [row.value for row in rows], color=BLUE, alpha=0.8, height=0.62)
        for place, row in zip(places, rows, strict=True):
            end = row.value
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color=INK, linewidth=1.2)
                end = max(end, row.high)
            axes.text(end + 0.01 * axes.get_xlim()[1], place, f"{row.value:.3f}", va="center", fontsize=8)
        axes.set_yticks(places, [row.name for row in rows])
        axes.set_xlabel(xlabel)
        return finished(axes, alt)


def histogram(values: np.ndarray, xlabel: str, alt: str) -> Chart:
    """How many of `values` (N,) there are in 24 bins of equal width."""
    with matplotlib.rc_context(STYLE):
        axes = new_axes((SIZE[0], 2.3))
        axes.hist(values, bins=24, color=BLUE, alpha=0.8)
        axes.set_xlabel(xlabel)
        axes.set_ylabel("boxes")
        return finished(axes, alt)


def long_tail(counts: np.ndarray, alt: str) -> Chart:
    """Boxes of each product, (C,), from the most to the least, on a logarithmic scale; products without boxes last, at 0."""
    with matplotlib.rc_context(STYLE):
        axes = new_axes((SIZE[0], 2.3))
        axes.fill_between(np.arange(len(counts)) + 1, np.sort(counts)[::-1], step="mid", color=BLUE, alpha=0.8)
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("products, the most frequent first")
        axes.set_ylabel("boxes")
        return finished(axes, alt)


def unit_axes(xlabel: str, ylabel: str) -> Axes:
    """Axes whose both scales are 0 to 1."""
    axes = new_axes(SIZE)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.2, color=INK, linewidth=0.5)
    return axes


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes in a figure of so many inches of its own, which no global state knows."""
    return Figure(figsize=size, layout="constrained").add_subplot()


def finished(axes: Axes, alt: str) -> Chart:
    """The figure of `axes` as SVG: in the page's colour, without ids that two charts could share."""
    buffer = io.StringIO()
    figure = axes.get_figure()
    assert figure is not None
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})  # type: ignore[union-attr]
    return Chart(Markup(inline(buffer.getvalue(), alt)), alt)


def inline(svg: str, alt: str) -> str:
    """An SVG file as an element of a page, named `alt`.

    Ids that nothing refers to are dropped; the others are hashes of their content, so that equal ones are equal.
    """
    ElementTree.register_namespace("", SVG[1:-1])
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    used = set(re.findall(r"#([\w.-]+)", svg))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        if INK in element.get("style", ""):
            element.set("style", element.get("style", "").replace(INK, "currentColor"))
        elif element.tag == f"{SVG}text":
            element.set("style", f"fill: currentColor; {element.get('style', '')}")
    for metadata in root.findall(f"{SVG}metadata"):
        root.remove(metadata)
    root.set("role", "img")
    root.set("aria-label", alt)
    return ElementTree.tostring(root, encoding="unicode")
