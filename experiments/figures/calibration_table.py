"""How well each source of evidence is calibrated by each method: the lines, as a table, as diagrams and as figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.ablation_table import Triple
from stage2_classifier.reliability import Bin

SOURCES = ("classifier", "detector", "objectness")


@dataclass(frozen=True)
class Line:
    """One line of the table, intervals of 95 %; `loss` is the mean of -log(probability given to what is true)."""

    source: str
    method: str
    picked: bool
    n: int
    accuracy: float
    ece: Triple
    ece_equal_count: float
    ece_minus_none: Triple
    loss: Triple
    loss_minus_none: Triple
    bins: list[Bin]


def show(lines: Sequence[Line], title: str) -> None:
    """Print the table; the method that valid picks has a star."""
    columns = ("source", "method", "n", "right", "ECE", "equal count", "ECE minus none", "log loss", "loss minus none")
    table = Table(*columns, title=title)
    for line in lines:
        cells = [f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in (line.ece, line.loss)]
        gains = [f"{v:+.3f} [{low:+.3f}, {high:+.3f}]" for v, low, high in (line.ece_minus_none, line.loss_minus_none)]
        table.add_row(line.source, line.method + " *" * line.picked, str(line.n), f"{line.accuracy:.3f}", cells[0],
                      f"{line.ece_equal_count:.3f}", gains[0], cells[1], gains[1])  # fmt: skip
    Console(width=180).print(table)


def draw(lines: Sequence[Line], path: Path) -> None:
    """Reliability diagrams to the PNG at PATH: a panel for each source, before and after the method that valid picks."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    for axes, source in zip(figure.subplots(1, len(SOURCES)), SOURCES, strict=True):
        own = [line for line in lines if line.source == source]
        shown = [line for line in own if line.method == "none"] + [line for line in own if line.picked]
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        for line, colour in zip(shown, ("tab:grey", "tab:blue"), strict=True):
            _, _, n, x, y = zip(*line.bins, strict=True)
            axes.plot(x, y, color=colour, label=f"{line.method}: ECE {line.ece[0]:.3f}")
            axes.scatter(x, y, s=8 + 300 * np.array(n) / line.n, color=colour, alpha=0.6)
        axes.set(title=f"{source}, n = {own[0].n}", xlabel="how sure", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
        axes.legend(loc="upper left", fontsize=8)
    figure.savefig(path, dpi=110)


def as_records(lines: Sequence[Line], name: str, headline: bool, setting: str, command: str) -> list[dict[str, Any]]:
    """ece.NAME.SOURCE.METHOD and its difference to none; with `headline` the classifier's as ece.before and ece.after."""
    rows = []
    for line in lines:
        key = f"ece.{name}.{line.source}.{line.method.replace(' ', '_')}"
        text = f"{name}: {line.method}, {line.n} boxes, {setting}" + ", picked on valid" * line.picked
        keys = {key: line.ece} if line.method == "none" else {key: line.ece, f"{key}_minus_none": line.ece_minus_none}
        if headline and line.source == "classifier":
            keys |= dict.fromkeys(["ece.before"] * (line.method == "none") + ["ece.after"] * line.picked, line.ece)
        for row_key, (value, low, high) in keys.items():
            rows.append(records.figure(row_key, records.Estimate(value, line.n, low, high), "ECE", text, command))
    return rows
