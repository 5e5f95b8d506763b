"""Counted words and names, as messages have them."""

from collections.abc import Sequence

NAMED = 8  # chosen: names in a message, of photos for instance


def counted(count: int, word: str, several: str = "") -> str:
    """`count` and the word; of any other count than one `several`, by default the word with an s.

    >>> counted(1, "photo"), counted(0, "photo"), counted(2, "shelf", "shelves")
    ('1 photo', '0 photos', '2 shelves')
    """
    return f"{count} {word if count == 1 else several or f'{word}s'}"


def named(names: Sequence[str]) -> str:
    """The first NAMED of `names`, and how many more there are.

    >>> named(["a.jpg", "b.jpg"]), named(["a.jpg"] * 10)[-21:]
    ('a.jpg, b.jpg', 'jpg, a.jpg and 2 more')
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
