"""A file of text: in UTF-8, with or without the mark that some editors put first; its lines end where editors end them."""

from pathlib import Path

from photos.photo_file import DataError


def text_of(path: Path) -> str:
    """The text of a file. DataError where it is in another encoding."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(not_utf_8(path)) from None


def lines_of(path: Path) -> list[str]:
    r"""The lines of a file, without the empty ones at its end. `str.splitlines` also breaks at U+0085, which names may hold."""
    lines = text_of(path).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def not_utf_8(path: Path | str) -> str:
    """What to say of a file in another encoding.

    >>> not_utf_8("classes.txt")
    'classes.txt: not UTF-8; save it as UTF-8'
    """
    return f"{path}: not UTF-8; save it as UTF-8"
