"""A table of texts: on the screen, and as OUT/table.csv and OUT/table.md."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

Row = Sequence[str]


def write(out: Path, header: Row, rows: Sequence[Row]) -> None:
    """Write the table as it is."""
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    (out / "table.csv").write_text(text.getvalue())
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    (out / "table.md").write_text("\n".join(lines) + "\n")


def show(header: Row, rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(*(Column(title, overflow="fold") for title in header))
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 150).print(table)  # a terminal has its own width
