"""The margin beside a drawn photo: lines of text, each with a coloured chip, in as many columns as the height asks for."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as Pictures
from PIL import ImageDraw

from recognition.fonts import font_for, width_of

Colour = tuple[int, int, int]  # RGB
BACKGROUND, INK = (255, 255, 255), (20, 20, 20)
SIZES = (26, 22, 19, 16, 14, 12)  # chosen: pixels of the font, the largest first with which one column is enough
COLUMN = 21  # chosen: greatest width of a column, in sizes of the font
INDENT = 3.5  # chosen: of a text beside a chip, in sizes of the font
MOST_LINES = 3  # chosen: of one name; the rest of a longer one is cut
SPACING = 1.25  # chosen: of lines, in sizes of the font
LIGHT = 140  # chosen: luminance above which a colour is written on in black


class Line(NamedTuple):
    """A line of the margin: its text and, if it has one, the colour of its chip and what stands in that."""

    text: str
    colour: Colour | None = None
    chip: str = ""


class Paragraph(NamedTuple):
    """A line of the margin, wrapped."""

    line: Line
    texts: list[str]

    def height(self, size: int) -> float:
        """Its height in pixels at a font of `size`, with the space below it."""
        return (len(self.texts) * SPACING + 0.35) * size


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever can be read on `colour`."""
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]  # taken: ITU-R BT.601
    return INK if luminance > LIGHT else BACKGROUND


def with_margin(picture: Pictures.Image, lines: Sequence[Line]) -> Pictures.Image:
    """`picture` with a margin on its right that holds all `lines`: the font as large as one column allows, else columns."""
    room = picture.height
    for size in SIZES:
        columns = in_columns([Paragraph(line, wrapped(line.text, size)) for line in lines], room, size)
        if len(columns) == 1:
            break
    widest = max(width_of(text, size) for column in columns for line, texts in column for text in texts)
    pitch = min(COLUMN * size, round(widest + (INDENT + 1.5) * size))
    canvas = Pictures.new("RGB", (picture.width + len(columns) * pitch, room), BACKGROUND)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for i, column in enumerate(columns):
        x, y = picture.width + i * pitch + size // 2, 0.5 * size
        for paragraph in column:
            _draw_paragraph(draw, paragraph, (x, y), size)
            y += paragraph.height(size)
    return canvas


def in_columns(paragraphs: Sequence[Paragraph], room: int, size: int) -> list[list[Paragraph]]:
    """Paragraphs one below the other in columns of `room` pixels; at least one in each."""
    columns, used = [list[Paragraph]()], 0.5 * size
    for paragraph in paragraphs:
        if columns[-1] and used + paragraph.height(size) > room:
            columns.append([])
            used = 0.5 * size
        columns[-1].append(paragraph)
        used += paragraph.height(size)
    return columns


def wrapped(text: str, size: int) -> list[str]:
    """`text` in lines that fit a column, broken at spaces, and inside words that are longer; at most MOST_LINES."""
    width = (COLUMN - 5) * size
    lines = [""]
    for word in text.split():
        if width_of(f"{lines[-1]} {word}".strip(), size) <= width:
            lines[-1] = f"{lines[-1]} {word}".strip()
            continue
        lines = [*lines, ""] if lines[-1] else lines
        for letter in word if width_of(word, size) > width else [word]:
            if width_of(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], lines[MOST_LINES - 1].rstrip() + "…"]


def _draw_paragraph(draw: ImageDraw.ImageDraw, paragraph: Paragraph, corner: tuple[float, float], size: int) -> None:
    """Draw a paragraph with its upper left `corner`, x y."""
    (x, y), line = corner, paragraph.line
    font = font_for(line.text, size)
    indent = INDENT * size if line.colour else 0
    if line.colour:
        draw.rectangle((x, y, x + 3 * size, y + 1.15 * size), fill=line.colour)
        number, middle = font_for(line.chip, size), (x + 1.5 * size, y + 0.58 * size)
        draw.text(middle, line.chip, font=number, fill=ink_on(line.colour), anchor="mm")
    for i, text in enumerate(paragraph.texts):
        draw.text((x + indent, y + i * SPACING * size + 0.58 * size), text, font=font, fill=INK, anchor="lm")
