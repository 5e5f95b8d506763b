"""Counted words, as messages have them."""


def counted(count: int, word: str, several: str = "") -> str:
    """`count` and the word; of any other count than one `several`, by default the word with an s.

    >>> counted(1, "photo"), counted(0, "photo"), counted(2, "shelf", "shelves")
    ('1 photo', '0 photos', '2 shelves')
    """
    return f"{count} {word if count == 1 else several or f'{word}s'}"
