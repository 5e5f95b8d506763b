"""Names in tables that spreadsheets open: what begins as a formula is kept from being computed by a ' in front.

Excel and LibreOffice compute a cell of a CSV file that begins with = + - or @, quoted or not: "-Cola" becomes #NAME?, and a
name that a stranger chose may call other programs.
"""

import re

_COMPUTED = re.compile(r"'*\s*[=+\-@]")
_KEPT = re.compile(r"'+\s*[=+\-@]")


def as_text(name: str) -> str:
    """`name` as spreadsheets leave it; `as_named` gives it back.

    >>> [as_text(name) for name in ("=1+2", "@home", "7-Up", "'=x")]
    ["'=1+2", "'@home", '7-Up', "''=x"]
    """
    return f"'{name}" if _COMPUTED.match(name) else name


def as_named(text: str) -> str:
    """The name that `as_text` made `text` of.

    >>> [as_named(as_text(name)) for name in ("=1+2", "7-Up", "'=x", "'Til", "")]
    ['=1+2', '7-Up', "'=x", "'Til", '']
    """
    return text[1:] if _KEPT.match(text) else text
