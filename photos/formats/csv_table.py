"""Tables of boxes, a row each: SKU-110K's eight columns without a header, or any columns whose header names them.

Known: ROOT/*.csv and ROOT/annotations/*.csv, one file or one for each part; Roboflow's _annotations.csv beside the photos of
each part. Corners are the edges in pixels; of the four that a turned box has, the box around them is taken. A row with a photo
and no box is a photo without products. pandas reads tables faster, but does not tell the line of what it makes NaN.
"""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from photos.findings import Note, Problem
from photos.formats.coco import base_of
from photos.formats.csv_rows import Row, as_written, extent, holds_a_row, is_number, separated, surplus
from photos.formats.source import PARTS, WHERE, Layout, Source, part_of, part_of_folders, whole
from photos.formats.text_file import not_utf_8
from photos.photo_file import DataError, find_photo
from photos.photo_folder import visible

SKU_110K = ("image_name", "x1", "y1", "x2", "y2", "class", "image_width", "image_height")  # taken: its columns, without header
PHOTO = ("photo", "image", "image_name", "filename", "file_name", "file", "image_path", "path", "img", "imageid", "image_id")
# A full name before its short form; a category last, which may be a group of products; of these none of numbers, if one is not
PRODUCT = ("product", "class_name", "class", "label", "name", "category_name", "category")
CORNERS = (
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
)
QUAD = tuple(f"{axis}{corner}" for corner in range(1, 5) for axis in "xy")  # x1, y1 ... x4, y4
SIDES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("bbox_x", "bbox_y", "bbox_width", "bbox_height"))
SIZE = (("image_width", "image_height"), ("img_width", "img_height"), ("width", "height"))
SIDES_OF_PHOTO = ("width", "height")  # of a record, in the order of SIZE
ROBOFLOW = "_annotations.csv"
REGION = ("ignore", "iscrowd", "ignored")
MARKS = {"": False, "false": False, "no": False, "true": True, "yes": True}  # of REGION; and 0 and 1 as numbers
UNMARKED = "need 1, true or yes for a region to ignore; 0, false, no or nothing for a product; mend the row"
SAME_SIZE = "need one size; mend the rows of the other, boxes and all"
SURPLUS = "put names with the separator in quotes, or separate by semicolons; mend the row"
UNREADABLE = "not the numbers of a box, or none for a photo without products; mend or remove the row"


class Columns(NamedTuple):
    """Positions of the columns; `product` None: all are one product; `region`: marks of a region to ignore, any of which
    makes it one.

    `box` are the two sides, or with `has_corners` two corners or four.
    """

    photo: int
    product: int | None
    box: tuple[int, ...]
    has_corners: bool
    size: tuple[int, ...]
    region: tuple[int, ...]


def find(root: Path) -> Layout | None:
    """The tables of boxes at `root`, read; None where there are none. DataError for tables that do not fit together."""
    tables, unread = _tables([*visible(root, "*.csv"), *visible(root / "annotations", "*.csv")])
    tables = tables or _tables([path for path in visible(root, f"*/{ROBOFLOW}") if part_of(path.parent.name)])[0]
    if not tables:
        return None
    parts = [_part(root, path) for path in tables]
    if len(tables) > 1 and (None in parts or len(set(parts)) < len(parts)):
        names = ", ".join(path.relative_to(root).as_posix() for path in tables)
        raise DataError(f"{root}: got {names}, need one table, or one for each of {', '.join(PARTS)}; move the others away")
    categories = _categories(list(tables.values()))
    sources, photos = [], 0
    for part, (path, (rows, columns)) in sorted(zip(parts, tables.items(), strict=True), key=_order):
        source = _source(root, path, part)
        source.lists["categories"].extend({"id": number, "name": name} for name, number in categories.items())
        _add_rows(source, rows, columns, categories, photos + 1)
        photos += len(source.lists["images"])
        sources.append(source)
    sources[0].notes.extend(Note(name, "CSV files that are no tables of boxes, not read", repaired=False) for name in unread)
    return Layout(f"CSV ({', '.join(source.name for source in sources)})", sources)


def _tables(paths: Iterable[Path]) -> tuple[dict[Path, tuple[list[Row], Columns]], list[str]]:
    """The rows and columns of those files that are tables of boxes, and the names of the others."""
    tables, unread = {}, []
    for path in sorted(paths):
        rows, is_open = _rows(path)
        columns = _columns(rows)
        if columns:
            _refuse_unclear(path, rows, columns, is_open)
            tables[path] = (rows, columns)
        else:
            unread.append(path.name)
    return tables, unread


def _refuse_unclear(path: Path, rows: list[Row], columns: Columns, is_open: bool) -> None:
    """Raises DataError for a quote that swallows rows, and for a column that is used and stands twice."""
    swallowing = (row for row in rows if holds_a_row(row, len(columns.box)))
    if row := next(swallowing, rows[-1] if is_open else None):
        what = "a quote is opened and not closed in its row, so what follows would be one cell; close or remove it"
        raise DataError(f"{path}, line {row.line}: {what}")
    header = [] if _has_no_header(rows) else _header(rows[0])
    used = (columns.photo, columns.product, *columns.box, *columns.size, *columns.region)
    twice = sorted({header[at] for at in used if at is not None and header and header.count(header[at]) > 1})
    if twice:
        raise DataError(f"{path}: the column {twice[0]} stands twice, need it once; rename the one that is not meant")


def _part(root: Path, path: Path) -> str | None:
    """The part of a table by its name, or Roboflow's by its folder, but for the set's own."""
    if path.name == ROBOFLOW:
        return part_of_folders(root, path)
    return part_of(path.stem.removeprefix("annotations_"))


def _source(root: Path, path: Path, part: str | None) -> Source:
    """Where the photos of a table lie; no records yet."""
    lists: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    is_beside = path.name == ROBOFLOW and path.parent != root
    folders = (path.parent.name,) if is_beside else ()
    return Source(path.relative_to(root).as_posix(), part, lists, root if is_beside else base_of(root), folders, is_beside)


def _order(row: tuple[str | None, Any]) -> int:
    return PARTS.index(row[0] or PARTS[0])


def _rows(path: Path) -> tuple[list[Row], bool]:
    """The rows of a table as `separated` gives them; none where it is none. DataError for a table not in UTF-8."""
    content = path.read_bytes()
    try:
        rows, is_open = separated(content.decode("utf-8-sig"))
        return as_written(rows), is_open
    except UnicodeDecodeError:
        other = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin-1"
    if _columns(separated(content.decode(other, "replace"))[0]):
        raise DataError(not_utf_8(path))
    return [], False


def _columns(rows: list[Row]) -> Columns | None:
    """What the columns are; None where it is no table of boxes."""
    if not rows:
        return None
    if _has_no_header(rows):
        return Columns(0, 5, (1, 2, 3, 4), True, (6, 7), ())
    columns = _named(header := _header(rows[0]))
    if columns is None or columns.product is None:
        return columns
    places = [header.index(name) for name in PRODUCT if name in header and header.index(name) != columns.photo]
    texts = (place for place in places if not all(is_number(_cell(row, place)) for row in rows[1:]))
    return columns._replace(product=next(texts, columns.product))


def _header(row: list[str]) -> list[str]:
    return [cell.strip().lower().replace(" ", "_") for cell in row]


def _named(header: list[str]) -> Columns | None:
    """What a header says the columns are; None where it names no photo, or no box."""
    photo, product = (_first(header, names) for names in (PHOTO, PRODUCT))
    region = tuple(header.index(name) for name in REGION if name in header)
    corners, sides = _all(header, (QUAD, *CORNERS)), _all(header, SIDES)
    box = corners or sides
    size = next((found for names in SIZE if (found := _all(header, (names,))) and not set(found) & set(box)), ())
    return None if photo is None or not box else Columns(photo, product, box, bool(corners), size, region)


def _is_sku_110k(row: list[str], has_box: bool = True) -> bool:
    """Whether it is a row of SKU-110K: with a box, or with a photo and its size alone."""
    box, product, size = row[1:5], row[5:6], row[6:8]
    if extent(row) != len(SKU_110K) or is_number(row[0]) or not all(map(is_number, size)):
        return False
    return all(map(is_number, box)) if has_box else not any(cell.strip() for cell in (*box, *product))


def _has_no_header(rows: list[Row]) -> bool:
    """Whether it is SKU-110K's table, though some of its rows are damaged, and its first row names no photo and box.

    So is one whose photos have no box, in each of its rows.
    """
    if _named(_header(rows[0])) is not None:
        return False
    alone = (_is_sku_110k(row, has_box=False) for row in rows if extent(row))
    return any(map(_is_sku_110k, rows)) or (any(map(extent, rows)) and all(alone))


def _first(header: list[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _all(header: list[str], choices: Sequence[tuple[str, ...]]) -> tuple[int, ...]:
    return next((tuple(header.index(name) for name in names) for names in choices if set(names) <= set(header)), ())


def _body(rows: list[Row]) -> Iterator[Row]:
    """Each row below the header, if there is one; empty lines are left out."""
    start = 0 if _has_no_header(rows) else 1
    yield from (row for row in rows[start:] if extent(row))


def _cell(row: list[str], at: int | None) -> str:
    return row[at].strip() if at is not None and at < len(row) else ""


def _categories(tables: list[tuple[list[Row], Columns]]) -> dict[str, int]:
    """The number of each name in the tables, in their order, from 1; "product" where they have no column of names."""
    names = {
        _cell(row, columns.product) if columns.product is not None else "product"
        for rows, columns in tables
        for row in _body(rows)
        if any(_cell(row, at) for at in columns.box) and not _is_region(row, columns)
    }
    return {name: number for number, name in enumerate(sorted(names), 1)}


def _is_region(row: list[str], columns: Columns) -> bool | None:
    """Whether a row is marked as a region to ignore; None where a mark says neither."""
    marks = [_marked(_cell(row, at).lower()) for at in columns.region]
    return None if None in marks else any(marks)


def _marked(mark: str) -> bool | None:
    return {0.0: False, 1.0: True}.get(float(mark)) if is_number(mark) else MARKS.get(mark)


def _photo_name(source: Source, row: list[str], columns: Columns) -> str:
    """The photo of a row, without outer spaces unless there is one whose name has them."""
    bare, written = _cell(row, columns.photo), row[columns.photo] if columns.photo < len(row) else ""
    if written == bare:
        return bare
    return written if any(find_photo(source.base / name, written).is_file() for name in ("", *source.folders)) else bare


def _box(numbers: list[float], are_corners: bool) -> list[float]:
    """x, y, width and height.

    >>> _box([1, 2, 5, 4], True), _box([10, 20, 40, 25, 38, 60, 8, 55], True)
    ([1, 2, 4, 2], [8, 20, 32, 40])
    """
    if not are_corners:
        return numbers
    x, y, right, bottom = numbers if len(numbers) == 4 else _around(numbers)
    return [x, y, right - x, bottom - y]


def _around(corners: list[float]) -> list[float]:
    xs, ys = corners[::2], corners[1::2]
    return [min(xs), min(ys), max(xs), max(ys)]


def _add_rows(source: Source, rows: list[Row], columns: Columns, categories: dict[str, int], first: int) -> None:
    images: dict[str, dict[str, Any]] = {}
    width = len(SKU_110K) if _has_no_header(rows) else extent(rows[0])
    for row in _body(rows):
        where = f"line {row.line} ({source.name})"
        if what := surplus(row, width):
            source.problems.append(Problem(where, what, SURPLUS))
            continue
        name = _photo_name(source, row, columns)
        size = {key: whole(text) for key, at in zip(SIDES_OF_PHOTO, columns.size, strict=False) if (text := _cell(row, at))}
        image = images.setdefault(name, {"id": first + len(images), "file_name": name, WHERE: where})
        if any(image.get(key, size[key]) != size[key] for key in size):
            sizes = (" x ".join(str(own.get(key, "?")) for key in SIDES_OF_PHOTO) for own in (size, image))
            source.problems.append(Problem(where, "got a photo of {}, before of {}".format(*sizes), SAME_SIZE))
            continue
        image.update(size)
        cells = [_cell(row, at) for at in columns.box]
        if not any(cells):
            continue
        if not all(map(is_number, cells)):
            source.problems.append(Problem(where, f"got {', '.join(cells)}", UNREADABLE))
            continue
        if (is_region := _is_region(row, columns)) is None:
            mark = f"got {', '.join(repr(_cell(row, at)) for at in columns.region)} as mark of a region"
            source.problems.append(Problem(where, mark, UNMARKED))
            continue
        box = _box([*map(float, cells)], columns.has_corners)
        product = _cell(row, columns.product) if columns.product is not None else "product"
        mark = {"ignore": 1} if is_region else {}
        number = len(source.lists["annotations"]) + 1
        record = {"id": number, "image_id": image["id"], "category_id": categories.get(product, 0), "bbox": box}
        source.lists["annotations"].append(record | mark | {WHERE: where})
    source.lists["images"].extend(images.values())
    if columns.product is None:
        source.notes.append(Note(source.name, "tables without a column of names: all boxes are one product", repaired=False))
    elif passed_over := _other_names(rows, columns):
        what = (
            f"tables with several columns of names: {_header(rows[0])[columns.product]} is taken, not {', '.join(passed_over)}"
        )
        source.notes.append(Note(source.name, what, repaired=False))


def _other_names(rows: list[Row], columns: Columns) -> list[str]:
    """The columns of names that are not taken for the products'."""
    header = [] if _has_no_header(rows) else _header(rows[0])
    return [name for name in PRODUCT if name in header and header.index(name) not in (columns.product, columns.photo)]
