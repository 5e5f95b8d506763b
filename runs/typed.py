"""A command as messages recommend it: it can be pasted into a shell, whatever its paths are called."""

import shlex
from pathlib import Path


def typed(*words: str | Path) -> str:
    """The words of a command with spaces between them: text as it stands, a path in quotes where a shell needs them.

    >>> typed("hylle folds --data", Path("my shop"), "--out R")
    "hylle folds --data 'my shop' --out R"
    """
    return " ".join(shlex.quote(str(word)) if isinstance(word, Path) else word for word in words)
