"""Pages of small pictures of labels in doubt, the surest first: what is labelled now in red, what is proposed in green.

Other annotated boxes are thin and grey. Under each picture stand its number in proposals.json, kind and score, and the names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from photos.data import Photo, read_image

NOW, THEN, OTHER = (230, 30, 30), (30, 200, 60), (190, 190, 190)  # RGB
SIDE, TEXT, COLUMNS, ROWS = 220, 52, 5, 4  # chosen: pixels of a picture and of the lines under it; pictures of a page
CONTEXT = 0.7  # chosen: of the longer side of the boxes, kept around them


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture: the photo, the box now and the box proposed (4,) or None, three lines of text."""

    photo: Photo
    now: np.ndarray | None
    then: np.ndarray | None
    lines: tuple[str, str, str]


def write(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Write FOLDER/contact_sheet.png, and contact_sheet_02.png and so on for what one page does not hold; none for no cells."""
    page_size = COLUMNS * ROWS
    starts = range(0, len(cells), page_size)
    paths = [
        folder / ("contact_sheet.png" if start == 0 else f"contact_sheet_{start // page_size + 1:02d}.png") for start in starts
    ]
    for path, start in zip(paths, starts, strict=True):
        page(cells[start : start + page_size]).save(path)
    return paths


def page(cells: Sequence[Cell]) -> Image.Image:
    """Up to COLUMNS x ROWS cells on one white page."""
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + 8) + 8, rows * (SIDE + TEXT + 8) + 8), "white")
    font, draw = ImageFont.truetype(findfont("DejaVu Sans"), 11), ImageDraw.Draw(sheet)
    for i, cell in enumerate(cells):
        x, y = 8 + (i % COLUMNS) * (SIDE + 8), 8 + (i // COLUMNS) * (SIDE + TEXT + 8)
        sheet.paste(picture(cell), (x, y))
        for k, line in enumerate(cell.lines):
            draw.text((x, y + SIDE + 2 + 16 * k), shortened(line, font), "black", font)
    return sheet


def shortened(line: str, font: ImageFont.FreeTypeFont) -> str:
    """`line`, cut with dots where it is wider than a picture."""
    if font.getlength(line) <= SIDE:
        return line
    while line and font.getlength(line + "...") > SIDE:
        line = line[:-1]
    return line + "..."


def picture(cell: Cell) -> Image.Image:
    """SIDE x SIDE pixels of the photo around the cell's boxes; beyond the photo's edge it is grey."""
    left, top, side = window([box for box in (cell.now, cell.then) if box is not None], cell.photo.width, cell.photo.height)
    image = Image.fromarray(read_image(cell.photo.path, cell.photo.width, cell.photo.height))
    grey = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    zoom, right, bottom = SIDE / side, min(image.width, left + side), min(image.height, top + side)
    x0, y0 = max(0.0, left), max(0.0, top)
    size = (max(1, round((right - x0) * zoom)), max(1, round((bottom - y0) * zoom)))
    part = image.resize(size, Image.Resampling.LANCZOS, (x0, y0, right, bottom))
    grey.paste(part, (round((x0 - left) * zoom), round((y0 - top) * zoom)))
    draw = ImageDraw.Draw(grey)
    for boxes, colour, width in ((cell.photo.boxes, OTHER, 1), ([cell.now], NOW, 3), ([cell.then], THEN, 2)):
        for box in boxes:
            if box is not None:
                draw.rectangle(tuple(((box - np.array([left, top, left, top])) * zoom).tolist()), outline=colour, width=width)
    return grey


def window(boxes: Sequence[np.ndarray], width: int, height: int) -> tuple[float, float, float]:
    """Left, top and side of the square around `boxes`, each (4,), and CONTEXT on every side; at least one box.

    It is moved into the photo of `width` x `height` as far as it fits.

    >>> window([np.array([10.0, 40.0, 20.0, 50.0])], 100, 50)
    (3.0, 26.0, 24.0)
    """
    corners = np.stack(boxes).astype(np.float64)  # (n, 4)
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    side = float((high - low).max()) * (1 + 2 * CONTEXT)
    corner = np.clip((low + high - side) / 2, 0, np.maximum(0, np.array([width, height]) - side))  # (2,)
    return float(corner[0]), float(corner[1]), side
