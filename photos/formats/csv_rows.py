"""The rows of a CSV file, separated by comma, semicolon or tab, or as Excel's `sep=` says, each with its place in the file."""

import csv
import io
import re

from photos.formats.source import as_number
from photos.formats.spreadsheet_text import as_named

END = "a row that only an open quote can swallow"
SEPARATOR = re.compile(r'"?sep=([^\s\w"]|\t)"?[\t ,;]*(\r\n|\r|\n|$)', re.IGNORECASE)  # taken: Excel's first line, no row
PREDICTED = ("photo", "product", "id", "score")  # the first columns of `hylle predict`'s predictions.csv


class Row(list[str]):
    """The cells of a row; `line` is that of the file on which it begins, from 1."""

    line = 0


def separated(text: str) -> tuple[list[Row], bool]:
    """The rows of a table, none where it is none; and whether the text ends within quotes, which have then swallowed rows.

    >>> rows, is_open = separated("a;b\\n'x';1\\n".replace("'", '"'))
    >>> rows, [row.line for row in rows], is_open
    ([['a', 'b'], ['x', '1']], [1, 2], False)
    >>> separated('a;b\\n"x;1\\ny;2\\n')[1]
    True
    """
    said = SEPARATOR.match(text)
    text, before = (text[said.end() :], 1) if said else (text, 0)
    first, last = text.partition("\n")[0], "" if text.endswith(("\n", "\r")) else "\n"
    separator = said[1] if said else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(f"{text}{last}{END}\n", newline=""), delimiter=separator)
    rows, begun = [], before + 1
    limit = csv.field_size_limit(len(text) + len(END) + 2)  # any cell fits, also one that an open quote makes of all rows
    try:
        for cells in reader:
            rows.append(own := Row(cells))
            own.line, begun = begun, before + reader.line_num + 1
    except csv.Error:
        return [], False
    finally:
        csv.field_size_limit(limit)
    is_open = rows[-1] != [END]
    return rows if is_open else rows[:-1], is_open


def as_written(rows: list[Row]) -> list[Row]:
    """The rows; those of a table that `hylle predict` wrote with names as they are, which it keeps from being computed."""
    if rows and tuple(rows[0][: len(PREDICTED)]) == PREDICTED:
        names = slice(0, PREDICTED.index("id"))
        for row in rows:
            row[names] = map(as_named, row[names])
    return rows


def extent(row: list[str]) -> int:
    """How many cells a row has, but for empty ones at its end, by which Excel makes all rows, the header too, equally long.

    >>> extent(["image", "", "label", "", " "])
    3
    """
    return max((number for number, cell in enumerate(row, 1) if cell.strip()), default=0)


def surplus(row: list[str], width: int) -> str | None:
    """What is wrong with a row that has text in more cells than the `width` columns of its table.

    >>> surplus(["a.jpg", "1", "Milk 1", "5%"], 3), surplus(["a.jpg", "1", "Milk", ""], 3)
    ('got 4 cells, need 3', None)
    """
    cells = extent(row)
    return f"got {cells} cells, need {width}" if cells > width else None


def holds_a_row(row: list[str], numbers: int) -> bool:
    """Whether a cell goes over several lines and holds the `numbers` of a box: a quote that only another row's quote closes.

    >>> holds_a_row(["a.jpg", "rod\\na.jpg,3,2,30,40,tea"], 4), holds_a_row(["a.jpg", "rod,\\n5 x 2, 3, 4"], 4)
    (True, False)
    """
    long = (re.split(r"[,;|\t\r\n]", cell) for cell in row if "\n" in cell or "\r" in cell)
    return any(sum(map(is_number, cells)) >= numbers for cells in long)


def is_number(text: str) -> bool:
    """Whether a cell is a number; NaN is none."""
    try:
        return as_number(text) == as_number(text)
    except ValueError:
        return False
