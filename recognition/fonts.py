"""A font for a text in any script: matplotlib's DejaVu Sans where it has all letters, else one of the system's that has."""

from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont

# derived: code points of letters that stand side by side (Latin, Greek, Cyrillic, punctuation, CJK), which need no shaping
PLAIN = ((0, 0x300), (0x370, 0x590), (0x2000, 0x2100), (0x2E80, 0xA000))
SLANTED_OR_HEAVY = ("bold", "italic", "oblique", "black", "heavy", "light", "thin", "mono")


@cache
def default_file() -> Path:
    """The font that matplotlib brings: Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian letters."""
    import matplotlib  # here: it takes long to import, and commands check their arguments first

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def system_files() -> tuple[Path, ...]:
    """The system's fonts, plain ones first. Looking for them takes a moment, and few texts need it."""
    from matplotlib.font_manager import findSystemFonts

    paths = map(Path, findSystemFonts())
    return tuple(sorted(paths, key=lambda path: (any(word in path.stem.lower() for word in SLANTED_OR_HEAVY), path.name)))


@cache
def letters_of(path: Path) -> frozenset[int]:
    """The code points that a font draws; none for a file that is no scalable font."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(path))
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (RuntimeError, OSError, ValueError):
        return frozenset()


def needed(text: str) -> frozenset[int]:
    """The code points of a text that must be drawn."""
    return frozenset(ord(letter) for letter in text if letter.isprintable() and not letter.isspace())


@cache
def _file_for(code_points: frozenset[int]) -> Path:
    """The first font that draws all `code_points`, or the one that draws most of them."""
    if code_points <= letters_of(default_file()):
        return default_file()
    files = (default_file(), *system_files())
    return max(files, key=lambda file: len(code_points & letters_of(file)))


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of `size` pixels that draws `text`, or as much of it as any font here does."""
    code_points = needed(text)
    plain = all(any(first <= point < end for first, end in PLAIN) for point in code_points)
    return _opened(_file_for(code_points), size, ImageFont.Layout.BASIC if plain else None)


@lru_cache(1 << 16)  # names come again on the next photo
def width_of(text: str, size: int) -> float:
    """The width of `text` in pixels, in the font that `font_for` gives."""
    return float(font_for(text, size).getlength(text))


@cache
def _opened(file: Path, size: int, layout: ImageFont.Layout | None) -> ImageFont.FreeTypeFont:
    """The font in FILE; `layout` None is the best that Pillow has here: with raqm it joins Arabic letters and orders them."""
    return ImageFont.truetype(str(file), size, layout_engine=layout)


def undrawn(texts: Iterable[str]) -> list[str]:
    """Those of `texts` with a letter that no font here draws: boxes stand in its place."""
    return [text for text in texts if not needed(text) <= letters_of(_file_for(needed(text)))]
