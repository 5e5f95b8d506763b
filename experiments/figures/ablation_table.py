"""The ablation's table: figures with intervals for each variant, the paired difference to `detector`, and labels counted."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fusion.boxes import Detections
from photos.intervals import Interval, gain_interval, interval
from photos.score import Match, Truth, match
from stage2_classifier.gate.calibrate import true_names

Triple = tuple[float, float, float]  # a value and its 95 % interval, low and high


@dataclass(frozen=True)
class Variant:
    """One way of naming: its predictions for each photo, and its first name (N,) for each merged box, -1 for none; None where
    its boxes are not the merged ones.
    """

    name: str
    predictions: list[Detections]
    names: list[np.ndarray] | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table: figures with 95 % intervals, the paired difference to the first variant, and labels counted."""

    variant: str
    det: Triple
    cls: Triple
    score: Triple
    minus_detector: Triple
    changed: int
    fixed: int
    broken: int

    def as_json(self) -> dict[str, Any]:
        """The row as ablation.json holds it."""
        values = asdict(self)
        return {"arm": values.pop("variant"), **values}


def measure(
    truths: Sequence[Truth], boxes: Sequence[np.ndarray], variants: Sequence[Variant], n: int, groups: np.ndarray
) -> list[Row]:
    """A row for each variant, with intervals over `groups` (P,); the first is what the others are compared with.

    `boxes` are the merged boxes (N, 4) of each photo, that labels are counted on; `n` is how many names there are.
    """
    first, rows = match(truths, variants[0].predictions, n), []
    true = [true_names(truth, b) for truth, b in zip(truths, boxes, strict=True)]
    for variant in variants:
        counts = count(variants[0].names, variant.names, true)
        rows.append(_row(variant.name, match(truths, variant.predictions, n), first, counts, groups))
    return rows


def paired(truths: Sequence[Truth], a: Variant, b: Variant, n: int, groups: np.ndarray) -> Interval:
    """How much better `a` scores than `b`, with its interval; arguments as in `measure`."""
    return gain_interval(match(truths, a.predictions, n), match(truths, b.predictions, n), groups)


def _row(name: str, own: Match, first: Match, counts: tuple[int, int, int], groups: np.ndarray) -> Row:
    scores = interval(own, groups)
    gain = gain_interval(own, first, groups)
    triples = [(i.value, i.low, i.high) for i in (scores.det_map50, scores.cls_map50, scores.score, gain)]
    return Row(name, *triples, *counts)


def count(before: list[np.ndarray] | None, after: list[np.ndarray] | None, true: Sequence[np.ndarray]) -> tuple[int, int, int]:
    """Of boxes on a true one: names changed; of these, wrong ones put right, right ones broken. `true` is -1 where none is."""
    changed = fixed = broken = 0
    for b, a, t in zip(before or [], after or [], true, strict=False):
        moved = (t >= 0) & (b != a)
        changed += int(moved.sum())
        fixed += int((moved & (a == t)).sum())
        broken += int((moved & (b == t)).sum())
    return changed, fixed, broken


def show(rows: Sequence[Row], title: str) -> None:
    """Print the table."""
    table = Table(title=title)
    for column in ("names from", "det mAP50", "cls mAP50", "score", f"minus {rows[0].variant}", "changed", "fixed", "broken"):
        table.add_column(column, justify="left" if column == "names from" else "right", overflow="fold")
    for row in rows:
        cells = [f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in (row.det, row.cls, row.score)]
        table.add_row(row.variant, *cells, signed(row.minus_detector), str(row.changed), str(row.fixed), str(row.broken))
    Console(width=None if sys.stdout.isatty() else 170).print(table)  # a terminal has its own width


def signed(triple: Triple) -> str:
    """A difference with its interval.

    >>> signed((0.25, 0.1, 0.4))
    '+0.250 [+0.100, +0.400]'
    """
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*triple)


def markdown(rows: Sequence[Row]) -> str:
    """The table as markdown."""
    first = f"minus {rows[0].variant}"
    lines = [f"| names from | det mAP50 | cls mAP50 | score | {first} | changed | fixed | broken |", "|" + " --- |" * 8]
    for row in rows:
        cells = [f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in (row.det, row.cls, row.score)]
        cells += [signed(row.minus_detector), *(str(n) for n in (row.changed, row.fixed, row.broken))]
        lines.append(f"| {row.variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path, title: str) -> None:
    """Draw score minus detector with its interval, a variant a line, to the PNG at PATH."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.32 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(reversed(rows)):
        value, low, high = row.minus_detector
        colour = "tab:green" if low > 0 else "tab:red" if high < 0 else "tab:grey"
        axes.plot([low, high], [y, y], color=colour, linewidth=2)
        axes.plot(value, y, "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row.variant for row in reversed(rows)])
    axes.set_xlabel(f"score minus that of {rows[0].variant}, 95 % interval")
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=110)
