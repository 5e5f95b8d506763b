"""Which files are photos: by their names, and of local ones with an unknown suffix by their first bytes."""

from pathlib import Path, PurePosixPath

from recognition.file_kind import PHOTO_SUFFIXES, VIDEO_SUFFIXES, file_kind
from recognition.inputs import is_hidden

# chosen: of labels, of which there is often one a photo; with videos they are not opened, so that millions are listed quickly
TEXT_SUFFIXES = frozenset({".txt", ".json", ".jsonl", ".xml", ".csv", ".yaml", ".yml"})


def is_called_photo(name: str) -> bool:
    """Whether a file is a photo by its name alone; one that is hidden is none.

    >>> [is_called_photo(name) for name in ("b/1.JPG", "b/1.jfif", "b/.1.jpg", "b/jpg", "b/1.jpg_old")]
    [True, True, False, False, False]
    """
    path = PurePosixPath(name)
    return not is_hidden(path.name) and path.suffix.lower() in PHOTO_SUFFIXES


def is_local_photo(name: str) -> bool:
    """Whether a local file is a photo: by its name, or by its first bytes where its suffix tells nothing. No pipe is opened."""
    if is_called_photo(name):
        return True
    path = Path(name)
    is_known = is_hidden(path.name) or path.suffix.lower() in VIDEO_SUFFIXES | TEXT_SUFFIXES
    return not is_known and path.is_file() and file_kind(path) == "photo"
