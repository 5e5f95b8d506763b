"""A summary on the screen: tables of 80 columns, then what is odd, one line each."""

from collections.abc import Iterator

from rich import box
from rich.console import Console, ConsoleRenderable
from rich.table import Table
from rich.text import Text

from photos.overview.anomalies import anomalies
from photos.overview.summary import QUANTILES, SMALL, Summary

WIDTH, TITLE = 80, 24  # chosen: columns, of all and of what was looked for


def show(summary: Summary, console: Console | None = None) -> None:
    """Print the summary; WIDTH columns, to stdout unless `console` says otherwise."""
    console = console or Console(width=WIDTH)
    for part in (*notes(summary), parts(summary), products(summary), *sizes(summary), *odd(summary)):
        console.print(part)


def notes(summary: Summary) -> Iterator[Text]:
    """The folder and its layout, then what reading it repaired, skipped or renumbered."""
    yield _titled(summary.root, summary.layout or "no layout")
    yield from (_titled("note", note) for note in summary.notes)


def parts(summary: Summary) -> Table:
    """Photos, boxes and products of each part; the part `all` alone where the set has no parts."""
    table = _table("part", "photos", "without boxes", "boxes", "products", "ignored regions")
    for name, part in summary.parts.items():
        counts = (part.photos, part.without_boxes, part.boxes, part.products, part.ignored)
        table.add_row(Text(name), *(f"{count:,}" for count in counts))
    return table


def products(summary: Summary) -> Table:
    """How many products have how many boxes."""
    table = _table("products with boxes", *summary.products.by_boxes)
    table.add_row("", *(f"{count:,}" for count in summary.products.by_boxes.values()))
    return table


def sizes(summary: Summary) -> Iterator[ConsoleRenderable]:
    """The quantiles, and how many boxes are small for a detector; nothing where there is no box."""
    table = _table("", *QUANTILES)
    for name, quantiles in summary.sizes.quantiles.items():
        table.add_row(name, *(f"{value:,.4g}" for value in quantiles.values()))
    if summary.sizes.quantiles:
        yield table
    shares = [f"{100 * share:.1f} % on a canvas of {canvas}" for canvas, share in summary.sizes.small.items()]
    if shares:
        yield _titled("small", f"boxes whose shorter side is under {SMALL} pixels: {', '.join(shares)}")


def odd(summary: Summary) -> Iterator[ConsoleRenderable]:
    """What was found, one row each, then what was looked for in vain."""
    found = list(anomalies(summary))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(width=TITLE)
    table.add_column()
    for anomaly in found:
        if anomaly.text:
            table.add_row(Text(anomaly.looked_for, "bold"), Text(anomaly.text))
    if table.row_count:
        yield Text()
        yield table
    yield Text()
    if absent := [anomaly.looked_for for anomaly in found if not anomaly.text]:
        yield _titled("looked for, and none there", "; ".join(absent))
    if summary.near_duplicates is None:
        yield _titled("not looked for", "near-duplicates (--near-duplicates, about 0.1 s a photo)")


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _titled(title: str, text: str) -> Text:
    """A line `title: text` as it is: nothing in it is markup."""
    return Text.assemble((title, "bold"), ": ", text)
